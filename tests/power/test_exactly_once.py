"""A recording holds each line as often as the one sender that sent it most often: over restarts, too."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.power.machine import Account, Close, Flush, Open, Put, Rest, Step, check, config, lived
from tests.samples import tied_event
from tests.simdisk import SimDisk
from tests.thoroughness import examples

_FUZZ = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


_SLOTS = st.integers(0, 3)
_LINES = st.lists(st.builds(tied_event, st.integers(0, 9)), min_size=1, max_size=6).map(tuple)
_STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(Put, _SLOTS, _LINES, st.booleans()),
    st.builds(Open, _SLOTS, st.integers(0, 1)),
    st.just(Flush()),
    st.builds(Close, _SLOTS),
    st.just(Rest()),
)


@given(
    lives=st.lists(st.lists(_STEPS, max_size=8), min_size=1, max_size=3),
    segment_bytes_max=st.sampled_from([400, 1 << 20]),
    loses_index=st.booleans(),
)
@settings(_FUZZ, max_examples=examples(40))
async def test_sources_interleaved_and_restarts_store_each_line_as_often_as_its_busiest_sender(
    tmp_path: Path, lives: list[list[Step]], segment_bytes_max: int, loses_index: bool
) -> None:
    disk = SimDisk(random.Random(0))
    conf = config(segment_bytes_max=segment_bytes_max)
    accounts: list[Account] = []
    state: bytes | None = None
    for steps in lives:
        async with lived(disk, conf, tmp_path, state) as life:
            await life.run([*steps, Flush()])
            await life.registry.stop()
            accounts += life.accounts
            await check(life, accounts, complete=True)
            state = None if loses_index else life.index.states[-1]


@pytest.mark.parametrize("restarts", [False, True])
async def test_cumulative_posts_are_stored_once(tmp_path: Path, restarts: bool) -> None:
    # The rrweb client's list only grows: each body holds all earlier ones.
    disk = SimDisk(random.Random(0))
    posts: list[list[Step]] = [
        [Open(0, 0), Put(0, tuple(tied_event(number) for number in range(10 * count))), Flush(), Close(0)]
        for count in range(1, 13)
    ]
    lives = posts if restarts else [[step for post in posts for step in post]]
    accounts: list[Account] = []
    state: bytes | None = None
    for steps in lives:
        async with lived(disk, config(), tmp_path, state) as life:
            await life.run(steps)
            accounts += life.accounts
            await check(life, accounts, complete=True)
            row = await life.index.recording("t", accounts[0].recording_id)
            assert row is not None
            assert row.next_seq == len(accounts[-1].sent) + 1
            state = life.index.states[-1]
