"""A backup of a directory whose own databases are damaged says which, and leaves them as they are."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rrd.cli import main
from tests.harness import running


@pytest.mark.parametrize("name", ["keys.sqlite", "tombstones.sqlite"])
@pytest.mark.parametrize("data", [b"no database" * 500, None], ids=["garbage", "cut"])
async def test_a_damaged_database_is_named(
    tmp_path: Path, name: str, data: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(tmp_path / "data") as daemon:
        daemon.key()
    path = tmp_path / "data" / name
    for suffix in ("-wal", "-shm"):
        path.with_name(name + suffix).unlink(missing_ok=True)
    path.write_bytes(data or path.read_bytes()[:4500])
    before = path.read_bytes()
    argv = ["backup", "--quiet", "--data-dir", str(tmp_path / "data"), str(tmp_path / "copy")]
    told = await asyncio.to_thread(main, argv)
    assert told == 1
    err = capsys.readouterr().err
    assert str(path) in err
    assert "Traceback" not in err
    assert path.read_bytes() == before
