"""The corpus: what was recorded is unharmed, what is made of it is as real, and another can be recorded."""

from __future__ import annotations

import json
import lzma
import os
import shutil
import subprocess
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.corpus import (
    NAMES,
    copies,
    large_snapshot,
    lines_of,
    long_recording,
    many_recordings,
    recordings,
    small_events,
)
from bench.corpus.scaled import ids_of
from tests.client.client_lab import install_packages

pytestmark = pytest.mark.table

CORPUS = Path(__file__).parents[2] / "bench" / "corpus"
META, FULL_SNAPSHOT, INCREMENT = 4, 2, 3


def without_timestamp(line: bytes) -> dict[str, Any]:
    event: dict[str, Any] = msgspec.json.decode(line)
    del event["timestamp"]
    return event


def timestamps(lines: list[bytes]) -> list[int]:
    return [msgspec.json.decode(line)["timestamp"] for line in lines]


def depth(node: dict[str, Any]) -> int:
    return 1 + max((depth(child) for child in node.get("childNodes", ())), default=0)


def test_recordings_are_those_that_the_readme_names() -> None:
    readme = (CORPUS / "README.md").read_text()
    for name, lines in recordings().items():
        size = sum(len(line) + 1 for line in lines)
        row = f"| {len(lines):,} | {size:,} | {max(map(len, lines)):,} |"
        assert f"| `{name}.ndjson.xz` |" in readme
        assert row in readme


def test_small_events_are_all_below_a_thousand_bytes_in_order() -> None:
    every = [line for name in NAMES for line in lines_of(name)]
    assert small_events() == [line for line in every if len(line) < 1000]


def test_copies_are_the_recordings_with_later_timestamps() -> None:
    lines = copies(2)
    once = [line for name in NAMES for line in lines_of(name)]
    assert [len(line) for line in lines] == [len(line) for line in once] * 2
    assert [without_timestamp(line) for line in lines] == [without_timestamp(line) for line in once] * 2
    # As text, too: each ends in 13 digits and a brace, and nothing before them may change its form.
    assert [line[:-14] for line in lines] == [line[:-14] for line in once] * 2


def test_copies_go_on_in_time() -> None:
    lines = copies(2)
    found = timestamps(lines)
    assert found == sorted(found)
    assert len(set(lines)) == len(lines), "two copies of an event are the same line"


def test_time_passes_within_a_copy_as_it_was_recorded() -> None:
    found = timestamps(copies(1))
    first = lines_of(NAMES[0])
    assert found[: len(first)] == timestamps(first)
    last = timestamps(lines_of(NAMES[-1]))
    tail = found[-len(last) :]
    assert [time - tail[0] for time in tail] == [time - last[0] for time in last]


@pytest.mark.parametrize("bytes_min", [1, 1_000_000, 20_000_000])
def test_a_long_recording_has_its_size_and_not_an_event_more(bytes_min: int) -> None:
    lines = long_recording(bytes_min)
    size = sum(len(line) + 1 for line in lines)
    assert size - len(lines[-1]) - 1 < bytes_min <= size
    assert lines == copies(3)[: len(lines)]


def test_many_recordings_differ_in_id_and_time() -> None:
    found = list(many_recordings(6))
    assert len({str(uuid.UUID(recording_id)) for recording_id, _ in found}) == 6
    starts = [timestamps(lines[:1])[0] for _, lines in found]
    assert [start - starts[0] for start in starts] == [0, 1000, 2000, 3000, 4000, 5000]
    assert [len(lines) for _, lines in found] == [
        len(lines_of(NAMES[number % len(NAMES)])) for number in range(6)
    ]
    assert [recording_id for recording_id, _ in many_recordings(6)] == [
        recording_id for recording_id, _ in found
    ]


def test_many_recordings_can_be_short_and_still_begin_with_a_page() -> None:
    for _, lines in many_recordings(len(NAMES), bytes_max=100_000):
        assert [msgspec.json.decode(line)["type"] for line in lines[:2]] == [META, FULL_SNAPSHOT]
        assert len(lines) == 2 or sum(len(line) + 1 for line in lines) <= 100_000
    assert max(len(lines) for _, lines in many_recordings(len(NAMES), bytes_max=100_000)) > 2


def test_a_large_snapshot_is_one_event_of_at_least_its_size() -> None:
    line = large_snapshot(7_000_000)
    assert 7_000_000 <= len(line) < 10_500_000
    assert b"\n" not in line
    event = json.loads(line)
    assert list(event) == ["type", "data", "timestamp"]
    assert event["type"] == FULL_SNAPSHOT


def test_ids_in_a_large_snapshot_are_unique() -> None:
    ids = ids_of(json.loads(large_snapshot(7_000_000))["data"]["node"])
    assert len(set(ids)) == len(ids) > 2 * 38_104
    assert min(ids) > 0


def test_a_large_snapshot_is_made_of_what_was_in_the_page() -> None:
    line = large_snapshot(7_000_000)
    source = max((found for lines in recordings().values() for found in lines), key=len)
    assert large_snapshot(0) == source
    once, many = (Counter(texts(json.loads(found)["data"]["node"])) for found in (source, line))
    assert set(once) == set(many)
    # The head is there once, and what is in the body three times.
    assert {many[text] / once[text] for text in once} >= {1, 3}
    assert depth(json.loads(line)["data"]["node"]) == depth(json.loads(source)["data"]["node"]) + 1


def texts(node: dict[str, Any]) -> Iterator[str]:
    if "textContent" in node:
        yield node["textContent"]
    for child in node.get("childNodes", ()):
        yield from texts(child)


def unavailable(reason: str) -> None:
    """Skip, or fail where the caller of pytest insists that these tests run."""
    if os.environ.get("TESTS_REQUIRE_TOOLS") == "1":
        pytest.fail(f"TESTS_REQUIRE_TOOLS=1, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="module")
def recorder() -> list[str]:
    """The command that records, its packages installed."""
    if missing := [name for name in ("chromium", "node", "npm", "xz") if shutil.which(name) is None]:
        unavailable(f"not installed: {', '.join(missing)}")
    try:
        install_packages(CORPUS)
    except RuntimeError as error:
        unavailable(str(error))
    return ["node", str(CORPUS / "record.mjs"), "--chromium", str(shutil.which("chromium"))]


@pytest.mark.slow
@pytest.mark.client
def test_a_page_is_recorded(recorder: list[str], tmp_path: Path) -> None:
    target = tmp_path / "shop.ndjson.xz"
    # Not in pytest's own directory: Chromium makes a socket there, whose path may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="rrd-chromium-", ignore_cleanup_errors=True) as scratch:
        done = subprocess.run(
            [*recorder, str(target), "--seconds", "2"],
            env={**os.environ, "TMPDIR": scratch},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    body = lzma.decompress(target.read_bytes())
    lines = body.split(b"\n")
    assert lines.pop() == b""
    assert (said["events"], said["bytes"]) == (len(lines), len(body))
    assert said["acts"]["failed"] == 0
    events = [json.loads(line) for line in lines]
    kinds = Counter(event["type"] for event in events)
    assert kinds[META] == kinds[FULL_SNAPSHOT] == 1
    assert kinds[INCREMENT] > 5
    (snapshot,) = (event for event in events if event["type"] == FULL_SNAPSHOT)
    assert "Plants by post" in set(texts(snapshot["data"]["node"]))
    assert len(ids_of(snapshot["data"]["node"])) > 500
    found = [event["timestamp"] for event in events]
    assert max(found) - min(found) < 60_000


@pytest.mark.client
@pytest.mark.parametrize(
    "arguments", [[], ["shop.json"], ["shop.ndjson.xz", "--seconds", "0"], ["a.ndjson.xz", "b.ndjson.xz"]]
)
def test_what_is_no_order_to_record_is_refused(recorder: list[str], arguments: list[str]) -> None:
    done = subprocess.run([*recorder, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")
