"""Real recordings go in every way there is, and come out byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from bench.corpus import NAMES, lines_of
from tests.http.api import COMPRESS, JSON, NDJSON, Api, one_stream
from tests.samples import by_time, dump, meta_event, ndjson, new_id, some_events

ENCODINGS = ("gzip", "br", "zstd")
A_FEW = 7
"""Events a message: so that slices of a stream cut differently from events."""


def grouped(lines: Sequence[bytes]) -> list[bytes]:
    return [ndjson(lines[start : start + A_FEW]) for start in range(0, len(lines), A_FEW)]


@pytest.fixture(params=NAMES)
def recorded(request: pytest.FixtureRequest) -> Sequence[bytes]:
    return lines_of(request.param)


async def check(api: Api, recording_id: str, sent: Sequence[bytes]) -> None:
    """What was sent is what is read, numbered by arrival."""
    found = await api.numbered(recording_id)
    assert [line for _, line in found] == by_time(sent)
    assert sorted(number for number, _ in found) == list(range(1, len(sent) + 1))


@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "permessage-deflate"])
async def test_socket_text_one_event_a_message(api: Api, recorded: Sequence[bytes], deflate: bool) -> None:
    recording_id = new_id()
    socket = await api.socket(recording_id, deflate=deflate)
    assert ("permessage-deflate" in socket.headers.get("sec-websocket-extensions", "")) == deflate
    await socket.send_text(*recorded)
    end = await socket.finish()
    assert end.code == 1000
    assert end.last["successful_rows"] == len(recorded)
    await check(api, recording_id, recorded)


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_socket_binary_a_stream_a_message(api: Api, recorded: Sequence[bytes], encoding: str) -> None:
    recording_id = new_id()
    socket = await api.socket(recording_id, contentEncoding=encoding)
    # One event a message without its line break, as the client sends text; then more in one.
    single, rest = recorded[:20], recorded[20:]
    await socket.send_binary(*map(COMPRESS[encoding], [*single, *grouped(rest)]))
    end = await socket.finish()
    assert end.code == 1000
    assert end.last["successful_rows"] == len(recorded)
    await check(api, recording_id, recorded)


@pytest.mark.table
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("breaks", [True, False], ids=["lines", "without-line-breaks"])
async def test_socket_binary_one_stream_over_all(
    api: Api, recorded: Sequence[bytes], encoding: str, breaks: bool
) -> None:
    recording_id = new_id()
    socket = await api.socket(recording_id, contentEncoding=encoding)
    messages = grouped(recorded) if breaks else list(recorded)
    await socket.send_binary(*one_stream(encoding, messages))
    end = await socket.finish()
    assert end.code == 1000
    assert end.last["successful_rows"] == len(recorded)
    await check(api, recording_id, recorded)


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_socket_binary_one_stream_cut_anywhere(api: Api, encoding: str) -> None:
    recording_id, sent = new_id(), some_events(500)
    socket = await api.socket(recording_id, contentEncoding=encoding)
    packed = COMPRESS[encoding](ndjson(sent))
    await socket.send_binary(*(packed[start : start + 37] for start in range(0, len(packed), 37)))
    assert (await socket.finish()).last["successful_rows"] == 500
    await check(api, recording_id, sent)


@pytest.mark.parametrize("encoding", COMPRESS)
async def test_post_ndjson(api: Api, recorded: Sequence[bytes], encoding: str) -> None:
    recording_id = new_id()
    reply = await api.post(recording_id, COMPRESS[encoding](ndjson(recorded)), encoding=encoding)
    assert (reply.status, reply.json()) == (
        200,
        {"successful_rows": len(recorded), "quarantined_rows": 0, "duplicate_rows": 0},
    )
    await check(api, recording_id, recorded)


SHAPES: dict[str, Callable[[Sequence[bytes]], bytes]] = {
    "array": lambda lines: b"[" + b",".join(lines) + b"]",
    "spread-out-array": lambda lines: b"[\n  " + b",\n  ".join(lines) + b"\n]\n",
    "wrapper": lambda lines: b'{"events":[' + b",".join(lines) + b"]}",
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_post_json(api: Api, recorded: Sequence[bytes], shape: str) -> None:
    recording_id = new_id()
    reply = await api.post(recording_id, SHAPES[shape](recorded), kind=JSON)
    assert (reply.status, reply.json()["successful_rows"]) == (200, len(recorded))
    await check(api, recording_id, recorded)


@pytest.mark.parametrize("kind", ["", NDJSON, "application/ndjson", "application/x-ndjson; charset=utf-8"])
async def test_post_ndjson_by_any_name_and_without_a_last_line_break(api: Api, kind: str) -> None:
    recording_id, sent = new_id(), some_events(3)
    reply = await api.request(
        "POST",
        f"/recordings/{recording_id}/ingest",
        body=b"\n".join(sent),
        headers={"Content-Type": kind} if kind else {},
    )
    assert reply.json()["successful_rows"] == 3
    await check(api, recording_id, sent)


@pytest.mark.parametrize("kind", [NDJSON, "application/ndjson", JSON])
async def test_socket_content_types(api: Api, kind: str) -> None:
    recording_id, sent = new_id(), some_events(9)
    socket = await api.socket(recording_id, contentType=kind)
    await socket.send_text(sent[0])
    if kind == JSON:
        await socket.send_text(SHAPES["array"](sent[1:4]), SHAPES["wrapper"](sent[4:]))
    else:
        await socket.send_text(ndjson(sent[1:4]), b"\n".join(sent[4:]))
    assert (await socket.finish()).last["successful_rows"] == 9
    await check(api, recording_id, sent)


async def test_text_and_binary_messages_mix(api: Api) -> None:
    recording_id, sent = new_id(), some_events(90)
    socket = await api.socket(recording_id, contentEncoding="gzip")
    for start in range(0, 90, 3):
        await socket.send_text(sent[start])
        await socket.send_binary(COMPRESS["gzip"](ndjson(sent[start + 1 : start + 3])))
    assert (await socket.finish()).last["successful_rows"] == 90
    found = await api.numbered(recording_id)
    assert found == list(enumerate(sent, 1))


ODD_EVENTS = {
    "lone surrogate": rb'{"type":3,"timestamp":1,"data":{"text":"\ud83d"}}',
    "unknown type": b'{"type":4711,"timestamp":1,"data":{}}',
    "fractional time": b'{"type":3,"timestamp":1.5,"data":{}}',
    "white space": b'{ "type" : 3 ,\t"timestamp" : 1 , "data" : { } }',
    "other members": '{"delay":0,"_sid":"x","type":3,"data":{"a":"ünï 🙂"},"timestamp":1}'.encode(),
    "no data": b'{"type":0,"timestamp":1}',
    "data of null": b'{"type":5,"timestamp":1,"data":null}',
    "a long number": b'{"type":3,"timestamp":1,"data":{"n":1234567890123456789012345678901234567890.10}}',
    "a name twice": b'{"type":3,"timestamp":1,"data":{"a":1,"a":2}}',
    "close-permanent": b'{"type":5,"timestamp":1,"data":{"tag":"close-permanent","payload":{}}}',
    "pageview-meta": b'{"type":5,"timestamp":1,"data":{"tag":"pageview-meta","payload":{"a":1}}}',
}


@pytest.mark.parametrize("way", ["socket", "post", "document"])
async def test_odd_events_are_kept_to_the_byte(api: Api, way: str) -> None:
    for name, line in ODD_EVENTS.items():
        recording_id = new_id()
        if way == "socket":
            socket = await api.socket(recording_id)
            await socket.send_text(line)
            await socket.finish()
        else:
            body, kind = (line, NDJSON) if way == "post" else (b"[" + line + b"]", JSON)
            assert (await api.post(recording_id, body, kind=kind)).status == 200
        assert (name, await api.events(recording_id)) == (name, [line])


async def test_numbers_and_ids_of_the_client_are_returned_and_none_added(api: Api) -> None:
    recording_id = new_id()
    own_number = b'{"type":3,"timestamp":1,"data":{},"sequenceId":40}'
    own_both = b'{"sequenceId":41,"recordingId":"x","type":3,"timestamp":2,"data":{}}'
    own_id = b'{"type":3,"recordingId":"y","timestamp":3,"data":{"sequenceId":5}}'
    none = b'{"type":3,"timestamp":4,"data":{}}'
    await api.post(recording_id, ndjson([own_number, own_both, own_id, none]))
    reply = await api.get(f"/recordings/{recording_id}/events", headers={"Accept": NDJSON})
    assert reply.body.split(b"\n") == [
        own_number[:-1] + b',"recordingId":"%s"}' % recording_id.encode(),
        own_both,
        own_id[:-1] + b',"sequenceId":3}',
        none[:-1] + b',"sequenceId":4,"recordingId":"%s"}' % recording_id.encode(),
        b"",
    ]


PATHS = ["/recordings/{}/ingest", "/recordings/{}/events", "/ingest?recordingId={}", "/events?recordingId={}"]
PATHS += ["/recordings/ingest?recordingId={}", "/recordings/events?recordingId={}", "/?recordingId={}"]


@pytest.mark.parametrize("path", PATHS)
async def test_every_path_takes_posts_and_sockets(api: Api, path: str) -> None:
    recording_id, sent = new_id(), some_events(4)
    reply = await api.request("POST", path.format(recording_id), body=ndjson(sent[:2]))
    assert reply.json()["successful_rows"] == 2
    base, _, query = path.partition("?")
    socket_path = base.format(recording_id).rstrip("/") + "/ws"
    more: dict[str, Any] = {"recordingId": recording_id} if query else {}
    socket = await api.socket(None, path=socket_path, **more)
    await socket.send_text(*sent[2:])
    assert (await socket.finish()).last["successful_rows"] == 2
    await check(api, recording_id, sent)


@pytest.mark.parametrize("way", ["post", "text", "binary"])
async def test_the_first_metadata_event_may_name_the_recording(api: Api, way: str) -> None:
    recording_id, sent = new_id(), some_events(3)
    first = meta_event(1_699_999_999_000, recordingId=recording_id, page="start")
    if way == "post":
        reply = await api.request("POST", "/events", body=ndjson([first, *sent]))
        assert (reply.status, reply.json()["successful_rows"]) == (200, 4)
    else:
        socket = await api.socket(None, path="/events/ws", contentEncoding="zstd")
        if way == "text":
            await socket.send_text(first, *sent)
        else:
            await socket.send_binary(*map(COMPRESS["zstd"], [first, *sent]))
        end = await socket.finish()
        assert (end.code, end.last["successful_rows"]) == (1000, 4)
    await check(api, recording_id, sent)
    assert (await api.metadata(recording_id))["page"] == "start"


async def test_events_of_nobody_knows_which_recording_are_refused(api: Api) -> None:
    body = ndjson([*some_events(2), dump({"type": 5, "timestamp": 1, "data": {"tag": "x"}})])
    reply = await api.request("POST", "/events", body=body)
    assert (reply.status, reply.error["code"]) == (400, "no_recording_id")
    socket = await api.socket(None, path="/events/ws")
    await socket.send_text(*some_events(2))
    end = await socket.farewell()
    assert (end.code, end.last["type"], end.last["code"]) == (1011, "error", "no_recording_id")


async def test_a_recording_id_is_the_same_in_either_case(api: Api) -> None:
    recording_id, sent = new_id(), some_events(2)
    await api.post(recording_id.upper(), ndjson(sent))
    assert await api.events(recording_id) == sent
    assert (await api.get(f"/recordings/{recording_id.upper()}/events")).status == 200
