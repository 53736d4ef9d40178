"""Row 9: it runs, it compares what it says, and it looks at what it is given."""

from __future__ import annotations

import os
import uuid

import msgspec
import pytest
import zstandard

import bench.rows.reads as reads
from bench.corpus import long_recording
from bench.fetch import Answer
from bench.floors import nginx
from bench.result import Options
from bench.stage import Lap

RECORDING = str(uuid.uuid4())
LINES = long_recording(1_500_000)


@pytest.mark.slow
def test_it_runs() -> None:
    if nginx.find() is None:
        if os.environ.get("TESTS_REQUIRE_TOOLS") == "1":
            pytest.fail("TESTS_REQUIRE_TOOLS=1, but nginx isn't installed")
        pytest.skip("nginx isn't installed")
    row = reads.measure(Options("smoke"))
    assert row.number == 9
    bars = {check.what: check for check in row.checks if check.bar is not None}
    assert {(name.partition(": ")[2], check.bar) for name, check in bars.items()} == {
        ("JSON, from segments", 0.25),
        ("JSON, from an object", 0.25),
        ("stored as it is, from segments", 0.50),
        ("stored as it is, from an object", 0.50),
    }
    assert {
        f"until the first byte: {form.name}, {place}" for form in reads.FORMS for place in reads._PLACES
    } <= {check.what for check in row.checks}
    assert all(found.median > 0 for found in row.rates)


def test_without_nginx_there_is_a_note_and_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "find", lambda: None)
    row = reads.measure(Options("smoke"))
    assert (row.number, row.checks) == (9, [])
    assert "nginx" in row.notes[0]


def answered(form: reads.Form) -> Answer:
    headers = {"content-type": f"{form.media_type}; charset=utf-8"}
    if form.encoding != "identity":
        headers["content-encoding"] = form.encoding
    return Answer(200, headers, 0, 0.0)


def numbered(lines: list[bytes]) -> list[bytes]:
    return [
        line[:-1] + b',"sequenceId":%d,"recordingId":"%b"}' % (number, RECORDING.encode())
        for number, line in enumerate(lines, 1)
    ]


def body_of(form: reads.Form, lines: list[bytes]) -> bytes:
    if form is reads.JSON:
        return b"[" + b",".join(numbered(lines)) + b"]"
    found = lines if form is reads.STORED else numbered(lines)
    frames = (b"".join(line + b"\n" for line in part) for part in (found[:5], found[5:]))
    return b"".join(zstandard.ZstdCompressor().compress(frame) for frame in frames)


@pytest.mark.parametrize("form", reads.FORMS, ids=lambda form: form.name)
def test_an_answer_must_hold_every_event_in_order(form: reads.Form) -> None:
    answer = answered(form)
    assert reads._is_whole(form, answer, body_of(form, LINES), RECORDING, LINES)
    swapped = [*LINES[:3], LINES[-1], *LINES[4:-1], LINES[3]]
    for wrong in (LINES[1:], LINES[:-1], swapped, [*LINES, LINES[-1]]):
        assert not reads._is_whole(form, answer, body_of(form, wrong), RECORDING, LINES)


@pytest.mark.parametrize("form", reads.FORMS, ids=lambda form: form.name)
def test_an_answer_in_another_form_is_noticed(form: reads.Form) -> None:
    body, answer = body_of(form, LINES), answered(form)
    assert not reads._is_whole(form, answer._replace(status=206), body, RECORDING, LINES)
    for name, text in (("content-type", "text/plain"), ("content-encoding", "br")):
        other = answer._replace(headers={**answer.headers, name: text})
        assert not reads._is_whole(form, other, body, RECORDING, LINES)


def test_ids_in_an_answer_must_be_the_recordings() -> None:
    body = body_of(reads.JSON, LINES)
    assert not reads._is_whole(reads.JSON, answered(reads.JSON), body, str(uuid.uuid4()), LINES)
    assert len(msgspec.json.decode(body)) == len(LINES)


def test_a_crowd_on_the_cores_is_told() -> None:
    alone = Lap(wall=[90.0, 95.0], busy=[100.0, 100.0], client=[0.4, 0.3])
    crowded = Lap(wall=[90.0, 10.0], busy=[100.0, 100.0], client=[0.4, 0.1])
    assert reads._crowd({"alone": alone}) == []
    (note,) = reads._crowd({"alone": alone, "crowded": crowded})
    assert "20%" in note
    assert "crowded" in note
