"""Bodies: good lines beside bad ones, bodies that break off, limits, and what is set aside."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness import ROOT, LocalDaemon, running
from tests.http.api import COMPRESS, JSON, NDJSON, Api, visiting
from tests.http.raw_client import Connection
from tests.samples import an_event, ndjson, new_id, some_events

pytestmark = pytest.mark.table


def counts(stored: int, *, quarantined: int = 0, duplicates: int = 0) -> dict[str, int]:
    return {"successful_rows": stored, "quarantined_rows": quarantined, "duplicate_rows": duplicates}


async def rrd(daemon: LocalDaemon, *argv: str) -> str:
    """Run the command line against the daemon's directory, while it runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rrd", *argv, "--data-dir", daemon.data_dir),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err
    return out.decode()


# Good and bad lines

BAD_LINES = {
    b"{": "not_json",
    b"not json": "not_json",
    b"[1,2]": "not_an_object",
    b"17": "not_an_object",
    b'{"timestamp":1}': "bad_type",
    b'{"type":"3","timestamp":1}': "bad_type",
    b'{"type":3}': "bad_timestamp",
    b'{"type":3,"timestamp":"1"}': "bad_timestamp",
    b'{"type":3,"timestamp":1e400}': "bad_timestamp",
    b'{"type":3,"timestamp":1,"data":"\xff"}': "invalid_utf8",
    b'"packed?"': "bad_packed_event",
    b'{"type":3,"timestamp":1,"data":' + b"[" * 20_000 + b"]" * 20_000 + b"}": "too_deep",
}


async def test_good_lines_are_stored_and_bad_ones_counted(api: Api) -> None:
    recording_id, good = new_id(), some_events(len(BAD_LINES))
    mixed = [line for pair in zip(good, BAD_LINES, strict=True) for line in pair]
    reply = await api.post(recording_id, ndjson(mixed))
    assert (reply.status, reply.json()) == (200, counts(len(good), quarantined=len(BAD_LINES)))
    assert await api.events(recording_id) == good


async def test_bad_lines_can_be_read_back_with_their_reasons(api: Api) -> None:
    recording_id, good = new_id(), some_events(1)
    await api.post(recording_id, ndjson([*good, *BAD_LINES]))
    listed = await rrd(api.daemon, "quarantine", "list", "--tenant", "acme")
    assert listed.splitlines()[1].split()[:2] == ["acme", recording_id]
    assert listed.splitlines()[1].split()[-1] == str(len(BAD_LINES))
    shown = [
        json.loads(line) for line in (await rrd(api.daemon, "quarantine", "show", recording_id)).splitlines()
    ]
    assert [note["reason"] for note in shown] == list(BAD_LINES.values())
    assert [note["line"] for note in shown] == list(range(2, 2 + len(BAD_LINES)))
    for note, line in zip(shown, BAD_LINES, strict=True):
        assert note.get("raw", "").encode() == line or "raw_base64" in note


async def test_nothing_valid_is_an_error_that_names_lines(api: Api) -> None:
    for line, reason in BAD_LINES.items():
        recording_id = new_id()
        reply = await api.post(recording_id, ndjson([b"", line, b"nonsense"]))
        assert (reply.status, reply.error["code"]) == (400, "no_valid_events")
        assert reply.error["errors"] == [{"line": 2, "reason": reason}, {"line": 3, "reason": "not_json"}]
        assert reply.error["quarantined_rows"] == 2
        # Nothing was stored that a player could show, so there is no recording for it.
        assert (await api.get(f"/recordings/{recording_id}/events")).status == 404
        rows = await api.daemon.services.index.quarantine(tenant="acme", recording_id=recording_id)
        assert [row.line_count for row in rows] == [2]
    assert (await api.get("/recordings")).json() == {"recordings": []}


async def test_only_the_first_errors_are_told(api: Api) -> None:
    reply = await api.post(new_id(), b"x\n" * 5000)
    assert (reply.status, reply.error["quarantined_rows"]) == (400, 5000)
    assert [error["line"] for error in reply.error["errors"]] == list(range(1, 11))


@pytest.mark.parametrize("count", [1, 2000, 8000])
async def test_values_that_never_end_are_in_quarantine_once_and_whole(api: Api, count: int) -> None:
    """They are one bad line. A good event on a line behind them is not lost."""
    recording_id, body, last = new_id(), b'{"a":[\n' * count, an_event(1)
    reply = await api.post(recording_id, body, kind=JSON)
    assert (reply.status, reply.error["code"]) == (400, "no_valid_events")
    assert reply.error["quarantined_rows"] == 1
    shown = (await rrd(api.daemon, "quarantine", "show", recording_id)).splitlines()
    (note,) = (json.loads(line) for line in shown)
    assert note["raw"].encode() == body.replace(b"\n", b" ").strip()
    assert note["line"] == 1
    assert note["reason"] == ("too_deep" if count > 5000 else "not_json")
    again = await api.post(recording_id, body + last, kind=JSON)
    assert (again.status, again.json()["successful_rows"]) == (200, 1)
    assert await api.events(recording_id) == [last]


@pytest.mark.parametrize("body", [b"[1,2,3]", b'{"events":[{"a":1}]}', b"{}", b"nonsense", b"[{]"])
async def test_documents_without_events_are_an_error(api: Api, body: bytes) -> None:
    reply = await api.post(new_id(), body, kind=JSON)
    assert (reply.status, reply.error["code"]) == (400, "no_valid_events")


async def test_good_events_of_a_document_beside_bad_ones_are_stored(api: Api) -> None:
    recording_id, good = new_id(), some_events(4)
    body = b"[" + b",".join([good[0], b"null", good[1], b'{"type":3}', *good[2:]]) + b"]"
    reply = await api.post(recording_id, body, kind=JSON)
    assert (reply.status, reply.json()) == (200, counts(4, quarantined=2))
    assert await api.events(recording_id) == good


@pytest.mark.parametrize("kind", [NDJSON, JSON])
@pytest.mark.parametrize("body", [b"", b"\n\n", b" "])
async def test_an_empty_body_is_no_error(api: Api, kind: str, body: bytes) -> None:
    recording_id = new_id()
    reply = await api.post(recording_id, body, kind=kind)
    assert (reply.status, reply.json()) == (200, counts(0))
    assert (await api.get(f"/recordings/{recording_id}/events")).status == 404


@pytest.mark.parametrize("body", [b"[]", b'{"events":[]}'])
async def test_an_empty_list_is_no_error(api: Api, body: bytes) -> None:
    reply = await api.post(new_id(), body, kind=JSON)
    assert (reply.status, reply.json()) == (200, counts(0))


# Bodies that break off


def head(api: Api, size: int, **headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {api.key}", "Content-Length": str(size), **headers}


@pytest.mark.parametrize("at_once", [True, False], ids=["at-once", "after-a-while"])
async def test_whole_lines_of_a_body_that_broke_off_are_stored(api: Api, at_once: bool) -> None:
    recording_id, sent = new_id(), some_events(200, text="x" * 200)
    connection = await Connection.open(api.daemon.url)
    connection.send_head("POST", f"/recordings/{recording_id}/ingest", head(api, 1_000_000))
    connection.writer.write(ndjson(sent[:100]))
    if not at_once:
        # The first half has arrived when the server holds it; it is stored when the batch is full or over.
        await connection.writer.drain()
        await api.get("/-/healthy")
    connection.writer.write(ndjson(sent[100:]) + b'{"type":3,"timestamp":1700000000999,"da')
    await connection.drop()
    assert await api.stored(recording_id, 200) == sent
    note = json.loads(await rrd(api.daemon, "quarantine", "show", recording_id))
    assert (note["line"], note["reason"]) == (201, "cut_off")


async def test_lines_that_waited_for_their_turn_when_the_body_broke_off_are_stored(tmp_path: Path) -> None:
    # So little room that the body piles up in front of the recording.
    limits: dict[str, Any] = {"recording_buffer_bytes_max": 64 << 10, "flush_bytes": 4096}
    async with running(tmp_path, **limits) as daemon, visiting(daemon) as api:
        recording_id, sent = new_id(), some_events(10_000, text="x" * 200)
        connection = await Connection.open(api.daemon.url)
        connection.send_head("POST", f"/recordings/{recording_id}/ingest", head(api, 100_000_000))
        connection.writer.write(ndjson(sent))
        await connection.drop()
        assert await api.stored(recording_id, 10_000) == sent


async def test_a_body_that_broke_off_before_the_daemon_was_ready_is_stored(tmp_path: Path) -> None:
    recording_id, sent = new_id(), some_events(100)

    async def send(daemon: LocalDaemon) -> None:
        connection = await Connection.open(daemon.url)
        fields = {"Authorization": f"Bearer {daemon.key()}", "Content-Length": "1000000"}
        connection.send_head("POST", f"/recordings/{recording_id}/ingest", fields)
        connection.writer.write(ndjson(sent))
        await connection.drop()
        # Answered after the other connection was seen to be gone, since that came first.
        for _ in range(3):
            probe = await Connection.open(daemon.url)
            probe.send_head("GET", "/-/healthy", {})
            assert (await probe.reply()).status == 200
            await probe.hang_up()

    async with running(tmp_path, before_recovery=send) as daemon, visiting(daemon) as api:
        assert await api.stored(recording_id, 100) == sent


async def test_a_last_line_that_is_whole_counts_in_a_body_that_broke_off(api: Api) -> None:
    recording_id, sent = new_id(), some_events(3)
    connection = await Connection.open(api.daemon.url)
    connection.send_head("POST", f"/recordings/{recording_id}/ingest", head(api, 1000))
    connection.writer.write(b"\n".join(sent))
    await connection.drop()
    assert await api.stored(recording_id, 3) == sent


async def test_whole_events_of_a_document_that_broke_off_are_stored(api: Api) -> None:
    recording_id, sent = new_id(), some_events(3)
    connection = await Connection.open(api.daemon.url)
    more = {"Content-Type": JSON}
    connection.send_head("POST", f"/recordings/{recording_id}/ingest", head(api, 1000, **more))
    connection.writer.write(b"[" + b",".join(sent) + b',{"type":3,"time')
    await connection.drop()
    assert await api.stored(recording_id, 3) == sent


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
async def test_compressed_lines_of_a_body_that_broke_off_are_stored(api: Api, encoding: str) -> None:
    recording_id, sent = new_id(), some_events(2000)
    packed = COMPRESS[encoding](ndjson(sent[:1000])) if encoding != "br" else b""
    packed += COMPRESS[encoding](ndjson(sent[1000:] if packed else sent))
    whole = len(COMPRESS[encoding](ndjson(sent[:1000]))) if encoding != "br" else len(packed) - 5
    connection = await Connection.open(api.daemon.url)
    more = {"Content-Encoding": encoding}
    connection.send_head("POST", f"/recordings/{recording_id}/ingest", head(api, len(packed), **more))
    connection.writer.write(packed[: whole + 3])
    await connection.drop()
    least = 1000 if encoding != "br" else 1
    found = await api.stored(recording_id, least)
    assert found == sent[: len(found)]


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
async def test_broken_compression_keeps_what_came_before_and_says_how_much(api: Api, encoding: str) -> None:
    recording_id, sent = new_id(), some_events(50)
    body = COMPRESS[encoding](ndjson(sent)) + b"\x00 no stream of any kind \xff"
    reply = await api.post(recording_id, body, encoding=encoding)
    assert (reply.status, reply.error["code"]) == (400, "broken_encoding")
    # Brotli gives nothing back where bytes follow its stream's end in one piece.
    if encoding != "br":
        assert reply.error["successful_rows"] == 50
        assert await api.events(recording_id) == sent


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
async def test_a_stream_cut_off_in_a_whole_body_is_an_error_that_counts(api: Api, encoding: str) -> None:
    recording_id, sent = new_id(), some_events(5000)
    body = COMPRESS[encoding](ndjson(sent))
    reply = await api.post(recording_id, body[: len(body) * 9 // 10], encoding=encoding)
    assert (reply.status, reply.error["code"]) == (400, "broken_encoding")
    told = reply.error["successful_rows"]
    found = await api.events(recording_id) if told else []
    assert found == sent[:told]


# Limits


async def test_a_body_over_its_limit_is_refused_and_what_came_before_kept(tmp_path: Path) -> None:
    async with running(tmp_path, body_bytes_max=100_000, flush_bytes=8192) as daemon, visiting(daemon) as api:
        recording_id, sent = new_id(), some_events(5000)
        reply = await api.post(recording_id, COMPRESS["gzip"](ndjson(sent)), encoding="gzip")
        assert (reply.status, reply.error["code"]) == (413, "too_large")
        told = reply.error["successful_rows"]
        found = await api.events(recording_id) if told else []
        assert found == sent[:told]
        # The same in one piece after another, uncompressed.
        other = new_id()
        reply = await api.post(other, ndjson(sent))
        assert (reply.status, reply.error["code"]) == (413, "too_large")
        assert reply.error["successful_rows"] > 0
        assert await api.events(other) == sent[: reply.error["successful_rows"]]


async def test_an_event_over_its_limit_is_refused_and_what_came_before_kept(tmp_path: Path) -> None:
    async with running(tmp_path, event_bytes_max=10_000) as daemon, visiting(daemon) as api:
        recording_id, sent = new_id(), some_events(10)
        body = ndjson([*sent, an_event(1, text="x" * 10_000), *some_events(3)])
        reply = await api.post(recording_id, body)
        assert (reply.status, reply.error["code"]) == (413, "too_large")
        assert reply.error["successful_rows"] == 10
        assert await api.events(recording_id) == sent
        fits = an_event(1, text="x" * 9_000)
        assert (await api.post(recording_id, fits)).status == 200


async def test_a_document_over_its_limit_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, message_bytes_max=10_000) as daemon, visiting(daemon) as api:
        body = b"[" + b",".join(some_events(500)) + b"]"
        reply = await api.post(new_id(), body, kind=JSON)
        assert (reply.status, reply.error["code"]) == (413, "too_large")


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
async def test_a_bomb_is_refused_at_the_limit(tmp_path: Path, encoding: str) -> None:
    async with running(tmp_path, event_bytes_max=1 << 20) as daemon, visiting(daemon) as api:
        bomb = COMPRESS[encoding](b'{"type":3,"timestamp":1,"data":"' + b" " * (64 << 20) + b'"}')
        reply = await api.post(new_id(), bomb, encoding=encoding)
        assert (reply.status, reply.error["code"]) == (413, "too_large")


async def test_large_events_take_turns_and_all_are_stored(api: Api) -> None:
    # More than there are places for large unfinished events.
    sent = {new_id(): an_event(1, text="x" * 3_000_000, n=number) for number in range(12)}
    replies = await asyncio.gather(*(api.post(recording_id, line) for recording_id, line in sent.items()))
    assert [reply.status for reply in replies] == [200] * 12
    for recording_id, line in sent.items():
        assert await api.events(recording_id) == [line]


# Types


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-Type": "text/html"}, "unsupported_type"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, "unsupported_type"),
        ({"Content-Encoding": "deflate"}, "unsupported_type"),
        ({"Content-Encoding": "br, gzip"}, "unsupported_type"),
        ({"Content-Type": "image/png"}, "unsupported_type"),
    ],
)
async def test_unknown_types_and_encodings_are_refused(api: Api, headers: dict[str, str], code: str) -> None:
    recording_id = new_id()
    reply = await api.request(
        "POST", f"/recordings/{recording_id}/ingest", body=ndjson(some_events(1)), headers=headers
    )
    assert (reply.status, reply.error["code"]) == (415, code)
    assert (await api.get(f"/recordings/{recording_id}/events")).status == 404


@pytest.mark.parametrize("encoding", ["GZIP", "x-gzip", "gzip"])
async def test_encodings_have_other_names(api: Api, encoding: str) -> None:
    recording_id, sent = new_id(), some_events(2)
    reply = await api.post(recording_id, COMPRESS["gzip"](ndjson(sent)), encoding=encoding)
    assert reply.json() == counts(2)


@pytest.mark.parametrize("chunk", [1, 100, 70_000])
async def test_a_body_of_unknown_length_may_come_in_any_pieces(api: Api, chunk: int) -> None:
    recording_id = new_id()
    sent = some_events(30 if chunk == 1 else 1000)
    body = ndjson(sent)
    connection = await Connection.open(api.daemon.url)
    fields = {"Authorization": f"Bearer {api.key}", "Transfer-Encoding": "chunked"}
    connection.send_head("POST", f"/recordings/{recording_id}/ingest", fields)
    for start in range(0, len(body), chunk):
        piece = body[start : start + chunk]
        connection.writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        await connection.writer.drain()
    connection.writer.write(b"0\r\n\r\n")
    reply = await connection.reply()
    assert (reply.status, reply.json()) == (200, counts(len(sent)))
    await connection.hang_up()
    assert await api.events(recording_id) == sent


async def test_a_sender_that_falls_silent_is_not_waited_for(tmp_path: Path) -> None:
    async with running(tmp_path, body_idle_timeout_s=1) as daemon, visiting(daemon) as api:
        recording_id, sent = new_id(), some_events(5)
        for path, body in {"ingest": ndjson(sent), "meta": b'{"a":1}'}.items():
            connection = await Connection.open(daemon.url)
            connection.send_head("POST", f"/recordings/{recording_id}/{path}", head(api, 10_000))
            connection.writer.write(body)
            reply = await connection.reply()
            assert (reply.status, reply.json()["error"]["code"]) == (400, "bad_body")
            await connection.hang_up()
        assert await api.events(recording_id) == sent
        assert await api.metadata(recording_id) == {}


async def test_a_sender_that_expects_to_be_asked_for_its_body_is(api: Api) -> None:
    recording_id, sent = new_id(), some_events(2)
    body = ndjson(sent)
    connection = await Connection.open(api.daemon.url)
    fields = head(api, len(body), Expect="100-continue")
    connection.send_head("POST", f"/recordings/{recording_id}/ingest", fields)
    assert (await connection.reply()).status == 100
    connection.writer.write(body)
    assert (await connection.reply()).json() == counts(2)
    await connection.hang_up()


async def test_a_connection_is_kept_for_the_next_request(api: Api) -> None:
    recording_id, sent = new_id(), some_events(2)
    connection = await Connection.open(api.daemon.url)
    for line in sent:
        connection.send_head("POST", f"/recordings/{recording_id}/ingest", head(api, len(line)))
        connection.writer.write(line)
        reply: Any = await connection.reply()
        assert (reply.status, reply.json()) == (200, counts(1))
    await connection.hang_up()
    assert await api.events(recording_id) == sent
