"""Sockets: what the server says and when, how it closes, and that nothing received is ever lost."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from tests.harness import running, until
from tests.http.api import COMPRESS, JSON, Api, one_stream, visiting
from tests.http.raw_client import BINARY, TEXT, Refused, Socket
from tests.samples import an_event, ndjson, new_id, some_events

RESULT = {
    "type": "upstream-result",
    "ok": True,
    "status": 204,
    "statusText": "",
    "headers": {"content-type": "application/json"},
}


def counts(stored: int, *, quarantined: int = 0, duplicates: int = 0) -> dict[str, int]:
    return {"successful_rows": stored, "quarantined_rows": quarantined, "duplicate_rows": duplicates}


def refusal(refused: pytest.ExceptionInfo[Refused]) -> tuple[int, str]:
    reply = refused.value.reply
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.headers["content-type"].startswith(JSON)
    return reply.status, reply.json()["error"]["code"]


# What it says


async def test_a_socket_is_told_nothing_but_a_final_summary(api: Api) -> None:
    recording_id, sent = new_id(), some_events(30)
    socket = await api.socket(recording_id)
    await socket.send_text(*sent[:20])
    await api.stored(recording_id, 20)
    await socket.send_text(*sent[20:])
    end = await socket.finish()
    assert (end.code, len(end.messages)) == (1000, 1)
    assert end.last == RESULT | {"final": True} | counts(30)


async def test_a_socket_that_sent_nothing_gets_its_summary_too(api: Api) -> None:
    end = await (await api.socket(new_id())).finish()
    assert (end.code, end.last) == (1000, RESULT | {"final": True} | counts(0))


async def test_acks_count_what_is_on_disk(api: Api) -> None:
    recording_id, sent = new_id(), some_events(40)
    socket = await api.socket(recording_id, ack="true")
    done = 0
    while done < 40:
        await socket.send_text(*sent[done : done + 10])
        acked = 0
        while acked < done + 10:
            message = await socket.next_json()
            assert message == RESULT | {"final": False} | counts(message["successful_rows"])
            assert message["successful_rows"] > acked
            acked = message["successful_rows"]
            assert len(await api.events(recording_id)) >= acked
        done += 10
    assert (await socket.finish()).last == RESULT | {"final": True} | counts(40)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_messages_that_keep_coming_do_not_put_their_flush_off(tmp_path: Path, opcode: int) -> None:
    async with running(tmp_path, flush_age_ms=300) as daemon, visiting(daemon) as api:
        socket = await api.socket(new_id(), ack="true")
        ack = asyncio.create_task(socket.next_json())
        for event in some_events(600):  # Far more often than every 300 ms, and never enough for a block.
            await socket.send(opcode, event)
            await asyncio.wait([ack], timeout=0.005)
            if ack.done():
                break
        assert ack.done(), "nothing was acked while messages kept coming"
        assert (await ack)["successful_rows"] > 0
        await socket.finish()


async def test_debug_echoes_what_was_decoded_as_lines(api: Api) -> None:
    recording_id, sent = new_id(), some_events(6)
    socket = await api.socket(recording_id, debug="true", contentEncoding="gzip")
    await socket.send_text(*sent[:3])
    await socket.send_binary(COMPRESS["gzip"](ndjson(sent[3:])))
    end = await socket.finish()
    echoed = [message for message in end.messages if "upstream-result" not in message]
    assert "".join(echoed).encode() == ndjson(sent)
    assert end.messages[-1].startswith('{"type":"upstream-result"')


async def test_counts_tell_bad_lines_and_repeats_apart(api: Api) -> None:
    recording_id, sent = new_id(), some_events(5)
    await api.post(recording_id, ndjson(sent[:2]))
    socket = await api.socket(recording_id)
    await socket.send_text(*sent, b"not json", b'{"type":"3","timestamp":1}')
    end = await socket.finish()
    assert end.code == 1000
    assert end.last == RESULT | {"final": True} | counts(3, quarantined=2, duplicates=2)
    assert await api.events(recording_id) == sent


# Nothing received is lost


async def test_the_last_message_before_the_close_is_stored(api: Api) -> None:
    for _ in range(20):
        recording_id, sent = new_id(), some_events(3)
        socket = await api.socket(recording_id)
        # In one segment on the wire: the close is there before the server looks.
        for line in sent:
            socket.frame(TEXT, line)
        assert (await socket.finish()).last["successful_rows"] == 3
        assert await api.events(recording_id) == sent


@pytest.mark.parametrize("count", [1, 50, 5000])
async def test_what_came_before_the_connection_broke_is_stored(api: Api, count: int) -> None:
    recording_id, sent = new_id(), some_events(count, text="x" * 100)
    socket = await api.socket(recording_id)
    for line in sent:
        socket.frame(TEXT, line)
    await socket.drop()
    assert await api.stored(recording_id, count) == sent


async def test_what_waited_for_its_turn_when_the_connection_broke_is_stored(tmp_path: Path) -> None:
    # So little room that messages pile up in front of the recording.
    limits: dict[str, Any] = {"recording_buffer_bytes_max": 64 << 10, "flush_bytes": 4096}
    async with running(tmp_path, **limits) as daemon, visiting(daemon) as api:
        recording_id, sent = new_id(), some_events(20_000, text="x" * 100)
        socket = await api.socket(recording_id)
        for line in sent:
            socket.frame(TEXT, line)
        await socket.drop()
        assert await api.stored(recording_id, 20_000) == sent


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
async def test_a_stream_that_was_never_ended_counts_as_far_as_it_goes(api: Api, encoding: str) -> None:
    recording_id, sent = new_id(), some_events(20)
    socket = await api.socket(recording_id, contentEncoding=encoding)
    await socket.send_binary(*one_stream(encoding, [ndjson(sent), b"", b""])[:1])
    assert (await socket.finish()).last["successful_rows"] == 20
    assert await api.events(recording_id) == sent


# What goes wrong


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
async def test_broken_compression_ends_the_socket_and_keeps_what_came_before(api: Api, encoding: str) -> None:
    recording_id, sent = new_id(), some_events(10)
    socket = await api.socket(recording_id, contentEncoding=encoding)
    await socket.send_binary(COMPRESS[encoding](ndjson(sent)), b"\xff this is no stream of any kind \xff")
    end = await socket.farewell()
    assert (end.code, end.reason) == (1011, "broken_encoding")
    assert (end.last["type"], end.last["status"], end.last["code"]) == ("error", 400, "broken_encoding")
    assert end.last["successful_rows"] == 10
    assert await api.events(recording_id) == sent


async def test_bad_lines_do_not_end_a_socket(api: Api) -> None:
    recording_id, good = new_id(), some_events(3)
    socket = await api.socket(recording_id)
    await socket.send_text(good[0], b"{", good[1], b"[1,2]", b"\xff\xfe", b"", good[2])
    end = await socket.finish()
    assert (end.code, end.last["successful_rows"], end.last["quarantined_rows"]) == (1000, 3, 3)
    assert await api.events(recording_id) == good


async def test_a_message_over_its_limit_ends_the_socket_and_keeps_what_came_before(tmp_path: Path) -> None:
    async with (
        running(tmp_path, message_bytes_max=4096, event_bytes_max=4096) as daemon,
        visiting(daemon) as api,
    ):
        recording_id, sent = new_id(), some_events(3)
        socket = await api.socket(recording_id)
        await socket.send_text(*sent, an_event(1, text="x" * 5000))
        end = await socket.farewell()
        assert (end.code, end.reason) == (1011, "too_large")
        assert end.last["type"] == "error"
        assert (end.last["status"], end.last["code"]) == (413, "too_large")
        assert await api.events(recording_id) == sent


async def test_an_event_over_its_limit_is_set_aside_and_the_socket_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path, event_bytes_max=2048) as daemon, visiting(daemon) as api:
        recording_id, sent = new_id(), some_events(3)
        socket = await api.socket(recording_id)
        await socket.send_text(sent[0], an_event(1, text="x" * 3000), *sent[1:])
        end = await socket.finish()
        assert (end.code, end.last) == (1000, RESULT | {"final": True} | counts(3, quarantined=1))
        assert await api.events(recording_id) == sent


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"contentEncoding": "lzma"}, 415, "unsupported_type"),
        ({"contentType": "text/html"}, 415, "unsupported_type"),
        ({"key": "wrong"}, 401, "unauthenticated"),
    ],
)
async def test_an_upgrade_that_cannot_be_served_is_refused_in_json(
    api: Api, query: dict[str, Any], status: int, code: str
) -> None:
    with pytest.raises(Refused) as refused:
        await api.socket(new_id(), **query)
    assert refusal(refused) == (status, code)


async def test_an_upgrade_on_the_plain_path_is_refused_at_once(api: Api) -> None:
    recording_id = new_id()
    with pytest.raises(Refused) as refused:
        await api.socket(None, path=f"/recordings/{recording_id}/events")
    assert refusal(refused) == (400, "not_a_socket_path")
    with pytest.raises(Refused) as refused:
        await api.socket(None, path=f"/recordings/{recording_id}/ingest")
    assert refusal(refused)[0] in {404, 405}


@pytest.mark.parametrize("name", ["ingest", "events"])
async def test_a_socket_path_without_an_upgrade_says_what_to_do(api: Api, name: str) -> None:
    reply = await api.get(f"/recordings/{new_id()}/{name}/ws")
    assert (reply.status, reply.error["code"]) == (400, "not_a_websocket")


async def test_an_id_of_another_form_is_refused(api: Api) -> None:
    with pytest.raises(Refused) as refused:
        await api.socket("not-a-uuid")
    assert refusal(refused) == (400, "bad_recording_id")


async def test_sockets_beyond_the_limit_are_refused_until_one_closes(tmp_path: Path) -> None:
    async with running(tmp_path, sockets_max=2) as daemon, visiting(daemon) as api:
        first, second = await api.socket(new_id()), await api.socket(new_id())
        with pytest.raises(Refused) as refused:
            await api.socket(new_id())
        assert refusal(refused) == (503, "too_many_sockets")
        await first.finish()
        await until(lambda: len(daemon.services.sockets) < 2, what="the place to be free")
        await (await api.socket(new_id())).finish()
        await second.finish()


# How long it stays


async def test_an_idle_socket_is_pinged_and_stays_open_whether_it_answers_or_not(tmp_path: Path) -> None:
    async with running(tmp_path, ping_interval_s=1) as daemon, visiting(daemon) as api:
        polite, silent = await api.socket(new_id()), await api.socket(new_id())
        for _ in range(2):
            await polite.next_ping()
            assert await silent.reader.readexactly(2) == bytes([0x89, 0])
        for socket in (polite, silent):
            await socket.send_text(*some_events(1))
            end = await socket.finish()
            assert (end.code, end.last["successful_rows"]) == (1000, 1)


async def test_a_ping_of_the_client_is_answered(api: Api) -> None:
    socket = await api.socket(new_id())
    socket.frame(9, b"are you there")
    assert await socket.reader.readexactly(15) == bytes([0x8A, 13]) + b"are you there"
    await socket.finish()


async def test_a_message_in_fragments_is_one_message(api: Api) -> None:
    recording_id, line = new_id(), an_event(1, text="ü" * 50)
    socket = await api.socket(recording_id)
    socket.frame(TEXT, line[:60], final=False)
    socket.frame(0, line[60:61], final=False)
    socket.frame(0, line[61:])
    assert (await socket.finish()).last["successful_rows"] == 1
    assert await api.events(recording_id) == [line]


async def test_many_sockets_write_to_one_recording(api: Api) -> None:
    recording_id = new_id()
    sent = [some_events(30, sender=sender) for sender in range(8)]

    async def send(lines: list[bytes]) -> None:
        socket: Socket = await api.socket(recording_id)
        await socket.send_text(*lines)
        assert (await socket.finish()).last["successful_rows"] == 30

    await asyncio.gather(*map(send, sent))
    found = await api.numbered(recording_id)
    assert sorted(number for number, _ in found) == list(range(1, 241))
    assert sorted(line for _, line in found) == sorted(line for lines in sent for line in lines)
    in_arrival = [line for _, line in sorted(found)]
    for lines in sent:
        assert [line for line in in_arrival if line in set(lines)] == lines


async def test_binary_messages_that_are_no_events_do_no_harm(api: Api) -> None:
    recording_id, sent = new_id(), some_events(1)
    socket = await api.socket(recording_id)
    socket.frame(BINARY, os.urandom(300).replace(b"\n", b"x"))
    socket.frame(BINARY, b"")
    await socket.send_text(*sent)
    end = await socket.finish()
    assert (end.code, end.last["successful_rows"]) == (1000, 1)
    assert await api.events(recording_id) == sent
