"""Power cuts at every disk operation: what was acked is there, nothing is invented, and life goes on."""

from __future__ import annotations

import contextlib
import errno
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rrd.config import Config
from tests.power.machine import (
    Account,
    Close,
    Flush,
    Life,
    Note,
    Open,
    Put,
    Rest,
    Step,
    check,
    config,
    disk_of,
    lived,
    survivors,
)
from tests.samples import tied_event
from tests.simdisk import PowerCut, SimDisk, When
from tests.thoroughness import IS_EXHAUSTIVE, IS_THOROUGH, examples

WHENS: tuple[When, ...] = ("before", "halfway", "after")


def metadata(number: int) -> bytes:
    return b'{"type":5,"timestamp":%d,"data":{"tag":"recording-meta","payload":{"key%d":"value %d"}}}' % (
        1000 + number,
        number % 3,
        number,
    )


BAD = (b"not json", b'{"type":"3","timestamp":1}', b"[1,2]")

_SLOTS = st.integers(0, 3)
_LINES = st.one_of(
    st.builds(tied_event, st.integers(0, 12), pad=st.sampled_from([0, 0, 0, 700])),
    st.builds(tied_event, st.integers(100, 10_000)),
    st.builds(metadata, st.integers(0, 8)),
    st.sampled_from(BAD),
)
_STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(Put, _SLOTS, st.lists(_LINES, min_size=1, max_size=6).map(tuple), st.booleans()),
    st.builds(Put, _SLOTS, st.lists(_LINES, min_size=1, max_size=6).map(tuple)),
    st.builds(Open, _SLOTS, st.integers(0, 2)),
    st.builds(Note, _SLOTS, st.sampled_from(["key0", "key9"]), st.sampled_from(["a", "b"])),
    st.just(Flush()),
    st.builds(Close, _SLOTS),
    st.just(Rest()),
)
workloads = st.lists(_STEPS, min_size=1, max_size=14).map(lambda steps: [*steps, Flush()])

settings_drawn = st.builds(
    config,
    segment_bytes_max=st.sampled_from([400, 1500, 1 << 20]),
    recordings_max=st.sampled_from([2, 100]),
    sync=st.sampled_from(["auto", "each", "filesystem"]),
)


class Failure(NamedTuple):
    operation: int
    code: int


_FAILURES = st.lists(
    st.builds(Failure, st.integers(3, 40), st.sampled_from([errno.ENOSPC, errno.EIO])), max_size=2
)
_FUZZ = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Ended(NamedTuple):
    """A life that is over, and what is left of it."""

    files: dict[str, bytes]
    states: list[bytes]
    accounts: list[Account]
    log: list[str]
    """Each operation on the disk."""


async def live(
    steps: Sequence[Step],
    conf: Config,
    folder: Path,
    *,
    cut: tuple[int, When] | None = None,
    failures: Sequence[Failure] = (),
    seed: int = 0,
) -> Ended:
    """Live a first life up to a power cut: the planned one, or one at the end."""
    disk = SimDisk(random.Random(seed))
    if cut is not None:
        disk.cut_at(cut[0], when=cut[1])
    for failure in failures:
        disk.fail_at(*failure)
    life: Life | None = None
    try:
        async with lived(disk, conf, folder, None) as life:
            await life.run(steps)
    except PowerCut:
        pass
    if life is None:
        return Ended(survivors(disk), [], [], disk.log)
    return Ended(survivors(disk), life.index.states, life.accounts, disk.log)


async def go_on(ended: Ended, conf: Config, folder: Path, state: bytes | None) -> dict[str, bytes]:
    """A second life on what is left, in which everything is sent once more. Return its files."""
    disk = disk_of(ended.files)
    async with lived(disk, conf, folder, state) as life:
        assert life.recovered.corrupt == life.recovered.missing == 0, "a power cut was taken for damage"
        await check(life, ended.accounts)
        # Senders can't know what got through, so they send all of it again, and something new.
        again: list[Step] = []
        for slot, account in enumerate(ended.accounts):
            number = int(account.recording_id[-4:])
            lines = (*account.lines(), tied_event(20_000 + slot))
            again += [Open(slot, number), Put(slot, lines), Flush(), Close(slot)]
        await life.run(again)
        assert all(account.acked == len(account.sent) for account in life.accounts), "it doesn't go on"
        accounts = [*ended.accounts, *life.accounts]
        await check(life, accounts, complete=True)
        await life.run([Rest()])
        await check(life, accounts, complete=True)
    return disk.files()


async def check_rebuild(files: dict[str, bytes], accounts: list[Account], conf: Config, folder: Path) -> None:
    async with lived(disk_of(files), conf, folder, None) as life:
        assert life.recovered.corrupt == 0
        await check(life, accounts, complete=False)


@given(
    steps=workloads,
    conf=settings_drawn,
    failures=_FAILURES,
    cut_share=st.floats(0, 1),
    when=st.sampled_from(WHENS),
    lag=st.sampled_from([0, 1, 2, 100]),
    seed=st.integers(0, 2**32),
)
@settings(_FUZZ, max_examples=examples(100))
async def test_acked_events_survive_a_power_cut(
    tmp_path: Path,
    steps: list[Step],
    conf: Config,
    failures: list[Failure],
    cut_share: float,
    when: When,
    lag: int,
    seed: int,
) -> None:
    whole = await live(steps, conf, tmp_path, failures=failures, seed=seed)
    cut = int(cut_share * len(whole.log)), when
    ended = await live(steps, conf, tmp_path, cut=cut, failures=failures, seed=seed)
    state = ended.states[max(0, len(ended.states) - 1 - lag)] if ended.states else None
    await go_on(ended, conf, tmp_path, state)
    await go_on(ended, conf, tmp_path, None)


# Every operation, every moment of it, every state of the index: for workloads that meet everything there is.

_LINES_A = tuple(tied_event(number) for number in range(6))
_LINES_B = tuple(tied_event(number, pad=700) for number in range(3, 9))
EXHAUSTIVE: dict[str, tuple[list[Step], Config, tuple[str, ...]]] = {
    "one recording, rolled and sealed": (
        [
            Put(0, (metadata(1), *_LINES_A)),
            Flush(),
            Put(0, (*_LINES_B, BAD[0])),
            Flush(),
            Put(2, _LINES_A[2:], True),
            Note(2, "key0", "a"),
            Flush(),
            Close(0),
            Close(2),
            Rest(),
            Put(0, (*_LINES_A, tied_event(50))),
            Flush(),
        ],
        config(segment_bytes_max=600, sync="each"),
        (),
    ),
    "three recordings in a group, one let go for another": (
        [
            *(Put(slot, (*_LINES_A, metadata(slot))) for slot in range(2)),
            Flush(),
            Close(1),
            Open(2, 2),
            Put(2, _LINES_B),
            Put(0, (tied_event(40), BAD[1])),
            Flush(),
            Close(0),
            Put(1, _LINES_B, True),
            Flush(),
            Close(1),
            Close(2),
            Rest(),
        ],
        config(recordings_max=2, sync="filesystem"),
        (),
    ),
    "writes and syncs that fail": (
        [
            *(Put(slot, _LINES_A) for slot in (0, 1)),
            Flush(),
            *(step for slot in (0, 1) for step in (Open(slot, slot), Put(slot, _LINES_B, True))),
            Flush(),
            *(step for slot in (0, 1) for step in (Open(slot, slot), Put(slot, (tied_event(60),), True))),
            Flush(),
            Close(0),
            Close(1),
            Rest(),
        ],
        config(segment_bytes_max=1500, sync="each"),
        ("write", "sync", "write", "sync", "sync_dir"),
    ),
    "writes that fail, and can't be undone": (
        [
            # The very first write and its unlink: segment 1 is junk.
            Put(0, _LINES_A),
            Flush(),
            Open(0, 0),
            Put(0, _LINES_A),
            Flush(),
            # In segment 2, a write and its truncate.
            Put(0, _LINES_B[3:]),
            Flush(),
            Open(0, 0),
            Put(0, _LINES_B, True),
            Flush(),
            Close(0),
            Rest(),
        ],
        config(sync="each"),
        ("write", "unlink", "-sync_dir", "write", "truncate"),
    ),
}


async def _planned(steps: Sequence[Step], conf: Config, folder: Path, kinds: Sequence[str]) -> list[Failure]:
    """Plan failures, one after the other, of the next operation of each kind; ``-kind`` is let pass."""
    failures: list[Failure] = []
    next_operation = 0
    for kind in kinds:
        log = (await live(steps, conf, folder, failures=failures)).log
        name = kind.removeprefix("-")
        found = next(number for number in range(next_operation, len(log)) if log[number].split()[0] == name)
        if name == kind:
            failures.append(Failure(found, errno.ENOSPC if kind == "write" else errno.EIO))
        next_operation = found + 1
    return failures


async def _cut_everywhere(
    folder: Path, name: str, *, seeds: Sequence[int], every: int = 1, recovery_every: int = 0
) -> int:
    steps, conf, kinds = EXHAUSTIVE[name]
    failures = await _planned(steps, conf, folder, kinds)
    whole = await live(steps, conf, folder, failures=failures)
    cuts = 0
    for operation in range(0, len(whole.log), every):
        for when in WHENS:
            for seed in seeds:
                ended = await live(steps, conf, folder, cut=(operation, when), failures=failures, seed=seed)
                # Where the states are many, the newest differ least from each other.
                for state in {None, *ended.states[-3:], *ended.states[:1]}:
                    await go_on(ended, conf, folder, state)
                    cuts += 1
                    if recovery_every and operation % recovery_every == 0:
                        cuts += await _cut_recovery(ended, conf, folder, state, seed)
    return cuts


async def _cut_recovery(ended: Ended, conf: Config, folder: Path, state: bytes | None, seed: int) -> int:
    """Cut the power at each operation of the recovery, too, and recover from that."""
    operation = 0
    while True:
        disk = disk_of(ended.files)
        disk.cut_at(disk.operations + operation, when=random.Random(seed + operation).choice(WHENS))
        states: list[bytes] = []
        try:
            async with lived(disk, conf, folder, state) as life:
                states = life.index.states
        except PowerCut:
            pass
        else:
            return operation
        # With no index before, a half-built one is not kept: the daemon throws it away.
        again = Ended(survivors(disk), states, ended.accounts, disk.log)
        await go_on(again, conf, folder, state)
        operation += 1


@pytest.mark.parametrize("name", EXHAUSTIVE)
async def test_a_power_cut_at_any_operation_loses_nothing_acked(tmp_path: Path, name: str) -> None:
    assert await _cut_everywhere(tmp_path, name, seeds=[0], every=5 if IS_THOROUGH else 15) > 6


@pytest.mark.slow
@pytest.mark.parametrize("name", EXHAUSTIVE)
async def test_a_power_cut_at_every_operation_loses_nothing_acked(tmp_path: Path, name: str) -> None:
    cuts = await _cut_everywhere(tmp_path, name, seeds=[0], recovery_every=1 if IS_EXHAUSTIVE else 3)
    print(f"\n{name}: {cuts} power cuts")


@given(steps=workloads, kill_share=st.floats(0, 1), when=st.sampled_from(WHENS), seed=st.integers(0, 2**32))
@settings(_FUZZ, max_examples=examples(25))
async def test_what_a_killed_daemon_left_unsynced_is_not_acked_unless_it_is_safe(
    tmp_path: Path, steps: list[Step], kill_share: float, when: When, seed: int
) -> None:
    conf = config(sync="each")
    operations = len((await live(steps, conf, tmp_path, seed=seed)).log)
    disk = SimDisk(random.Random(seed))
    disk.cut_at(int(kill_share * operations), when=when)
    accounts: list[Account] = []
    with contextlib.suppress(PowerCut):
        async with lived(disk, conf, tmp_path, None) as life:
            accounts = life.accounts
            await life.run(steps)
    # A new daemon on the same machine sees all that the killed one wrote, synced or not ...
    disk.kill()
    async with lived(disk, conf, tmp_path, None) as again:
        await check(again, accounts)
        # ... and acks repeats of it. Then the power is cut.
        resent: list[Step] = []
        for slot, account in enumerate(accounts):
            resent += [Open(slot, int(account.recording_id[-4:])), Put(slot, tuple(account.lines())), Flush()]
        await again.run(resent)
        accounts = [*accounts, *again.accounts]
        states = again.index.states
    await go_on(Ended(survivors(disk), states, accounts, disk.log), conf, tmp_path, states[-1])


@pytest.mark.slow
# A true random: how often it is asked depends on threads, which what Hypothesis draws may not.
@given(steps=workloads, conf=settings_drawn, failures=_FAILURES, rng=st.randoms(use_true_random=True))
@settings(_FUZZ, max_examples=examples(40))
async def test_a_power_cut_at_every_operation_of_random_workloads_loses_nothing_acked(
    tmp_path: Path, steps: list[Step], conf: Config, failures: list[Failure], rng: random.Random
) -> None:
    operations = len((await live(steps, conf, tmp_path, failures=failures)).log)
    for operation in range(operations):
        cut, seed = (operation, rng.choice(WHENS)), rng.randrange(1 << 32)
        ended = await live(steps, conf, tmp_path, cut=cut, failures=failures, seed=seed)
        for state in {None, *ended.states[-1:], *(rng.choices(ended.states) if ended.states else ())}:
            await go_on(ended, conf, tmp_path, state)


class _BreakingDisk(SimDisk):
    """Once it breaks, it writes all it is given, reports a failure all the same, and truncates nothing."""

    is_broken = False

    def write(self, handle: int, data: bytes) -> None:
        super().write(handle, data)
        if self.is_broken:
            raise OSError(errno.ENOSPC, "full")

    def truncate(self, path: str, size: int, *, sync: bool = True) -> None:
        if self.is_broken:
            raise OSError(errno.EIO, "broken")
        super().truncate(path, size, sync=sync)


@pytest.mark.parametrize("loses_index", [False, True])
async def test_a_refused_block_that_could_not_be_undone_is_never_taken_up(
    tmp_path: Path, loses_index: bool
) -> None:
    disk = _BreakingDisk(random.Random(0))
    conf = config(sync="each")
    async with lived(disk, conf, tmp_path, None) as life:
        await life.run([Put(0, (tied_event(1),)), Flush()])
        disk.is_broken = True
        await life.run([Put(0, (tied_event(4),)), Flush()])
        disk.is_broken = False
        # Its number goes to another event, in the next segment: both blocks are whole, and one counts.
        await life.run([Open(0, 0), Put(0, (tied_event(7),)), Flush()])
        accounts, state = life.accounts, life.index.states[-1]
        assert [account.acked for account in accounts] == [1, 1]
    ended = Ended(disk.files(), [], accounts, disk.log)
    await go_on(ended, conf, tmp_path, None if loses_index else state)
