"""Whose events are, where objects stand in objects: unrelated sessions stay apart, chunks and rows do not."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from rrd.config import Config
from rrd.exchange.reading import Input, file_limits_of, read_pieces
from rrd.exchange.spool import BodySpool
from rrd.ids import parse_recording_id
from tests.exchange.exchange_lab import event
from tests.samples import new_id

LIMITS = file_limits_of(Config())
parse_uuid = partial(parse_recording_id, form="uuid")
parse_any = partial(parse_recording_id, form="any")

A, B, OTHER = new_id(), new_id(), new_id()


def events(*numbers: int) -> list[Any]:
    return [json.loads(event(number)) for number in numbers]


def one(session: str, name: str = "id", **more: Any) -> dict[str, Any]:
    return {name: session, **more, "events": events(1, 2) if session == A else events(3, 4, 5)}


BOTH = {A: 2, B: 3}
LONG = "x" * 300_000
"""So that an object's members come in one after another."""

CASES: dict[str, tuple[Any, dict[str, int]]] = {
    "sessions in an array": ({"sessions": [one(A), one(B)]}, BOTH),
    "an array alone": ([one(A), one(B)], BOTH),
    "any name": ({"items": [one(A), one(B)]}, BOTH),
    "long ones": ({"sessions": [{"events": events(1, 2), "pad": LONG, "id": A}, one(B)]}, BOTH),
    "below an id of something else": ({"id": OTHER, "sessions": [one(A), one(B)]}, BOTH),
    "told by their own name": ({"id": OTHER, "x": [one(A, "sessionId"), one(B, "session_id")]}, BOTH),
    "objects of objects": ({"a": one(A), "b": one(B)}, BOTH),
    "sessions by name": ({"id": OTHER, "sessions": {"a": one(A), "b": one(B)}}, BOTH),
    "edges and nodes": ({"data": {"sessions": {"edges": [{"node": one(A)}, {"node": one(B)}]}}}, BOTH),
    "session objects": ([{"session": {"id": A}, "events": events(1, 2)}, {**one(B)}], BOTH),
    "chunks with ids": ({"id": A, "chunks": [one(B), one(OTHER)]}, {A: 6}),
    "chunks without": ({"sessionId": A, "chunks": [{"n": 1, "events": events(1)}, events(2)]}, {A: 2}),
    "the id behind": ({"chunks": [{"n": 1, "events": events(1)}, {"events": events(2)}], "id": A}, {A: 2}),
    "rows": ([{"id": new_id(), "session_id": A, "event": one} for one in events(1, 2)], {A: 2}),
    "rows of strings": (
        {"recordingId": A, "rows": [{"id": new_id(), "data": event(number).decode()} for number in (1, 2)]},
        {A: 2},
    ),
}


def recordings(data: bytes, *, parse_id: Any) -> dict[str, int]:
    with BodySpool() as spool:
        chunks = [data[at : at + 70_000] for at in range(0, len(data), 70_000)]
        for piece in read_pieces(chunks, Input("x.json", parse_id), LIMITS):
            assert not piece.batch.rejected
            spool.add(piece.owner, piece.batch)
        return {
            bundle.recording_id: sum(spool.lines(frame).count(b"\n") for frame in bundle.frames)
            for bundle in spool.bundles(parse_id)
        }


@pytest.mark.parametrize("parse_id", [parse_uuid, parse_any])
@pytest.mark.parametrize("case", CASES)
def test_objects_in_objects(case: str, parse_id: Any) -> None:
    document, expected = CASES[case]
    assert recordings(json.dumps(document).encode(), parse_id=parse_id) == expected


def test_rows_whose_ids_are_their_own_are_one_recording() -> None:
    rows = [{"id": new_id(), "event": one} for one in events(1, 2, 3)]
    found = recordings(json.dumps(rows).encode(), parse_id=parse_uuid)
    assert list(found.values()) == [3]
    assert not set(found) & {row["id"] for row in rows}


@pytest.mark.parametrize("name", ["sessionId", "session_id", "recordingId", "recording_id", "replayId"])
@pytest.mark.parametrize("form", ["lines", "array", "wrapper"])
def test_events_that_name_their_sessions_are_dealt_out(name: str, form: str) -> None:
    mixed = [{**one, name: (A, B)[at % 2]} for at, one in enumerate(events(*range(5)))]
    data = {
        "lines": "\n".join(map(json.dumps, mixed)),
        "array": json.dumps(mixed),
        "wrapper": json.dumps({"events": mixed}),
    }[form]
    assert recordings(data.encode(), parse_id=parse_uuid) == {A: 3, B: 2}


def test_windows_of_a_session_that_events_name_stay_apart() -> None:
    mixed = [{**one, "sessionId": A, "windowId": "wx"[at % 2]} for at, one in enumerate(events(*range(5)))]
    found = recordings("\n".join(map(json.dumps, mixed)).encode(), parse_id=parse_uuid)
    assert sorted(found.values()) == [2, 3]
    assert found[A] == 3
