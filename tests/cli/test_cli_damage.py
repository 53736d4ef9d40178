"""A table of damage: what each command tells of it, that nothing is deleted, and that all intact is given.

Method
------
A data directory is made once, by the real writer, roll-up and eviction. Each case gets a copy, damages it,
and says which blocks it hit. What is lost follows from the whole copy: the events that no other block holds.
Each command must tell exactly so many, an export with ``--salvage`` must give exactly the others, byte for
byte, and all files must be as they were: commands that only read leave every file alone, and a reindex may
move a file, but not lose its bytes.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rrd import layout
from rrd.backup import manifest
from rrd.cli import main
from rrd.disk.disk import OsDisk
from rrd.objects.identity import MARKER_KEY
from rrd.objects.local import LocalStore
from rrd.segment.scan import scan
from tests.care.care_lab import A, B, Life, life

pytestmark = pytest.mark.table

EVENTS = 80
MISSING = re.compile(r"events-missing: .*?\(([\d,]+) events?\b")
SUMMARY = re.compile(r"([\d,]+) of ([\d,]+) events are missing")


def line(number: int) -> bytes:
    text = hashlib.sha256(b"%d" % number).hexdigest()
    return b'{"type":3,"timestamp":%d,"data":{"text":"%s"}}' % (number * 1000, text.encode())


class Block(NamedTuple):
    path: Path
    """Below the data directory."""
    start: int
    payload: int
    limit: int
    seqs: frozenset[int]


class World(NamedTuple):
    """A whole data directory, of which recording A is damaged in copies."""

    folder: Path
    blocks: list[Block]

    def of(self, place: str) -> list[Block]:
        return [block for block in self.blocks if block.path.parts[0] == place]


async def _fill(now: Life) -> None:
    sent = 0

    async def send(blocks: int) -> None:
        nonlocal sent
        for _ in range(blocks):
            await now.send(*(line(sent + number) for number in range(1, 6)))
            sent += 5

    await send(4)
    await now.rest()
    await now.roll_up(evict=True)
    for _ in range(2):
        await send(4)
        await now.rest()
    await now.send(line(1), recording_id=B)
    await now.rest()
    await send(4)
    assert sent == EVENTS


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("whole")

    async def make() -> None:
        store = LocalStore(layout.objects_dir(str(folder / "data")), OsDisk())
        async with life(folder, store, segment_bytes_max=1600, rollup_block_bytes=500) as now:
            await _fill(now)
        await store.close()

    asyncio.run(make())
    blocks = []
    for path in sorted((folder / "data").rglob(f"*{layout.SUFFIX}")):
        if A in str(path):
            blocks += [
                Block(
                    path.relative_to(folder / "data"), header.offset, header.notes_offset,
                    header.limit_offset,
                    frozenset(range(header.first_seq, header.limit_seq)),
                )
                for header in scan(OsDisk(), str(path)).blocks
            ]  # fmt: skip
    made = World(folder, blocks)
    assert frozenset().union(*(block.seqs for block in blocks)) == frozenset(range(1, EVENTS + 1))
    assert all(len(made.of(place)) >= 3 for place in ("active", "sealed", "objects"))
    return made


# Kinds of damage. Each changes a file and returns the blocks that it hit.

Hit = Iterable[Block]


def _flip(root: Path, path: Path, offset: int) -> None:
    data = bytearray((root / path).read_bytes())
    data[offset] ^= 0x10
    (root / path).write_bytes(data)


def _in_block(index: int, where: str) -> Callable[[Path, list[Block]], Hit]:
    def damage(root: Path, blocks: list[Block]) -> Hit:
        block = blocks[index]
        if where == "header" and block.path.parts[0] == "objects":
            # The table at an object's end has it once more.
            _flip(root, block.path, block.start + 40)
            return []
        _flip(root, block.path, block.start + 40 if where == "header" else (block.payload + block.limit) // 2)
        return [block]

    return damage


def _identity(root: Path, blocks: list[Block]) -> Hit:
    _flip(root, blocks[0].path, 40)
    return []


def _magic(root: Path, blocks: list[Block]) -> Hit:
    _flip(root, blocks[0].path, 0)
    return []


def _cut(size: int) -> Callable[[Path, list[Block]], Hit]:
    def damage(root: Path, blocks: list[Block]) -> Hit:
        path = root / blocks[0].path
        rest = path.stat().st_size - size
        path.write_bytes(path.read_bytes()[:rest])
        return [block for block in blocks if block.limit > rest]

    return damage


def _empty(root: Path, blocks: list[Block]) -> Hit:
    (root / blocks[0].path).write_bytes(b"")
    return blocks


def _delete(root: Path, blocks: list[Block]) -> Hit:
    (root / blocks[0].path).unlink()
    return blocks


def _zeros(root: Path, blocks: list[Block]) -> Hit:
    path = root / blocks[0].path
    path.write_bytes(bytes(path.stat().st_size))
    return blocks


def _a_directory(root: Path, blocks: list[Block]) -> Hit:
    _delete(root, blocks)
    (root / blocks[0].path).mkdir()
    return blocks


def _append(root: Path, blocks: list[Block]) -> Hit:
    with (root / blocks[0].path).open("ab") as file:
        file.write(b"garbage" * 20)
    return []


def _hole(root: Path, blocks: list[Block]) -> Hit:
    path = root / blocks[0].path
    data = bytearray(path.read_bytes())
    data[blocks[1].start - 10 : blocks[1].start + 10] = bytes(20)
    path.write_bytes(data)
    return blocks[:1] if blocks[0].path.parts[0] == "objects" else blocks[:2]


def _bytes_taken_out(root: Path, blocks: list[Block]) -> Hit:
    """All that follows is not where its checksum says it is."""
    path = root / blocks[0].path
    data = path.read_bytes()
    at = blocks[1].payload + 3
    path.write_bytes(data[:at] + data[at + 1 :])
    return blocks[1:]


KINDS: dict[str, Callable[[Path, list[Block]], Hit]] = {
    "header of the first block": _in_block(0, "header"),
    "header of a middle block": _in_block(1, "header"),
    "header of the last block": _in_block(-1, "header"),
    "payload of the first block": _in_block(0, "payload"),
    "payload of a middle block": _in_block(1, "payload"),
    "payload of the last block": _in_block(-1, "payload"),
    "identity": _identity,
    "first byte": _magic,
    "short by 1": _cut(1),
    "short by 100": _cut(100),
    "empty": _empty,
    "zeros": _zeros,
    "deleted": _delete,
    "a directory in its place": _a_directory,
    "garbage appended": _append,
    "a hole over two blocks": _hole,
    "a byte taken out": _bytes_taken_out,
}
PLACES = ("active", "sealed", "objects")
UNSEEN_BY_SIZES = {
    *(kind for kind in KINDS if kind.startswith(("header", "payload"))),
    "identity", "first byte", "zeros", "a hole over two blocks",
}  # fmt: skip
"""Sizes and names are as they should be: only reading shows it."""


class Case(NamedTuple):
    root: Path
    lost: frozenset[int]
    path: Path

    def run(self, capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*argv, "--data-dir", str(self.root)])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err


def copied(world: World, folder: Path, kind: str, place: str) -> Case:
    root = folder / "data"
    shutil.copytree(world.folder / "data", root)
    blocks = world.of(place)
    first = blocks[0].path
    hit = set(KINDS[kind](root, [block for block in blocks if block.path == first]))
    left = frozenset().union(*(block.seqs for block in world.blocks if block not in hit))
    return Case(root, frozenset(range(1, EVENTS + 1)) - left, first)


def told(text: str) -> int:
    """Return how many events a command says are missing, run by run."""
    return sum(int(count.replace(",", "")) for count in MISSING.findall(text))


def contents(root: Path) -> dict[str, str]:
    """Every file that holds events, with its hash."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        is_mark = name == f"objects/{MARKER_KEY}"  # Holds no events; a start in another place renews it.
        if (
            path.is_file()
            and not is_mark
            and name.split("/", maxsplit=1)[0] in {"active", "sealed", "objects", "torn"}
        ):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def salvaged(case: Case, capsys: pytest.CaptureFixture[str], *, events: int = EVENTS) -> set[int]:
    code, _, err = case.run(
        capsys, "export", A, "--salvage", "--with-ids", "--output", str(case.root.parent / "salvaged")
    )
    assert code == 0, err
    lines = (case.root.parent / "salvaged").read_bytes().splitlines()
    seqs = [json.loads(text)["sequenceId"] for text in lines]
    assert [text.partition(b"\t")[0] + b"}" for text in lines] == [line(seq) for seq in seqs]
    assert len(set(seqs)) == len(seqs)
    if case.lost:
        assert SUMMARY.findall(err) == [(str(len(case.lost)), str(events))]
    return set(seqs)


CASES = [(kind, place) for kind in KINDS for place in PLACES]


@pytest.mark.table
@pytest.mark.parametrize(("kind", "place"), CASES)
def test_damage_is_told_by_number_and_all_that_is_intact_is_given(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, place: str
) -> None:
    case = copied(world, tmp_path, kind, place)
    count, intact = len(case.lost), set(range(1, EVENTS + 1)) - case.lost
    before = contents(case.root)
    is_harmless = kind == "garbage appended" and place != "objects"

    assert salvaged(case, capsys) == intact
    code, _, err = case.run(capsys, "export", A, "--output", str(tmp_path / "plain"))
    assert code == (0 if is_harmless else code)
    if count:
        assert code == 1
        assert SUMMARY.findall(err) == [(str(count), str(EVENTS))]
        assert "--salvage" in err
    for command in (["verify", "--deep"], ["doctor", A]):
        code, out, _ = case.run(capsys, *command)
        assert told(out) == count, (command, out)
        if not is_harmless and command[0] == "verify":
            assert code == 1
    code, out, _ = case.run(capsys, "verify")
    assert told(out) == (0 if kind in UNSEEN_BY_SIZES else count)
    if (case.root / case.path).is_file():
        code, out, err = case.run(capsys, "inspect", str(case.root / case.path))
        assert "nothing by hand" not in out or is_harmless, out
        assert "Next: nothing" not in out or is_harmless, out
        if count:
            events = "event" if count == 1 else "events"
            assert f"missing      {count} {events} that should be in this file" in out, out
    case.run(capsys, "backup", str(tmp_path / "backup"), "--quiet")
    assert contents(case.root) == before

    # A start goes on writing, and changes nothing of what was there.
    asyncio.run(_lived_on(tmp_path))
    kept = contents(case.root)
    if (kind, place) == ("garbage appended", "active"):
        # Taken for an unfinished write, which is kept in torn/.
        assert any(name.startswith("torn/") for name in kept)
        before = kept
    assert set(before.values()) - set(kept.values()) <= grown(case, before)
    assert told(case.run(capsys, "doctor", A)[1]) == count
    before = kept
    code, out, _ = case.run(capsys, "reindex")
    # It reads headers and tables, not all that lies between.
    assert told(out) == count or (told(out) == 0 and kind in UNSEEN_BY_SIZES), out
    assert code == 1 or not told(out)
    assert set(before.values()) <= set(contents(case.root).values())
    for command in (["verify", "--deep"], ["doctor", A]):
        _, out, _ = case.run(capsys, *command)
        assert told(out) == count, (command, out)
    assert salvaged(case, capsys, events=EVENTS + 1) == intact | {EVENTS + 1}


def grown(case: Case, before: dict[str, str]) -> set[str]:
    """The hashes of active segments to which an event was appended since."""
    return {digest for name, digest in before.items() if name.startswith("active/")}


# Files that are whole, and that this process can't read.


@pytest.mark.table
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES], ids=["EIO", "EACCES"])
def test_a_file_that_can_not_be_read_is_told_and_the_others_go_on(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], code: int, place: str
) -> None:
    """Simulated below the disk module, where the system is called: root may read everything."""
    shutil.copytree(world.folder / "data", tmp_path / "data")
    blocks = [block for block in world.of(place) if block.path == world.of(place)[0].path]
    bad = str(tmp_path / "data" / blocks[0].path)
    lost = frozenset().union(*(block.seqs for block in blocks))
    case = Case(tmp_path / "data", lost, blocks[0].path)
    before, index = contents(case.root), (case.root / "index.sqlite").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        _make_unreadable(patch, bad, code)
        assert salvaged(case, capsys) == set(range(1, EVENTS + 1)) - lost
        _, out, _ = case.run(capsys, "verify", "--deep")
        assert told(out) == len(lost)
        assert os.strerror(code) in out
        assert told(case.run(capsys, "doctor", A)[1]) == len(lost)
        exit_code, _, err = case.run(capsys, "export", A, "--output", str(tmp_path / "plain"))
        assert exit_code == 1
        assert SUMMARY.findall(err) == [(str(len(lost)), str(EVENTS))]
        exit_code, out, err = case.run(capsys, "backup", str(tmp_path / "backup"), "--quiet")
        assert exit_code == 1
        assert str(blocks[0].path) in err
        exit_code, out, err = case.run(capsys, "reindex")
        assert exit_code == 1
        if code == errno.EACCES:
            # It may be whole: without it the numbers that were given are not known.
            assert "Permission denied" in err
            assert (case.root / "index.sqlite").read_bytes() == index
        else:
            assert told(out) == len(lost)
    assert set(before.values()) <= set(contents(case.root).values())
    _, out, _ = case.run(capsys, "verify", "--deep")
    assert told(out) == 0, "it is there again"


def _make_unreadable(patch: pytest.MonkeyPatch, bad: str, code: int) -> None:
    """As by a bad disk, reading fails; as by missing permission, opening does."""
    real_open, real_pread = os.open, os.pread

    def fail() -> None:
        raise OSError(code, os.strerror(code), bad)

    def open_(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        if code == errno.EACCES and os.path.realpath(path) in {bad, *_links_to(bad)}:
            fail()
        return real_open(path, flags, mode, **more)

    def pread(handle: int, size: int, offset: int) -> bytes:
        if code == errno.EIO and os.path.samestat(os.fstat(handle), os.stat(bad)):
            fail()
        return real_pread(handle, size, offset)

    def open_file(path: Any, mode: str = "r", *more: Any, **others: Any) -> Any:
        if "r" in mode and isinstance(path, str) and os.path.exists(path) and os.path.samefile(path, bad):
            fail()
        return open(path, mode, *more, **others)

    patch.setattr(os, "open", open_)
    patch.setattr(os, "pread", pread)
    patch.setattr(manifest, "open", open_file, raising=False)


def _links_to(path: str) -> set[str]:
    root = Path(path.partition("/data/")[0]) / "data"
    return {str(other) for other in root.glob("backing-up.*/*/*/*") if other.samefile(path)}


# Files that are whole, and not where they belong, or not there at all.


class Places:
    """Where the files of a copy are."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def sealed(self, number: int, recording_id: str = A) -> Path:
        return Path(layout.sealed_path(str(self.root), layout.SegmentName("t", recording_id, number)))

    @property
    def index(self) -> Path:
        return self.root / "index.sqlite"


def _swap(one: Path, other: Path) -> None:
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)


def _swapped(at: Places) -> None:
    _swap(at.sealed(2), at.sealed(3))


def _swapped_with_another(at: Places) -> None:
    _swap(at.sealed(2), at.sealed(1, B))


def _copied(at: Places) -> None:
    shutil.copy(at.sealed(2), at.sealed(9))


def _copied_to_active(at: Places) -> None:
    shutil.copy(at.sealed(2), layout.active_path(str(at.root), layout.SegmentName("t", A, 9)))


def _moved(at: Places) -> None:
    at.sealed(2).rename(at.sealed(9))


def _without_index(at: Places) -> None:
    for path in at.root.glob("index.sqlite*"):
        path.unlink()


def _index_of_junk(at: Places) -> None:
    _without_index(at)
    at.index.write_bytes(b"junk" * 4096)


def _without_index_and_a_segment(at: Places) -> None:
    _without_index(at)
    at.sealed(2).unlink()


def _without_index_and_two_segments(at: Places) -> None:
    _without_index_and_a_segment(at)
    at.sealed(3).unlink()


def _without_index_and_the_object(at: Places) -> None:
    _without_index(at)
    shutil.rmtree(at.root / "objects" / "t")


def _without_anything_of_it(at: Places) -> None:
    for path in at.root.rglob(f"*{layout.SUFFIX}"):
        if A in str(path):
            path.unlink()


class Misplaced(NamedTuple):
    change: Callable[[Places], None]
    lost: frozenset[int] = frozenset()
    """Events of recording A that are nowhere any more."""
    lost_of_b: int = 0
    told_by: tuple[str, ...] = ("verify", "doctor", "reindex")
    kinds: frozenset[str] = frozenset()
    """What else ``rrd verify --deep`` tells, before a reindex."""


MISPLACED = {
    "two segments swapped": Misplaced(_swapped, kinds=frozenset({"segment-damaged"})),
    "two recordings' segments swapped": Misplaced(
        _swapped_with_another, frozenset(range(21, 41)), 1, kinds=frozenset({"segment-damaged"})
    ),
    "a copy under another number": Misplaced(_copied, kinds=frozenset({"segment-misplaced"})),
    "a copy in active": Misplaced(_copied_to_active),
    "moved to another number": Misplaced(
        _moved, kinds=frozenset({"segment-missing", "segment-misplaced"})
    ),
    "no index": Misplaced(_without_index, told_by=("reindex",)),
    "an index of junk": Misplaced(_index_of_junk, told_by=("reindex",)),
    "no index, and a segment gone": Misplaced(
        _without_index_and_a_segment, frozenset(range(21, 41)), told_by=("reindex",)
    ),
    "no index, and two segments gone": Misplaced(
        _without_index_and_two_segments, frozenset(range(21, 61)), told_by=("reindex",)
    ),
    "no index, and the object gone": Misplaced(
        _without_index_and_the_object, frozenset(range(1, 21)), told_by=("reindex",)
    ),
    "nothing left": Misplaced(
        _without_anything_of_it, frozenset(range(1, EVENTS + 1)),
        kinds=frozenset({"segment-missing", "object-missing"}),
    ),
}  # fmt: skip


@pytest.mark.table
@pytest.mark.parametrize("name", MISPLACED)
def test_what_is_not_where_it_belongs_is_told_and_nothing_of_it_is_lost(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    kind = MISPLACED[name]
    shutil.copytree(world.folder / "data", tmp_path / "data")
    kind.change(Places(tmp_path / "data"))
    case = Case(tmp_path / "data", kind.lost, Path())
    intact = set(range(1, EVENTS + 1)) - kind.lost
    before = contents(case.root)

    def tell(*commands: str) -> None:
        for command in commands:
            if command == "verify":
                _, out, _ = case.run(capsys, "verify", "--deep")
                assert told(out) == len(kind.lost) + kind.lost_of_b, out
            if command == "doctor":
                assert told(case.run(capsys, "doctor", A)[1]) == len(kind.lost)

    if "verify" in kind.told_by:
        assert salvaged(case, capsys) == intact
        tell(*kind.told_by)
        _, out, _ = case.run(capsys, "verify", "--deep")
        kinds = {text.partition(":")[0] for text in out.splitlines()[:-1]}
        assert kinds - {"events-missing"} == kind.kinds, out
        assert contents(case.root) == before
    else:
        for command in (["verify"], ["doctor", A], ["export", A], ["export", A, "--salvage"]):
            code, _, err = case.run(capsys, *command)
            assert code == 1
            assert "rrd reindex" in err
    code, out, _ = case.run(capsys, "reindex")
    assert told(out) == len(kind.lost) + kind.lost_of_b, out
    assert set(before.values()) <= set(contents(case.root).values())
    tell("verify", "doctor")
    # It is remembered by the next one, too, and after the next start.
    assert told(case.run(capsys, "reindex")[1]) == len(kind.lost) + kind.lost_of_b
    asyncio.run(_lived_on(tmp_path))
    case.run(capsys, "verify", "--deep")
    tell("doctor")
    seqs = salvaged(case._replace(lost=frozenset()), capsys, events=EVENTS + 1)
    assert seqs == intact | {EVENTS + 1}


async def _lived_on(folder: Path) -> None:
    """One more life, in which an event comes: its number is not one that was given before."""
    store = LocalStore(layout.objects_dir(str(folder / "data")), OsDisk())
    async with life(folder, store, segment_bytes_max=1600, rollup_block_bytes=500) as now:
        await now.send(line(EVENTS + 1))
    await store.close()
