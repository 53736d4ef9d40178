"""What is refused leaves a trace: a count, a log line, and in quarantine what can be kept."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rrd.care.doctor import refused, refused_by_all
from rrd.care.kept_aside import notes_of
from rrd.care.refusals import Refused
from rrd.segment.format import QuarantineNote
from rrd.shelf.shelf import Shelf
from tests.harness import running
from tests.http.api import VISITOR_ADDRESS, Api, visiting
from tests.http.raw_client import Refused as UpgradeRefused
from tests.http.raw_client import Socket
from tests.http.test_framing import exchange, post
from tests.samples import an_event, ndjson, new_id

_EVENT = an_event(1)

# What is sent by POST, status and code, and whether it is counted for the recording.
REFUSALS: dict[str, tuple[dict[str, Any], int, str, bool]] = {
    "no key": ({"key": ""}, 401, "unauthenticated", False),
    "wrong key": ({"key": "wrong"}, 401, "unauthenticated", False),
    "bad id": ({"path": "/recordings/7/ingest"}, 400, "bad_recording_id", False),
    "no path": ({"path": "/nowhere"}, 404, "no_such_path", False),
    "no id": ({"path": "/ingest"}, 400, "no_recording_id", False),
    "type": ({"headers": {"Content-Type": "image/png"}}, 415, "unsupported_type", True),
    "encoding": ({"headers": {"Content-Encoding": "lzma"}}, 415, "unsupported_type", True),
    "broken encoding": (
        {"headers": {"Content-Encoding": "gzip"}, "body": gzip.compress(_EVENT)[:-9]},
        400,
        "broken_encoding",
        True,
    ),
    "too large": ({"body": an_event(1, text="x" * 5000)}, 413, "too_large", True),
    "junk": ({"body": b"junk"}, 400, "no_valid_events", True),
    "expectation": ({"headers": {"Expect": "more"}}, 417, "unmet_expectation", False),
    "method": ({"method": "PUT"}, 405, "method_not_allowed", False),
}


def totals(api: Api) -> dict[tuple[str, int], int]:
    return {(row.code, row.status): row.count for row in api.daemon.services.refusals.account().totals}


def rows(api: Api) -> list[Refused]:
    return api.daemon.services.refusals.account().recordings


@pytest.mark.parametrize("name", REFUSALS)
async def test_each_refusal_is_counted_and_logged(tmp_path: Path, logged: list[str], name: str) -> None:
    sent, status, code, has_recording = REFUSALS[name]
    sent = dict(sent)
    recording_id = new_id()
    async with running(tmp_path, event_bytes_max=1024) as daemon, visiting(daemon) as api:
        path = sent.pop("path", f"/recordings/{recording_id}/ingest")
        for _ in range(2):
            reply = await api.request(sent.get("method", "POST"), path, **{"body": _EVENT, **_without(sent)})
            assert (reply.status, reply.error["code"]) == (status, code)
        assert totals(api) == {(code, status): 2}
        assert [(row.tenant, row.recording_id, row.code, row.status, row.count) for row in rows(api)] == (
            [("acme", recording_id, code, status, 2)] if has_recording else []
        )
        lines = [line for line in logged if line.startswith("refused ")]
        assert len(lines) == 2
        assert f"status={status} code={code}" in lines[0]
        assert not [line for line in logged if VISITOR_ADDRESS in line or "wrong" in line or api.key in line]
    # They outlive the daemon, and doctor tells them.
    told = "\n".join(refused_by_all(str(tmp_path)))
    assert f"2 times {status} {code}" in told
    assert (recording_id in told) == has_recording
    about_it = "\n".join(refused(str(tmp_path), recording_id, tenant="acme"))
    assert (f"2 times {status} {code}" in about_it) == has_recording
    async with running(tmp_path) as daemon, visiting(daemon) as api:
        assert totals(api) == {(code, status): 2}


def _without(sent: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in sent.items() if name != "method"}


async def test_reads_that_are_refused_are_no_events(api: Api) -> None:
    assert (await api.get("/recordings", key="")).status == 401
    assert (await api.get(f"/recordings/{new_id()}/events")).status == 404
    assert totals(api) == {}


async def test_refusals_of_sockets_are_counted_and_logged(tmp_path: Path, logged: list[str]) -> None:
    recording_id = new_id()
    async with running(tmp_path, message_bytes_max=1024) as daemon, visiting(daemon) as api:
        with pytest.raises(UpgradeRefused):
            await api.socket(recording_id, key="wrong")
        assert (await api.get(f"/recordings/{recording_id}/ingest/ws")).status == 400
        socket = await api.socket(recording_id)
        await socket.send_text(an_event(1, text="x" * 5000))
        assert (await socket.farewell()).last["code"] == "too_large"
        socket = await api.socket(recording_id, contentEncoding="gzip")
        await socket.send_binary(b"this is not gzip")
        assert (await socket.farewell()).last["code"] == "broken_encoding"
        assert totals(api) == {
            ("unauthenticated", 401): 1,
            ("not_a_websocket", 400): 1,
            ("too_large", 413): 1,
            ("broken_encoding", 400): 1,
        }
        assert {(row.recording_id, row.code) for row in rows(api)} == {
            (recording_id, "too_large"),
            (recording_id, "broken_encoding"),
        }
        assert len([line for line in logged if line.startswith("socket_failed ")]) == 2


async def test_what_is_no_http_is_counted_and_logged(api: Api, logged: list[str]) -> None:
    await exchange(api, [b"GET / HTTP/3.0\r\n\r\n"])
    await exchange(api, [post(api, new_id(), "Cookie: " + "x" * 40_000)])
    await exchange(api, [post(api, new_id(), "Transfer-Encoding: gzip, chunked")])
    await exchange(api, [post(api, new_id(), "Transfer-Encoding: chunked", body=b"zz\r\n")])
    assert totals(api) == {
        ("unsupported_version", 505): 1,
        ("head_too_large", 431): 1,
        ("unsupported_transfer_coding", 501): 1,
        ("bad_framing", 400): 1,
    }
    assert len([line for line in logged if line.startswith("refused ")]) == 4


async def test_a_daemon_that_fails_inside_still_answers_in_json(
    api: Api, logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even what raises outside of the application may answer as aiohttp would."""

    def broken(*_: object) -> None:
        raise LookupError("no such thing")

    monkeypatch.setattr(api.daemon.services.gate, "authorize", broken)
    reply = await api.post(new_id(), _EVENT)
    assert (reply.status, reply.error["code"]) == (500, "internal")
    assert totals(api) == {("internal", 500): 1}
    assert [line for line in logged if "request_failed" in line]
    logged.clear()


@pytest.mark.parametrize("has_id", [True, False])
@pytest.mark.parametrize("reason", ["too_large", "broken_encoding"])
async def test_a_body_that_is_refused_leaves_its_beginning_in_quarantine(
    tmp_path: Path, reason: str, *, has_id: bool
) -> None:
    async with running(tmp_path, event_bytes_max=64 << 10) as daemon, visiting(daemon) as api:
        recording_id = new_id()
        large = an_event(2, text="x" * 100_000)
        good = [_EVENT] if has_id else []
        body = ndjson([*good, large])
        if reason == "broken_encoding":
            body = b"no gzip, but " + body
        path = f"/recordings/{recording_id}/ingest" if has_id else "/ingest"
        headers = {"Content-Encoding": "gzip"} if reason == "broken_encoding" else {}
        reply = await api.request("POST", path, body=body, headers=headers)
        assert (reply.status, reply.error["code"]) == ({"too_large": 413}.get(reason, 400), reason)
        kept = await daemon.services.index.quarantine(tenant="acme", recording_id=recording_id)
        assert len(kept) == has_id
        if has_id:
            assert reply.error["quarantined_rows"] == 1
            (note,) = await kept_aside(api, recording_id)
            assert note.reason == reason
            assert note.raw == body[:4096]


async def kept_aside(api: Api, recording_id: str) -> list[QuarantineNote]:
    services = api.daemon.services
    row = await services.index.recording("acme", recording_id)
    if row is None:
        return []
    return [
        note
        for kept in await services.index.quarantine(tenant="acme", recording_id=recording_id)
        for note in notes_of(
            kept, shelf=Shelf(services.disk, api.daemon.data_dir), objects=services.files,
            created_ms=row.created_ms,
        )
    ]  # fmt: skip


_LARGE = an_event(2, text="x" * 100_000)
_MESSAGE_BYTES_MAX, _EVENT_BYTES_MAX = 150_000, 64 << 10


async def _large_text(socket: Socket) -> bytes:
    message = ndjson([_LARGE, _LARGE])
    await socket.send_text(message)
    return message


async def _large_binary(socket: Socket) -> bytes:
    message = ndjson([_LARGE, _LARGE])
    await socket.send_binary(message)
    return message


async def _large_fragments(socket: Socket) -> bytes:
    message = ndjson([_LARGE, _LARGE])
    for start in range(0, len(message), 50_000):
        part = message[start : start + 50_000]
        socket.frame(1 if start == 0 else 0, part, final=start + 50_000 >= len(message))
    return message


async def _large_inflated(socket: Socket) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    message = stream.compress(b"x" * 1_000_000) + stream.flush(zlib.Z_SYNC_FLUSH)[:-4]
    socket.frame(1, message, compressed=True)
    return message


async def _damaged_deflate(socket: Socket) -> bytes:
    message = b"\xff" * 50
    socket.frame(1, message, compressed=True)
    return message


async def _damaged_fragments(socket: Socket) -> bytes:
    message = b"\xff" * 50
    socket.frame(1, message[:20], compressed=True, final=False)
    socket.frame(0, message[20:])
    return message


async def _large_event(socket: Socket) -> bytes:
    await socket.send_binary(_LARGE)
    return _LARGE


async def _damaged_gzip(socket: Socket) -> bytes:
    message = gzip.compress(b"".join(_LARGE[:5000] for _ in range(9)))
    message = message[:30] + b"\x00\x00\x00" + message[33:]
    await socket.send_binary(message)
    return message


class Ending(NamedTuple):
    """What ends a socket, and how."""

    send: Callable[[Socket], Awaitable[bytes]]
    """Returns the message as it was sent."""
    code: str
    encoding: str = ""
    deflate: bool = False


ENDINGS = {
    "large text": Ending(_large_text, "too_large"),
    "large binary": Ending(_large_binary, "too_large"),
    "large in fragments": Ending(_large_fragments, "too_large"),
    "large inflated": Ending(_large_inflated, "too_large", deflate=True),
    "large event": Ending(_large_event, "too_large"),
    "damaged deflate": Ending(_damaged_deflate, "broken_encoding", deflate=True),
    "damaged fragments": Ending(_damaged_fragments, "broken_encoding", deflate=True),
    "damaged gzip": Ending(_damaged_gzip, "broken_encoding", encoding="gzip"),
}


@pytest.mark.parametrize("name", ENDINGS)
async def test_a_message_that_ends_a_socket_leaves_its_beginning_in_quarantine(
    tmp_path: Path, name: str
) -> None:
    ending = ENDINGS[name]
    limits: dict[str, Any] = {"message_bytes_max": _MESSAGE_BYTES_MAX, "event_bytes_max": _EVENT_BYTES_MAX}
    async with running(tmp_path, **limits) as daemon, visiting(daemon) as api:
        recording_id = new_id()
        query: dict[str, Any] = {"contentEncoding": ending.encoding} if ending.encoding else {}
        socket = await api.socket(recording_id, deflate=ending.deflate, **query)
        await socket.send_text(_EVENT)
        sent = await ending.send(socket)
        last = (await socket.farewell()).last
        assert (last["type"], last["code"]) == ("error", ending.code)
        assert (last["successful_rows"], last["quarantined_rows"]) == (1, 1)
        (note,) = await kept_aside(api, recording_id)
        assert (note.line, note.reason) == (2, ending.code)
        assert note.raw == sent[:4096]
        assert [(row.recording_id, row.code, row.count) for row in rows(api)] == [
            (recording_id, ending.code, 1)
        ]


async def test_a_socket_with_nothing_but_bad_lines_counts_as_a_body_does(api: Api, logged: list[str]) -> None:
    recording_id, other = new_id(), new_id()
    socket = await api.socket(recording_id)
    await socket.send_text(b"junk", b"junk")
    assert (await socket.finish()).last["quarantined_rows"] == 2
    socket = await api.socket(other)
    await socket.send_text(b"junk", _EVENT)
    await socket.finish()
    assert [(row.recording_id, row.code, row.status, row.count) for row in rows(api)] == [
        (recording_id, "no_valid_events", 400, 1)
    ]
    assert len([line for line in logged if line.startswith("socket_failed ")]) == 1
