"""The tables of states: what real recordings and segments do goes along them, and all of them happens."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rrd.errors import Gone, ShuttingDown, StorageFailed
from rrd.recordings.recording import Recording
from rrd.recordings.states import OPEN, RECORDING, SEGMENT, UNDER_WAY, NotInTable, State
from rrd.recordings.states import Step as Taken
from tests.harness import until
from tests.power.machine import Close, Flush, Life, Open, Put, Rest, Step, config, lived
from tests.recordings.test_committer import GatedDisk
from tests.recordings.test_recording import Woken
from tests.samples import batch, event
from tests.simdisk import SimDisk
from tests.sources import open_source
from tests.thoroughness import examples
from tests.wired import TENANT, numbered_id

A, B = numbered_id(0), numbered_id(1)

STATES, STEPS = get_args(State), get_args(Taken)

Moves = set[tuple[State, Taken]]


def test_a_step_that_is_not_in_the_table_is_refused() -> None:
    assert set(RECORDING) == set(STATES)
    assert {step for row in RECORDING.values() for step in row} == set(STEPS)
    for state, step in itertools.product(STATES, STEPS):
        recording = Woken().recording
        recording.state = state
        if step in RECORDING[state]:
            recording.move(step)
            assert recording.state == RECORDING[state][step]
        else:
            with pytest.raises(NotInTable, match=f"{state} can't be {step}"):
                recording.move(step)


def test_the_groups_of_states_follow_from_the_table() -> None:
    def leading(step: Taken) -> set[State]:
        return {state for state, row in RECORDING.items() if step in row}

    assert leading("removed") == leading("stopped") == OPEN
    # What waits or is on its way ends by a block, which a daemon that stopped may have left.
    assert (leading("taken") | leading("settled")) - {"stopped"} == UNDER_WAY


def _drawn() -> Iterator[dict[str, dict[str, str]]]:
    """Yield the tables of the page: each state with its steps and where they lead."""
    page = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text("utf-8")
    section = page.partition("\n## States\n")[2].partition("\n## ")[0]
    for part in section.split("\n\n**A")[1:3]:
        rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("|")][2:]
        yield {
            state: dict(step.split(" → ") for step in steps.split("; ") if " → " in step)
            for state, *_, steps in rows
        }


def test_the_page_draws_the_tables() -> None:
    assert list(_drawn()) == [RECORDING, SEGMENT]


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> Moves:
    """Every step that a recording takes in this test."""
    seen: Moves = set()
    move = Recording.move

    def noted(recording: Recording, step: Taken) -> None:
        seen.add((recording.state, step))
        move(recording, step)

    monkeypatch.setattr(Recording, "move", noted)
    return seen


class Gated(GatedDisk):
    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        """Something is to be read."""

    def read(self, path: str, offset: int, size: int) -> bytes:
        self.asked.set()
        return super().read(path, offset, size)


async def _until(life: Life, state: State) -> None:
    await until(lambda: life.registry._recordings[TENANT, A].state == state, what=state)


async def test_all_that_is_in_the_table_happens(tmp_path: Path, moves: Moves) -> None:
    disk = Gated()
    async with lived(disk, config(), tmp_path, None) as life:
        await life.run([Open(0, 0), Put(0, (event(1),)), Flush(), Close(0), Rest()])
        assert not life.registry._recordings, "opened, put, taken, settled, let go"

        source = await open_source(life.registry, TENANT, A)
        await life.registry.expel(TENANT, A)
        with pytest.raises(Gone):
            source.put(batch(event(2)))

        source = await open_source(life.registry, TENANT, A)
        source.put(batch(event(2)))
        await life.registry.expel(TENANT, A)  # While it waits for the committer.
        with pytest.raises(Gone):
            await source.flush()

        source = await open_source(life.registry, TENANT, A)
        disk.writes.clear()
        source.put(batch(event(3)))
        await _until(life, "busy")
        expelling = asyncio.create_task(life.registry.expel(TENANT, A))
        await _until(life, "expelling")
        disk.writes.set()
        await expelling

    async with lived(disk, config(), tmp_path, None) as life:
        source = await open_source(life.registry, TENANT, A)
        await life.registry.stop()
        with pytest.raises(ShuttingDown):
            source.put(batch(event(5)))
    # A committer that fails leaves what waits and what is on its way; a lookup may still settle.
    async with lived(disk, config(), tmp_path, None) as life:
        other = await open_source(life.registry, TENANT, B)
        source = await open_source(life.registry, TENANT, A)
        disk.reads.clear()
        disk.asked.clear()
        source.put(batch(event(1)))  # It may be a repeat.
        await until(disk.asked.is_set, what="the lookup")
        life.tasks[0].cancel()
        await asyncio.wait([life.tasks[0]])
        other.put(batch(event(1)))
        await life.registry.stop()
        disk.read_error = OSError(5, "broken")
        disk.reads.set()
        with pytest.raises(StorageFailed):
            await source.flush()
    assert {(state, step) for state, row in RECORDING.items() for step in row} - moves == set()


_STEPS: st.SearchStrategy[Step | int] = st.one_of(
    st.builds(Open, st.integers(0, 2), st.integers(0, 2)),
    st.builds(Put, st.integers(0, 2), st.lists(st.integers(0, 9).map(event), max_size=3).map(tuple)),
    st.builds(Close, st.integers(0, 2)),
    st.just(Flush()),
    st.just(Rest()),
    st.integers(0, 2),
)
"""Steps of a life; a number is a recording to be expelled."""


def _reachable(stage: str) -> set[str]:
    """Return what a segment may be at the next look, by which it may have taken several steps."""
    return {stage}.union(*(_reachable(to) for to in SEGMENT[stage].values() if to != "active"))


async def _stages(life: Life) -> dict[tuple[str, int], str]:
    found: dict[tuple[str, int], str] = {}
    for number in range(3):
        row = await life.index.recording(TENANT, numbered_id(number))
        for segment in row.segments if row is not None else ():
            name = (numbered_id(number), segment.number)
            is_finished = (TENANT, *name) in life.registry._sealer._finished
            found[name] = "finished" if is_finished else segment.state
    return found


_FUZZ = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(steps=st.lists(_STEPS, max_size=25))
@settings(_FUZZ, max_examples=examples(60))
async def test_whatever_is_done_goes_along_the_tables(tmp_path: Path, steps: list[Step | int]) -> None:
    async with lived(SimDisk(random.Random(0)), config(recordings_max=2), tmp_path, None) as life:
        before: dict[tuple[str, int], str] = {}
        for step in steps:
            if isinstance(step, int):
                await life._until_cut(life.registry.expel(TENANT, numbered_id(step)))
            else:
                with contextlib.suppress(Gone):
                    await life.run([step])
            now = await _stages(life)
            for name, stage in now.items():
                was = before.get(name, "active")
                assert stage in _reachable(was) | set(SEGMENT[was].values())
            before = now
            for recording in life.registry._recordings.values():
                assert recording.state in OPEN
        for slot in list(life._open):
            await life._close(slot)
        await life.registry.stop()
        states = {recording.state for recording in life.registry._recordings.values()}
        assert states <= {"stopped"}
