"""Group commit: what fails, for whom, and what a power cut leaves of it.

The central property: wherever the power is cut, each block that was returned as ``Stored`` is there,
nothing else is but what was offered last, no file looks corrupt, and the segment can go on.
"""

from __future__ import annotations

import contextlib
import errno
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.segment.commit import Append, Stored, SyncMode, commit
from rrd.segment.format import BlockDraft
from rrd.segment.repair import Torn, cut_torn_tails
from rrd.segment.scan import scan
from rrd.segment.writer import SegmentWriter
from tests.segment.samples import COMPRESSOR, IDENTITY, NOTES, events, read_back
from tests.simdisk import PowerCut, SimDisk, When
from tests.thoroughness import examples

MODES: tuple[SyncMode, ...] = ("auto", "each", "filesystem")


def path_of(segment: int) -> str:
    return f"/active/t.r{segment}.000001.ndjson.zst"


def a_writer(disk: SimDisk, segment: int, size: int = 0) -> SegmentWriter:
    identity = msgspec.structs.replace(IDENTITY, recording_id=f"r{segment}", salt=f"{segment:032x}")
    return SegmentWriter(disk, path_of(segment), identity, size=size, compressor=COMPRESSOR)


def new_disk(rng: random.Random | None = None) -> SimDisk:
    disk = SimDisk(rng)
    disk.make_dirs("/active")
    return disk


def a_draft(number: int, first_seq: int) -> BlockDraft:
    """Drafts of many kinds, no two alike."""
    rng = random.Random(number)
    draft = events(*(number * 1000 + at for at in range(rng.randint(1, 3))))
    if number % 3 == 0:
        # Long enough, and hard enough to compress, for several sectors.
        draft = draft._replace(payload=draft.payload.replace(b'"source":1', b'"x":"%s"' % _hex(rng)))
    if number % 4 == 0:
        draft = draft._replace(metadata=NOTES.metadata, quarantine=NOTES.quarantine)
    if number % 5 == 0:
        draft = NOTES
    return draft._replace(first_seq=first_seq, stored_ms=number)


def _hex(rng: random.Random) -> bytes:
    return rng.randbytes(200).hex().encode()


@dataclass
class Account:
    """What a segment's user was told about it."""

    stored: list[BlockDraft] = field(default_factory=list)
    size: int = 0
    possible: list[BlockDraft] = field(default_factory=list)
    """Blocks that were offered and not acked: one of them may be found behind the stored ones."""

    @property
    def next_seq(self) -> int:
        return self.stored[-1].first_seq + self.stored[-1].event_count if self.stored else 1


def run(
    disk: SimDisk,
    writers: dict[int, SegmentWriter],
    groups: Sequence[frozenset[int]],
    accounts: dict[int, Account],
    mode: SyncMode,
) -> None:
    """Commit one block to each segment of each group, and keep account of what is promised."""
    for group in groups:
        offered = []
        for segment in sorted(group):
            if segment not in writers:
                writers[segment] = a_writer(disk, segment)
            if writers[segment].usable:
                account = accounts.setdefault(segment, Account())
                number = segment + 7 * sum(
                    len(known.stored) + len(known.possible) for known in accounts.values()
                )
                account.possible.append(a_draft(number, account.next_seq))
                offered.append((writers[segment], account))
        appends = [Append(writer, account.possible[-1]) for writer, account in offered]
        outcomes = commit(disk, appends, mode=mode)
        assert len(outcomes) == len(offered)
        for (writer, account), outcome in zip(offered, outcomes, strict=True):
            if isinstance(outcome, Stored):
                account.stored.append(account.possible[-1])
                account.possible.clear()
                account.size = outcome.size
                assert (writer.size, writer.usable) == (outcome.size, True)
            elif writer.usable and account.stored:
                # Undone, and the truncation is synced.
                account.possible.pop()


def check(disk: SimDisk, accounts: dict[int, Account]) -> dict[int, SegmentWriter]:
    """Hold what is found against what was promised; repair; return writers that go on."""
    writers = {}
    for segment, account in accounts.items():
        path = path_of(segment)
        if path not in disk.files():
            assert account.stored == []
            account.possible.clear()
            continue
        found = scan(disk, path, durable_size=account.size, deep=True)
        assert found.verdict in ("clean", "torn")
        assert found.good_size >= account.size
        blocks = [read_back(disk, path, header) for header in found.blocks]
        assert blocks in [account.stored, *([*account.stored, draft] for draft in account.possible)]
        if found.verdict == "torn":
            cut_torn_tails(disk, [Torn(path, found)], torn_dir="/torn")
        account.stored, account.size = blocks, found.good_size
        account.possible.clear()
        if found.identity is not None:
            writers[segment] = a_writer(disk, segment, found.good_size)
    return writers


groups_of_segments = st.lists(st.frozensets(st.integers(1, 6), min_size=1), min_size=1, max_size=5)


@settings(deadline=None, max_examples=examples(40))
@given(groups_of_segments, st.sampled_from(MODES), st.integers(0, 2**32))
def test_a_power_cut_at_any_operation_loses_nothing_that_was_stored(
    groups: list[frozenset[int]], mode: SyncMode, seed: int
) -> None:
    rehearsal = new_disk()
    run(rehearsal, {}, groups, {}, mode)
    kinds: tuple[When, ...] = ("before", "halfway", "after")
    for operation in range(1, rehearsal.operations + 1):
        for kind in kinds:
            disk = new_disk(random.Random(f"{seed} {operation} {kind}"))
            accounts: dict[int, Account] = {}
            disk.cut_at(operation, when=kind)
            if operation < rehearsal.operations:
                with pytest.raises(PowerCut):
                    run(disk, {}, groups, accounts, mode)
            else:
                run(disk, {}, groups, accounts, mode)
            disk.power_cut()
            # And on it goes, with the same promises.
            writers = check(disk, accounts)
            run(disk, writers, groups[:2], accounts, mode)
            disk.power_cut()
            check(disk, accounts)


FAULTS = st.dictionaries(
    st.integers(1, 40), st.sampled_from([errno.EIO, errno.ENOSPC, errno.EMFILE]), max_size=6
)


@settings(deadline=None, max_examples=examples(300))
@given(groups_of_segments, st.sampled_from(MODES), FAULTS, st.randoms(use_true_random=False))
def test_a_failing_disk_loses_nothing_that_was_stored(
    groups: list[frozenset[int]], mode: SyncMode, faults: dict[int, int], rng: random.Random
) -> None:
    disk = new_disk(rng)
    for operation, code in faults.items():
        disk.fail_at(operation, code)
    accounts: dict[int, Account] = {}
    writers: dict[int, SegmentWriter] = {}
    run(disk, writers, groups, accounts, mode)
    for segment, account in accounts.items():
        # Before any cut, what can be read up to the durable size is what was stored.
        if account.stored:
            found = scan(disk, path_of(segment), limit=account.size, deep=True)
            assert found.verdict == "clean"
            assert [read_back(disk, path_of(segment), header) for header in found.blocks] == account.stored
    for writer in writers.values():
        writer.close()
    assert disk.open_handles == 0
    disk.power_cut()
    run(disk, check(disk, accounts), groups[:2], accounts, mode)
    disk.power_cut()
    check(disk, accounts)


@settings(deadline=None, max_examples=examples(300))
@given(
    groups_of_segments,
    st.sampled_from(MODES),
    st.integers(1, 40),
    st.sampled_from(["before", "halfway", "after"]),
    st.randoms(use_true_random=False),
)
def test_after_a_kill_one_sync_all_makes_what_is_found_safe(
    groups: list[frozenset[int]], mode: SyncMode, operation: int, when: When, rng: random.Random
) -> None:
    """A killed daemon leaves bytes and entries that nobody synced and that the next one can read."""
    disk = new_disk(rng)
    accounts: dict[int, Account] = {}
    disk.cut_at(operation, when=when)
    with contextlib.suppress(PowerCut):
        run(disk, {}, groups, accounts, mode)
    disk.kill()
    disk.sync_all("/active")
    writers = check(disk, accounts)
    disk.power_cut()
    writers = check(disk, accounts)
    run(disk, writers, groups[:2], accounts, mode)
    disk.power_cut()
    check(disk, accounts)


def append_to(disk: SimDisk, *segments: int) -> list[Append]:
    return [Append(a_writer(disk, segment), a_draft(segment, 1)) for segment in segments]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("count", [0, 1, 4, 5, 20])
def test_outcomes_are_in_order_and_say_where_each_block_is(mode: SyncMode, count: int) -> None:
    disk = new_disk()
    appends = append_to(disk, *range(count))
    outcomes = commit(disk, appends, mode=mode)
    assert len(outcomes) == count
    for append, outcome in zip(appends, outcomes, strict=True):
        assert isinstance(outcome, Stored)
        [header] = scan(disk, append.writer.path).blocks
        assert (outcome.offset, outcome.size) == (header.offset, header.limit_offset)
        assert append.writer.size == outcome.size
        assert not append.writer.is_new


@pytest.mark.parametrize(
    ("mode", "count", "syncs"),
    [
        ("auto", 4, ["sync"] * 4),
        ("auto", 5, ["sync_all"]),
        ("each", 5, ["sync"] * 5),
        ("filesystem", 1, ["sync_all"]),
    ],
)
def test_the_mode_says_how_a_group_is_synced(mode: SyncMode, count: int, syncs: list[str]) -> None:
    disk = new_disk()
    commit(disk, append_to(disk, *range(count)), mode=mode)
    entries = ["sync_dir /active"] if syncs[0] == "sync" else []
    assert [what for what in disk.log if what.startswith("sync")] == syncs + entries


def test_the_directory_is_synced_for_new_files_only() -> None:
    disk = new_disk()
    [append] = append_to(disk, 1)
    commit(disk, [append], mode="each")
    begin = disk.operations
    commit(disk, [Append(append.writer, a_draft(8, 1 + append.draft.event_count))], mode="each")
    assert [what.split()[0] for what in disk.log[begin:]] == ["write", "sync"]


def test_a_failed_write_fails_its_own_segment_only() -> None:
    disk = new_disk()
    appends = append_to(disk, 1, 2, 3)
    disk.fail_at(disk.log.index("make_dirs /active") + 4, errno.ENOSPC)
    first, second, third = commit(disk, appends, mode="each")
    assert isinstance(first, Stored)
    assert isinstance(second, OSError)
    assert second.errno == errno.ENOSPC
    assert isinstance(third, Stored)
    assert appends[1].writer.usable
    assert path_of(2) not in disk.files()


def test_a_failed_sync_fails_its_own_segment_only_where_files_are_synced_one_by_one() -> None:
    disk = new_disk()
    appends = append_to(disk, 1, 2, 3)
    disk.fail_at(1 + 2 * 3 + 1)
    outcomes = commit(disk, appends, mode="each")
    assert [isinstance(outcome, Stored) for outcome in outcomes] == [True, False, True]
    assert [append.writer.usable for append in appends] == [True, False, True]


def test_a_failed_sync_of_the_file_system_fails_the_group_and_ends_its_segments() -> None:
    disk = new_disk()
    appends = append_to(disk, 1, 2, 3)
    disk.fail_at(1 + 2 * 3)
    outcomes = commit(disk, appends, mode="filesystem")
    assert [isinstance(outcome, OSError) for outcome in outcomes] == [True] * 3
    assert [append.writer.usable for append in appends] == [False] * 3


def test_a_failed_sync_of_the_directory_fails_the_new_segments_only() -> None:
    disk = new_disk()
    [old] = append_to(disk, 1)
    commit(disk, [old], mode="each")
    appends = [Append(old.writer, a_draft(8, 1 + old.draft.event_count)), *append_to(disk, 2, 3)]
    disk.fail_at(disk.operations + 1 + 2 * 2 + 3)
    outcomes = commit(disk, appends, mode="each")
    assert [isinstance(outcome, Stored) for outcome in outcomes] == [True, False, False]
    assert [append.writer.usable for append in appends] == [True, False, False]


@pytest.mark.parametrize("mode", MODES)
def test_a_block_that_can_not_be_encoded_leaves_the_others_of_its_group_usable(mode: SyncMode) -> None:
    """Only a bug makes one; it must not end the recordings of other people."""
    disk = new_disk()
    appends = append_to(disk, 1, 2, 3)
    appends[1] = appends[1]._replace(draft=appends[1].draft._replace(source=-1))
    outcomes = commit(disk, appends, mode=mode)
    assert [isinstance(outcome, Stored) for outcome in outcomes] == [True, False, True]
    again = appends[1]._replace(draft=appends[1].draft._replace(source=1))
    (outcome,) = commit(disk, [again], mode=mode)
    assert isinstance(outcome, Stored)
