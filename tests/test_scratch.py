"""Where tests put their files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests import scratch


def test_a_place_fits_that_is_there_and_has_room(tmp_path: Path) -> None:
    assert scratch.fits(tmp_path, free_bytes_min=1)
    assert not scratch.fits(tmp_path, free_bytes_min=1 << 60)
    assert not scratch.fits(tmp_path / "missing", free_bytes_min=1)


def test_a_place_that_was_chosen_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    scratch.use_memory()
    assert os.environ["TMPDIR"] == str(tmp_path)


def test_where_memory_is_chosen_all_temporary_files_lie_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", tempfile.tempdir)  # Put back in the end.
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("TMPDIR")
    monkeypatch.setattr(scratch, "fits", lambda place: place == scratch.MEMORY)
    scratch.use_memory()
    assert os.environ["TMPDIR"] == str(scratch.MEMORY)
    assert tempfile.gettempdir() == str(scratch.MEMORY)


@pytest.mark.disk
def test_what_needs_a_disk_gets_one(tmp_path: Path) -> None:
    assert tmp_path.stat().st_dev == scratch.on_disk().stat().st_dev
    assert list(tmp_path.iterdir()) == []
