"""Damaged files and archives: what is intact goes in, what is not is told, and again stores nothing."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from msgspec import structs

from rrd.exchange.files import find_files
from rrd.exchange.foreign import explain, refuse_foreign
from rrd.exchange.intake import ARCHIVE_LEVELS_MAX, Choice, ImportOutcome, run_import
from rrd.progress import Progress
from tests.exchange.exchange_lab import event
from tests.harness import running
from tests.samples import ndjson

Making = Callable[[], bytes]


class Told(Progress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.messages: list[str] = []

    def tell(self, message: str) -> None:
        self.messages.append(message)


def zipped(*files: tuple[str, bytes]) -> bytes:
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files:
                archive.writestr(name, data)
        return buffer.getvalue()


def tarred(*files: tuple[str, bytes]) -> bytes:
    with io.BytesIO() as buffer:
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, data in files:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return buffer.getvalue()


def noisy(number: int) -> bytes:
    """An event that doesn't compress."""
    return event(number, random.Random(number).randbytes(500).hex())


def some(first: int, count: int = 10) -> bytes:
    return ndjson(map(noisy, range(first, first + count)))


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def locked() -> bytes:
    data = bytearray(zipped(("a.ndjson", some(0)), ("b.ndjson", some(20))))
    data[6] |= 1
    data[data.find(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def holding_itself() -> bytes:
    data = some(0)
    for _ in range(ARCHIVE_LEVELS_MAX + 1):
        data = zipped(("inner.zip", data)) if data[:2] == b"PK" else zipped(("a.ndjson", data))
    return data


# Making → events that go in, at least, and words of what is told.
DAMAGED: dict[str, tuple[Making, int, str]] = {
    "gzip, then garbage": (lambda: gzip.compress(some(0)) + b"garbage", 10, "ends before"),
    "gzip cut": (lambda: gzip.compress(some(0))[:-9], 9, "ends before"),
    "zlib cut": (lambda: zlib.compress(some(0))[:-9], 9, "ends before"),
    "zlib, then garbage": (lambda: zlib.compress(some(0)) + b"garbage", 10, "damaged"),
    "zstd, then garbage": (lambda: zstandard.compress(some(0)) + b"garbage", 10, ""),
    "UTF-16 of an odd size": (lambda: some(0).decode().encode("utf-16")[:-1], 9, "UTF-16"),
    "zip: first member": (
        lambda: flipped(zipped(("a.json", some(0)), ("b.json", some(20))), 70),
        10,
        "a.json",
    ),
    "zip: locked member": (locked, 10, "is encrypted"),
    "tar cut": (
        lambda: tarred(("a.ndjson", some(0)), ("b.ndjson", some(20)))[:-9_000],
        14,
        "b.ndjson: it is damaged",
    ),
    "tgz cut": (
        lambda: gzip.compress(tarred(("a.json", some(0)), ("b.json", some(20))))[:-1000],
        14,
        "b.json: it is damaged",
    ),
}
WHOLE: dict[str, tuple[Making, int]] = {
    "zip in a zip": (lambda: zipped(("x/inner.zip", zipped(("a.json", some(0))))), 10),
    "tar in a zip": (lambda: zipped(("inner.tar", tarred(("a.json", some(0))))), 10),
    "zip in a tgz": (lambda: gzip.compress(tarred(("inner.zip", zipped(("a.json", some(0)))))), 10),
    "names that say nothing": (lambda: zipped(("x/recording", some(0)), ("events.txt", some(20))), 20),
    "what macOS leaves": (
        lambda: zipped(("x/", b""), ("x/a", some(0)), ("__MACOSX/x/._a", b"\0\x05"), ("x/.DS_Store", b"\0")),
        10,
    ),
}
FOREIGN: dict[str, tuple[bytes, str]] = {
    "OpenReplay": (b'{"sessionID":"1","projectID":1,"messages":[{"tp":"SetPageLocation"}]}', "OpenReplay"),
    "LogRocket": (b'{"recordingID":"r","events":[{"type":"lr.browser.snapshot","time":1}]}', "LogRocket"),
    "Clarity": (b'{"envelope": ["0.6.1",1,2],"p":["x"]}', "Clarity"),
    "Sentry, with blanks": (
        b'{"event_id": "1", "sent_at": "x"}\n{"type": "replay_event"}\n{"type":"replay_event"}\n',
        "Sentry",
    ),
    "base64 in JSON": (b'{"events":"H4sIAAAAAAAAA8tIzcnJBwCGphA2BQAAAA=="}', "base64"),
    "base64": (b"H4sIAAAAAAAAA8tIzcnJBwCGphA2BQAAAA==\n", "base64"),
}


async def twice(tmp_path: Path, data: bytes) -> tuple[ImportOutcome, list[str]]:
    """Import a file, and again; the second time stores nothing."""
    path = tmp_path / "file"
    path.write_bytes(data)
    told = Told()
    async with running(tmp_path / "data") as daemon:
        daemon.key("ingest", tenant="t")
        config = structs.replace(daemon.config, port=daemon.port)
        choice = Choice(tenant="t")
        first = await run_import(config, list(find_files([str(path)])), choice, told)
        again = await run_import(config, list(find_files([str(path)])), choice, Told())
    assert sum(answer.stored for answer in again.answers.values()) == 0
    assert set(again.answers) == set(first.answers)
    return first, told.messages


def stored(outcome: ImportOutcome) -> int:
    return sum(answer.stored for answer in outcome.answers.values())


@pytest.mark.parametrize("case", DAMAGED)
async def test_what_is_intact_goes_in_and_damage_is_told(tmp_path: Path, case: str) -> None:
    making, count, words = DAMAGED[case]
    outcome, told = await twice(tmp_path, making())
    assert stored(outcome) >= count
    assert outcome.failed
    assert any(words in message for message in told), told


@pytest.mark.parametrize("case", WHOLE)
async def test_archives_of_all_kinds(tmp_path: Path, case: str) -> None:
    making, count = WHOLE[case]
    outcome, _ = await twice(tmp_path, making())
    assert (stored(outcome), outcome.failed) == (count, 0)


async def test_an_archive_that_goes_on_for_ever_is_left(tmp_path: Path) -> None:
    outcome, told = await twice(tmp_path, holding_itself())
    assert (stored(outcome), outcome.failed) == (0, 1)
    assert "inside one another" in told[-1]


@pytest.mark.parametrize("case", FOREIGN)
def test_a_refusal_names_the_format(case: str) -> None:
    head, name = FOREIGN[case]
    refuse_foreign(head)  # Only once it was read in vain.
    assert name in explain(head)


async def test_sources_and_snapshots_of_posthog_in_one_answer_are_taken(tmp_path: Path) -> None:
    events = [json.loads(noisy(number)) for number in range(3)]
    outcome, _ = await twice(
        tmp_path, json.dumps({"sources": [{"source": "blob"}], "snapshots": events}).encode()
    )
    assert (stored(outcome), outcome.failed) == (3, 0)
