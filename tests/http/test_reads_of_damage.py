"""Reading recordings that are damaged or incomplete: a clear refusal, or every intact event, marked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from rrd.disk.disk import OsDisk
from rrd.segment.scan import scan
from tests.harness import LocalDaemon, running
from tests.http.api import JSON, NDJSON, Api, visiting
from tests.samples import ndjson, new_id, some_events


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def blocks_of(path: Path) -> list[tuple[int, int]]:
    """First sequenceId and offset of the payload of each block."""
    return [(header.first_seq, header.data_offset) for header in scan(OsDisk(), str(path)).blocks]


def _delete(path: Path) -> set[int]:
    path.unlink()
    return set(range(1, 31))


def _directory(path: Path) -> set[int]:
    path.unlink()
    path.mkdir()
    return set(range(1, 31))


def _first_block(path: Path) -> set[int]:
    flip(path, blocks_of(path)[0][1])
    return set(range(1, 11))


def _middle_block(path: Path) -> set[int]:
    flip(path, blocks_of(path)[1][1])
    return set(range(11, 21))


def _header(path: Path) -> set[int]:
    flip(path, blocks_of(path)[1][1] - 60)
    return set(range(11, 21))


def _short(path: Path) -> set[int]:
    path.write_bytes(path.read_bytes()[:-100])
    return set(range(21, 31))


def _empty(path: Path) -> set[int]:
    path.write_bytes(b"")
    return set(range(1, 31))


def _identity(path: Path) -> set[int]:
    flip(path, 30)
    return set()


DAMAGE: dict[str, Callable[[Path], set[int]]] = {
    "deleted": _delete,
    "replaced by a directory": _directory,
    "byte of the first block": _first_block,
    "byte of a middle block": _middle_block,
    "byte of a header": _header,
    "100 bytes short": _short,
    "empty": _empty,
    "byte of the identity": _identity,
}


async def filled(daemon: LocalDaemon, api: Api) -> tuple[str, Path, list[bytes]]:
    """A recording of three blocks with ten events each, and its file."""
    recording_id = new_id()
    lines = some_events(30, text="x" * 50)
    for start in (0, 10, 20):
        assert (await api.post(recording_id, ndjson(lines[start : start + 10]))).status == 200
    [path] = daemon.segments("active")
    return recording_id, path, lines


@pytest.mark.parametrize("kind", DAMAGE)
async def test_a_damaged_recording_is_refused_with_a_count_or_salvaged(
    daemon: LocalDaemon, api: Api, logged: list[str], kind: str
) -> None:
    recording_id, path, lines = await filled(daemon, api)
    missing = DAMAGE[kind](path)
    url = f"/recordings/{recording_id}/events"
    logged.clear()
    answer = await api.get(url, headers={"Accept": JSON})
    assert answer.status == 500
    error = answer.error
    assert error["code"] == "recording_damaged"
    assert (error["events"], error["missingEvents"]) == (30, len(missing))
    assert "salvage=true" in error["message"]
    assert str(path.parent) not in error["message"]
    told = [line for line in logged if line.startswith("recording_damaged")]
    assert len(told) == 1
    assert path.name in told[0]
    assert "rrd doctor" in told[0]
    answer = await api.get(f"{url}?salvage=true", headers={"Accept": NDJSON})
    assert answer.status == 200
    assert answer.headers["Rrd-Missing-Events"] == str(len(missing))
    assert "ETag" not in answer.headers
    seqs = [json.loads(line)["sequenceId"] for line in answer.body.splitlines()]
    intact = [seq for seq in range(1, 31) if seq not in missing]
    assert seqs == intact
    stored = await api.get(f"{url}?salvage=true&form=stored", headers={"Accept-Encoding": "zstd"})
    assert stored.status == 200
    assert zstandard_lines(stored.body) == [lines[seq - 1] for seq in intact]
    assert "Traceback" not in "\n".join(logged)


def zstandard_lines(body: bytes) -> list[bytes]:
    reader = zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True)
    return reader.read().splitlines()


async def test_the_setting_salvages_without_being_asked(tmp_path: Path) -> None:
    async with running(tmp_path, reads_of_damage="salvage") as daemon, visiting(daemon) as api:
        recording_id, path, _ = await filled(daemon, api)
        url = f"/recordings/{recording_id}/events"
        whole = await api.get(url)
        assert whole.headers["Rrd-Missing-Events"] == "0"
        assert "ETag" in whole.headers
        missing = _middle_block(path)
        answer = await api.get(url)
        assert answer.status == 200
        assert answer.headers["Rrd-Missing-Events"] == str(len(missing))
        assert len(answer.json()) == 20
        assert (await api.get(f"{url}?salvage=false")).status == 500
        assert (await api.get(f"{url}?salvage=nonsense")).status == 400
