"""Stray entries: whatever lies in rrd's folders, it is reported once, left alone, and never fatal."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rrd import layout
from rrd.care.survey import Survey
from rrd.cli import main
from rrd.disk.disk import OsDisk
from rrd.objects.local import LocalStore
from rrd.shelf.shelf import Shelf
from tests.care.care_lab import A, Life, delete_index, life
from tests.samples import event

NAME = f"{A}.000009{layout.SUFFIX}"
PLACE = f"sealed/t/{A[-2:]}"


def a_file(path: Path) -> None:
    path.write_bytes(b"stray")


def an_empty_file(path: Path) -> None:
    path.touch()


def a_directory(path: Path) -> None:
    path.mkdir()
    (path / "inner").write_bytes(b"stray")


def a_dangling_link(path: Path) -> None:
    path.symlink_to("/nonexistent/place")


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


STRAYS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "file in sealed": ("sealed/stray", a_file),
    "file named as a tenant": ("sealed/tenant", a_file),
    "lost+found": ("sealed/lost+found", a_directory),
    "link in sealed": ("sealed/other", a_dangling_link),
    "file in a tenant": ("sealed/t/notes.txt", a_file),
    "file named as a folder": ("sealed/t/zz", a_file),
    "folder of no ids": ("sealed/t/backup", a_directory),
    "hidden file": (f"{PLACE}/.{NAME}.swp", a_file),
    "editor's copy": (f"{PLACE}/{NAME}~", a_file),
    "too few digits": (f"{PLACE}/{A}.2{layout.SUFFIX}", a_file),
    "number 0": (f"{PLACE}/{A}.000000{layout.SUFFIX}", a_file),
    "digits of another script": (f"{PLACE}/{A}.٠٠٠٠٠٢{layout.SUFFIX}", a_file),
    "another recording's folder": (f"{PLACE}/{A[:-2]}zz.000001{layout.SUFFIX}", a_file),
    "directory with a segment's name": (f"{PLACE}/{NAME}", a_directory),
    "dangling link with a segment's name": (f"{PLACE}/{NAME}", a_dangling_link),
    "pipe with a segment's name": (f"{PLACE}/{NAME}", a_pipe),
    "file in active": ("active/stray", a_file),
    "directory in active": (f"active/t.{NAME}", a_directory),
    "dangling link in active": (f"active/t.{NAME}", a_dangling_link),
    "unpadded number in active": (f"active/t.{A}.2{layout.SUFFIX}", a_file),
    "file in torn": ("torn/stray", a_file),
    "directory in torn": ("torn/stray", a_directory),
    "file in rolling": ("rolling/stray.object", a_file),
    "directory in rolling": (f"rolling/t.{A}.000001.object", a_directory),
}


async def _filled(now: Life) -> None:
    await now.send(event(1), event(2))
    await now.roll_up(evict=True)
    await now.send(event(3), event(4))
    await now.rest()
    await now.send(event(5))


def lived(folder: Path, *, is_first: bool = False) -> str:
    """One life on the local store. Return all that can be asked of it."""
    return asyncio.run(_lived(folder, is_first=is_first))


async def _lived(folder: Path, *, is_first: bool) -> str:
    store = LocalStore(layout.objects_dir(str(folder / "data")), OsDisk())
    try:
        async with life(folder, store) as now:
            if is_first:
                await _filled(now)
            return str(await now.answers())
    finally:
        await store.close()


@pytest.mark.table
@pytest.mark.parametrize("kind", STRAYS)
def test_a_stray_entry_is_reported_once_left_alone_and_never_fatal(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = lived(tmp_path, is_first=True)
    place, make = STRAYS[kind]
    path = tmp_path / "data" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    make(path)
    capsys.readouterr()
    flags = ("--data-dir", str(tmp_path / "data"))
    assert main(["verify", *flags]) == 1
    told = capsys.readouterr().out
    assert told.count("unexpected-entry") == 1
    assert told.splitlines()[-1].endswith(": 1 difference")
    # As it is left by each: a start, a rebuild at start, a reindex.
    assert lived(tmp_path) == before
    delete_index(tmp_path)
    assert lived(tmp_path) == before
    assert main(["reindex", *flags]) == 0
    assert os.path.lexists(path)
    if path.is_dir():
        assert (path / "inner").exists()


async def test_lost_and_found_in_the_object_store_is_passed_over(tmp_path: Path) -> None:
    """A store that is a disk of its own has one, which root alone may list."""
    root = tmp_path / "objects"
    (root / "lost+found").mkdir(parents=True)
    (root / "lost+found" / "inner").touch()
    store = LocalStore(str(root), OsDisk())
    try:
        assert [info async for info in store.list()] == []
    finally:
        await store.close()


def test_a_copy_in_both_places_goes_only_if_it_is_the_same(tmp_path: Path) -> None:
    disk = OsDisk()
    active, sealed = tmp_path / f"active/t.{NAME}", tmp_path / PLACE / NAME
    for path in (active, sealed):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"the same")
    Survey(str(tmp_path), disk).list_all()
    assert not active.exists()
    active.write_bytes(b"something else")
    Survey(str(tmp_path), disk).list_all()
    assert active.exists()
    assert sealed.exists()


def test_a_file_in_the_place_of_a_segment_to_come_is_displaced_and_not_destroyed(tmp_path: Path) -> None:
    disk = OsDisk()
    name = layout.SegmentName("t", A, 9)
    active, sealed = tmp_path / f"active/t.{NAME}", tmp_path / PLACE / NAME
    for path, data in ((active, b"the segment"), (sealed, b"put there by hand")):
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    Shelf(disk, str(tmp_path)).move_to_sealed([name])
    assert sealed.read_bytes() == b"the segment"
    assert Path(f"{sealed}.displaced").read_bytes() == b"put there by hand"
    # What a power cut left in both places is one file still.
    active.write_bytes(b"the segment")
    Shelf(disk, str(tmp_path)).move_to_sealed([name])
    assert sorted(path.name for path in sealed.parent.iterdir()) == [NAME, f"{NAME}.displaced"]
