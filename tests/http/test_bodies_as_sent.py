"""Bodies whose headers say nothing, or something wrong: what is stored is what was meant."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.http.api import COMPRESS, JSON, NDJSON, Api
from tests.samples import an_event, meta_event, new_id
from tests.wire.packer import pack

pytestmark = pytest.mark.table

BOM = b"\xef\xbb\xbf"
ONE, TWO = an_event(1, n=1), an_event(2, n=2)
ARRAY = b"[" + ONE + b"," + TWO + b"]"
LINES = ONE + b"\n" + TWO

BODIES = {
    "lines": LINES,
    "lines ended by CRLF": ONE + b"\r\n" + TWO + b"\r\n",
    "lines ended by commas": ONE + b",\n" + TWO + b",\n",
    "array": ARRAY,
    "array of arrays": b"[" + ARRAY + b",[]]",
    "array on lines": b"[\n" + ONE + b",\n" + TWO + b"\n]\n",
    "wrapper": b'{"events":' + ARRAY + b"}",
    "wrapper with a type": b'{"type":"batch","events":' + ARRAY + b"}",
    "wrapper on lines": b'{\n  "type": "batch",\n  "events": [\n' + ONE + b",\n" + TWO + b"\n]\n}",
    "packed": b"[" + pack(ONE) + b",\n" + pack(TWO) + b"]",
}
TYPES = [
    None,
    "text/plain",
    "text/plain;charset=UTF-8",
    "application/x-www-form-urlencoded",
    "application/octet-stream",
    JSON,
]
GZIP, ZSTD, BR = COMPRESS["gzip"], COMPRESS["zstd"], COMPRESS["br"]
PACKING: dict[str, tuple[str | None, Callable[[bytes], bytes]]] = {
    "nothing": (None, bytes),
    "gzip": ("gzip", GZIP),
    "gzip, and no header": (None, GZIP),
    "zstd, and no header": (None, ZSTD),
    "gzip under the name of zstd": ("zstd", GZIP),
    "header gzip, unpacked on the way": ("gzip", bytes),
    "header br, unpacked on the way": ("br", bytes),
    "header zstd, unpacked on the way": ("zstd", bytes),
    "gzip twice, named once": ("gzip", lambda body: GZIP(GZIP(body))),
    "gzip twice, named twice": ("gzip, gzip", lambda body: GZIP(GZIP(body))),
    "gzip in br": ("gzip, br", lambda body: BR(GZIP(body))),
    "identity named, too": ("identity, gzip", GZIP),
    "a character set as encoding": ("utf-8", bytes),
    "a character set as encoding, packed": ("UTF-8", GZIP),
    "none": ("none", bytes),
}


@pytest.mark.table
@pytest.mark.parametrize("packing", PACKING)
@pytest.mark.parametrize("kind", TYPES)
async def test_bodies_are_taken_for_what_they_are(api: Api, kind: str | None, packing: str) -> None:
    encoding, pack_up = PACKING[packing]
    headers = {} if kind is None else {"Content-Type": kind}
    if encoding is not None:
        headers["Content-Encoding"] = encoding
    for name, body in BODIES.items():
        for text in (body, BOM + body):
            recording_id = new_id()
            path = f"/recordings/{recording_id}/ingest"
            reply = await api.request("POST", path, body=pack_up(text), headers=headers)
            assert reply.status == 200, (name, reply.body)
            assert (reply.json()["successful_rows"], reply.json()["quarantined_rows"]) == (2, 0), name
            assert await api.events(recording_id) == [ONE, TWO], name


@pytest.mark.parametrize(
    "kind", ["*/*", "text/json", "application/vnd.api+json", "application/gzip", "application/zstd"]
)
async def test_types_that_are_near_enough_are_taken(api: Api, kind: str) -> None:
    for pack_up in (bytes, GZIP, ZSTD):
        for name, body in BODIES.items():
            recording_id = new_id()
            reply = await api.post(recording_id, pack_up(body), kind=kind)
            assert (reply.status, reply.json()["successful_rows"]) == (200, 2), name


@pytest.mark.parametrize("path", ["", "/ingest", "/events", "/collect", "/recordings", "/recordings/events"])
async def test_a_path_without_an_id_takes_it_from_the_query(api: Api, path: str) -> None:
    recording_id = new_id()
    reply = await api.request("POST", f"{path or '/'}?recordingId={recording_id}", body=LINES)
    assert (reply.status, reply.json()["successful_rows"]) == (200, 2)
    socket = await api.socket(recording_id, path=f"{path}/ws", recordingId=recording_id)
    await socket.send_text(ONE)
    assert (await socket.finish()).code == 1000


@pytest.mark.parametrize("named", [True, False], ids=["in the path", "in the metadata"])
@pytest.mark.parametrize("how", ["text", "binary", "gzip", "gzip, declared", "declared, not packed"])
async def test_messages_are_taken_for_what_they_are(api: Api, how: str, named: bool) -> None:
    for name, body in BODIES.items():
        for text in (body, BOM + body):
            recording_id = new_id()
            query: dict[str, Any] = {"contentEncoding": "gzip"} if "declared" in how else {}
            if named:
                socket = await api.socket(recording_id, **query)
            else:
                # The first message says which recording it is, in the form of the others.
                meta = meta_event(0, recordingId=recording_id)
                text = text.replace(ONE, meta + (b"," if b"[" in body else b"\n") + ONE)  # noqa: PLW2901
                if name == "packed":
                    text = text.replace(b"[", b"[" + meta + b",")  # noqa: PLW2901
                socket = await api.socket(None, path="/ingest/ws", **query)
            if how == "text":
                await socket.send_text(text)
            else:
                await socket.send_binary(GZIP(text) if how.startswith("gzip") else text)
            end = await socket.finish()
            assert (end.code, end.last["successful_rows"]) == (1000, 2 if named else 3), (name, end)
            assert end.last["quarantined_rows"] == 0
            assert await api.events(recording_id) == [ONE, TWO], name


async def test_copies_ended_otherwise_are_repeats(api: Api) -> None:
    recording_id = new_id()
    assert (await api.post(recording_id, LINES)).json()["successful_rows"] == 2
    for body in (ONE + b"\r\n" + TWO + b"\r\n", LINES + b"\r", BOM + LINES, ARRAY, b"[\r\n" + ONE + b"\r\n]"):
        again = (await api.post(recording_id, body, kind="text/plain")).json()
        assert (again["successful_rows"], again["duplicate_rows"]) == (0, 2 if TWO in body else 1)
    socket = await api.socket(recording_id)
    await socket.send_text(ONE + b"\r", TWO + b"\r\n")
    assert (await socket.finish()).last["duplicate_rows"] == 2
    assert await api.events(recording_id) == [ONE, TWO]


@pytest.mark.parametrize("encoding", [None, "gzip"])
async def test_metadata_is_taken_with_a_mark_and_wrong_headers(api: Api, encoding: str | None) -> None:
    headers = {"Content-Encoding": encoding} if encoding else {}
    for pack_up in (bytes, GZIP, ZSTD):
        recording_id = new_id()
        body = pack_up(BOM + json.dumps({"userId": "a"}).encode())
        reply = await api.request("POST", f"/recordings/{recording_id}/meta", body=body, headers=headers)
        assert reply.status == 200, reply.body
        assert await api.metadata(recording_id) == {"userId": "a"}


@pytest.mark.parametrize("name", ["deflate", "gzip, gzip, gzip", "br, gzip", "gzip;q=1"])
async def test_encodings_that_can_not_be_undone_are_refused(api: Api, name: str) -> None:
    reply = await api.post(new_id(), LINES, encoding=name)
    assert (reply.status, reply.error["code"]) == (
        (200, "") if name == "gzip," else (415, "unsupported_type")
    )


async def test_declared_lines_stay_lines(api: Api) -> None:
    recording_id = new_id()
    reply = await api.post(recording_id, b"{\n" + LINES, kind=NDJSON)
    assert (reply.json()["successful_rows"], reply.json()["quarantined_rows"]) == (2, 1)
