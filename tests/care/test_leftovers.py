"""What a start finds in ``active/`` and ``rolling/``: removed only where what it holds is elsewhere, too."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from rrd import layout
from rrd.layout import SegmentName
from tests.care.care_lab import A, Life, life
from tests.objects.memory_store import MemoryStore
from tests.samples import event

NAME = SegmentName("t", A, 1)
EVENTS = [event(number) for number in (1, 2, 3)]


class Lived(NamedTuple):
    """What one life of a recording leaves."""

    segment: bytes
    obj: bytes
    events: object
    """What a reader gets."""


async def lived(
    folder: Path, store: MemoryStore, lines: list[bytes], *, later_s: float = 0.0, evict: bool = True
) -> Lived:
    """Send lines, which fit into one segment; have it rolled up, and evicted."""
    async with life(folder, store, segment_bytes_max=1 << 20) as now:
        now.clock.seconds += later_s
        await now.send(*lines)
        await now.roll_up()
        segment = sealed(folder).read_bytes()
        (obj,) = store.objects.values()
        if evict:
            await now.evictor.evict_now(everything=True)
        return Lived(segment, obj, await events(now))


def sealed(folder: Path) -> Path:
    return Path(layout.sealed_path(str(folder / "data"), NAME))


def active(folder: Path) -> Path:
    return Path(layout.active_path(str(folder / "data"), NAME))


def rolling(folder: Path) -> Path:
    return Path(layout.rolling_path(str(folder / "data"), NAME))


def aside(folder: Path) -> Path:
    return Path(f"{rolling(folder)}.kept")


def flipped(data: bytes, offset: int) -> bytes:
    changed = bytearray(data)
    changed[offset] ^= 1
    return bytes(changed)


async def events(now: Life) -> object:
    return (await now.answers())[f"t {A} events"]


# What lies in active/ → (at the start, by verify --mend afterwards)
ACTIVE = {
    "equal": ("removed", ""),
    "another life's, with the same lines": ("removed", ""),
    "holds more": ("kept", "kept"),
    "holds another line": ("kept", "kept"),
    "another life's": ("kept", "kept"),
    "damaged": ("kept", "removed"),
    "another life's, damaged": ("kept", "kept"),
    "unreadable": ("kept", "kept"),
    "equal, and the store is away": ("kept", "removed"),
    "equal, and the object is damaged": ("kept", "kept"),
}


async def planted(tmp_path: Path, what: str, mine: Lived) -> bytes:
    async def other(lines: list[bytes], later_s: float) -> bytes:
        return (await lived(tmp_path / "other", MemoryStore(), lines, later_s=later_s)).segment

    match what:
        case "another life's, with the same lines":
            return await other(EVENTS, 1)
        case "holds more":
            return await other([*EVENTS, event(9)], 0)
        case "holds another line":
            return await other([*EVENTS[:2], event(77)], 0)
        case "another life's":
            return await other([event(7)], 1)
        case "damaged":
            return flipped(mine.segment, -20)
        case "another life's, damaged":
            return flipped(await other(EVENTS, 1), -20)
        case "unreadable":
            return b"\0" * len(mine.segment)
        case _:
            return mine.segment


@pytest.mark.parametrize("what", ACTIVE)
async def test_a_copy_in_active_is_compared_before_it_goes(tmp_path: Path, what: str) -> None:
    at_start, by_mend = ACTIVE[what]
    store, folder = MemoryStore(), tmp_path / "mine"
    mine = await lived(folder, store, EVENTS)
    data = await planted(tmp_path, what, mine)
    active(folder).write_bytes(data)
    (key,) = store.objects
    if "away" in what:
        store.fail("read", "size")
    if "object is damaged" in what:
        store.damage(key, len(mine.obj) // 3)
    objects = dict(store.objects)
    async with life(folder, store) as now:
        store.heal()
        assert active(folder).exists() == (at_start == "kept")
        if at_start == "kept":
            assert active(folder).read_bytes() == data
            assert str(active(folder)) in {each.where for each in await now.verify(deep=False)}
            await now.verify(mend=True)
            assert active(folder).exists() == (by_mend == "kept")
        assert store.objects == objects
        if "object is damaged" not in what:
            assert await events(now) == mine.events


@pytest.mark.parametrize("place", ["sealed, too", "sealed is another"])
async def test_a_copy_in_both_places_goes_only_if_both_are_the_same(tmp_path: Path, place: str) -> None:
    store, folder = MemoryStore(), tmp_path / "mine"
    mine = await lived(folder, store, EVENTS, evict=False)
    other = await lived(tmp_path / "other", MemoryStore(), [event(7)], later_s=1)
    data = mine.segment if place == "sealed, too" else other.segment
    async with life(folder, store) as now:
        active(folder).write_bytes(data)
        await now.evictor.evict_now(everything=True)
        assert not sealed(folder).exists()
        assert active(folder).exists() == (place == "sealed is another")
    async with life(folder, store):
        assert active(folder).exists() == (place == "sealed is another")


# What lies in rolling/ → what a start does with it
ROLLING = {
    "made of what is here": "removed",
    "made of what is here, unfinished": "removed",
    "no block": "removed",
    "empty": "removed",
    "its segments are gone": "kept",
    "its segment is damaged": "kept",
    "another life's": "kept",
    "its identity is damaged": "kept",
}


@pytest.mark.parametrize("what", ROLLING)
async def test_an_unfinished_object_goes_only_if_its_segments_are_here(tmp_path: Path, what: str) -> None:
    store, folder = MemoryStore(), tmp_path / "mine"
    mine = await lived(folder, store, EVENTS, evict=what == "its segments are gone")
    data = mine.obj
    match what:
        case "made of what is here, unfinished":
            data = data[: len(data) // 2]
        case "no block":
            data = data[:40]
        case "empty":
            data = b""
        case "its segment is damaged":
            sealed(folder).write_bytes(flipped(mine.segment, -20))
        case "another life's":
            data = (await lived(tmp_path / "other", MemoryStore(), [event(7)], later_s=1)).obj
        case "its identity is damaged":
            # Its table says the same at its end.
            data = flipped(data, 20)[:-100]
    rolling(folder).parent.mkdir(exist_ok=True)
    rolling(folder).write_bytes(data)
    async with life(folder, store) as now:
        assert not rolling(folder).exists()
        assert aside(folder).exists() == (ROLLING[what] == "kept")
        if aside(folder).exists():
            assert aside(folder).read_bytes() == data
            assert str(aside(folder)) in {each.where for each in await now.verify(deep=False)}
            await now.verify(mend=True)
            assert aside(folder).exists()
