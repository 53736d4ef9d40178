"""The index lost, a daemon started beside a directory that was not the right one, and all of it put right."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rrd.errors import WrongStore
from rrd.objects.identity import MARKER_KEY
from tests.harness import running
from tests.http.api import visiting
from tests.proof.test_bucket_round_trip import SOON, lose_index, nothing_local
from tests.samples import by_time, ndjson, new_id

_ROOT = Path(__file__).parents[2]
_SOON: dict[str, Any] = SOON
LINES = [b'{"type":3,"timestamp":%d,"data":{"n":%d}}' % (number, number) for number in range(1, 301)]
LATE = b'{"type":3,"timestamp":9999,"data":{}}'


@pytest.mark.slow
@pytest.mark.parametrize("is_late_rolled_up", [True, False], ids=["late in an object", "late in a segment"])
async def test_every_event_is_there_and_readable_again(tmp_path: Path, *, is_late_rolled_up: bool) -> None:
    data, right, wrong = (tmp_path / name for name in ("data", "right", "wrong"))
    recording_id = new_id()

    async def rrd(*arguments: str) -> str:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "rrd", *arguments, "--data-dir", str(data)],
            env={**os.environ, "RRD_OBJECTS_DIR": str(right), "RRD_CONFIG": "", "PYTHONPATH": str(_ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    async with running(data, objects_dir=str(right), **_SOON) as daemon, visiting(daemon) as api:
        assert (await api.post(recording_id, ndjson(LINES))).status == 200
        await nothing_local(daemon)
    (kept,) = right.rglob("*.ndjson.zst")
    before = kept.read_bytes()
    lose_index(data)
    with pytest.raises(WrongStore, match="adopt-store"):
        async with running(data, objects_dir=str(wrong), **_SOON):
            pass
    assert not wrong.exists()
    # As a version without identities left it: that one started all the same.
    (data / "identity").unlink()
    (right / MARKER_KEY).unlink()
    settings = _SOON if is_late_rolled_up else _SOON | {"seal_idle_s": 1000}
    async with running(data, objects_dir=str(wrong), **settings) as daemon, visiting(daemon) as api:
        assert (await api.post(recording_id, ndjson([LATE]))).status == 200
        if is_late_rolled_up:
            await nothing_local(daemon)
    # The setting is put right, and no command changes anything before that is said.
    assert "rrd adopt-store" in await rrd("verify", "--mend")
    assert kept.read_bytes() == before
    await rrd("adopt-store")
    if is_late_rolled_up:
        told = await rrd("verify", "--mend")
        assert "object-missing" in told
        assert "rrd erase" not in told
        # What was put elsewhere goes where it belongs.
        (late,) = wrong.rglob("*.ndjson.zst")
        target = right / late.relative_to(wrong)
        target.parent.mkdir(parents=True, exist_ok=True)
        late.rename(target)
    for step in (("verify", "--mend"), ("reindex",), ("verify", "--deep", "--mend")):
        told = await rrd(*step)
        assert kept.read_bytes() == before
    assert "it holds 300 events" in told or "it holds 1 events" in told
    async with running(data, objects_dir=str(right), **_SOON) as daemon, visiting(daemon) as api:
        key = daemon.key("all")
        for path in list(right.rglob("*.ndjson.zst")):
            await rrd("import", str(path), "--recording", recording_id, "--url", daemon.url, "--key", key)
        assert await api.events(recording_id) == by_time([*LINES, LATE])
