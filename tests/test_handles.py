"""Few file handles: storage has its own, and connections beyond what is left are told so."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import resource
import uuid
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.config import Config
from rrd.handles import share_out
from tests.harness import DEADLINE_S, DaemonProcess, Launch

_FIXED_AND_USED = 120


@pytest.fixture(autouse=True)
def _handles_of_our_own() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, before[1]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@given(
    handles_max=st.integers(256, 200_000),
    sockets_max=st.integers(1, 100_000),
    open_segments_max=st.integers(16, 10_000),
    in_use=st.integers(3, 40),
)
def test_all_shares_together_are_never_more_than_there_are(
    handles_max: int, sockets_max: int, open_segments_max: int, in_use: int
) -> None:
    config = Config(sockets_max=sockets_max, open_segments_max=open_segments_max)
    shares = share_out(config, handles_max, in_use=in_use)
    storage = 2 * shares.open_segments_max
    assert in_use + storage + 2 * shares.backlog + shares.connections_max <= handles_max
    assert 1 <= shares.sockets_max <= sockets_max
    assert shares.sockets_max < shares.connections_max
    assert 16 <= shares.open_segments_max <= open_segments_max
    if handles_max >= 2 * (sockets_max + open_segments_max) + 10_000:
        assert (shares.sockets_max, shares.open_segments_max) == (sockets_max, open_segments_max)


async def _send_one(session: aiohttp.ClientSession, url: str, number: int) -> tuple[str, object]:
    """Open a socket for a recording of its own, send one event, and return how it went; the socket stays."""
    address = f"{url}/recordings/{uuid.UUID(int=number + 1, version=4)}/ingest/ws?ack=true"
    try:
        socket = await session.ws_connect(address)
    except aiohttp.WSServerHandshakeError as error:
        return "refused", error.status
    await socket.send_json({"type": 5, "timestamp": 1_700_000_000_000 + number, "data": {"n": number}})
    async for message in socket:
        told = json.loads(message.data)
        if told["type"] != "ready":
            return str(told["type"]), socket
    return "closed", socket.close_code


def _upgraded_are_acked(outcomes: list[tuple[str, object]]) -> int:
    kinds = {kind for kind, _ in outcomes}
    assert kinds <= {"upstream-result", "refused"}, [
        each for each in outcomes if each[0] not in {"upstream-result", "refused"}
    ][:3]
    assert {status for kind, status in outcomes if kind == "refused"} <= {503}
    return sum(kind == "upstream-result" for kind, _ in outcomes)


@pytest.mark.parametrize(("handles_max", "sockets"), [(512, 600), (320, 400), (1024, 1100)])
async def test_every_socket_that_is_upgraded_can_store_and_others_hear_503(
    tmp_path: Path, handles_max: int, sockets: int
) -> None:
    rrd = DaemonProcess(tmp_path, Launch(handles_max=handles_max))
    key = rrd.key()
    with rrd:
        headers = {"Authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as session:
            outcomes = await asyncio.gather(*(_send_one(session, rrd.url, n) for n in range(sockets)))
            acked = _upgraded_are_acked(outcomes)
            told = re.search(r"few_file_handles .*sockets_max=(\d+)", rrd.log())
            assert told is not None
            # One key gets nine tenths of them.
            assert 0.85 * int(told[1]) <= acked <= int(told[1])
            async with session.get(f"{rrd.url}/recordings?limit=1") as answer:
                assert answer.status == 200
        log = await asyncio.to_thread(rrd.wait_for_log, "code=too_many_")
        assert "LimitNOFILE" in log
        assert await asyncio.to_thread(rrd.stop) == 0
        with_all = DaemonProcess(tmp_path)
        with with_all:
            async with aiohttp.ClientSession(headers=headers) as session:
                for number, (kind, _) in enumerate(outcomes):
                    address = f"{with_all.url}/recordings/{uuid.UUID(int=number + 1, version=4)}/events"
                    if kind == "upstream-result" and number % 10 == 0:
                        async with session.get(address) as answer:
                            assert len(await answer.json()) == 1


@pytest.mark.parametrize("silent", [300, 1_000])
async def test_silent_connections_take_no_handle_that_storage_needs(tmp_path: Path, silent: int) -> None:
    rrd = DaemonProcess(tmp_path, Launch(handles_max=256))
    key = rrd.key()
    with rrd:
        async with contextlib.AsyncExitStack() as stack:
            session = await stack.enter_async_context(
                aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"})
            )
            sockets = [
                await session.ws_connect(f"{rrd.url}/recordings/{uuid.uuid4()}/ingest/ws?ack=true")
                for _ in range(10)
            ]
            opened = await asyncio.gather(
                *(asyncio.open_connection("127.0.0.1", rrd.port) for _ in range(silent)),
            )
            for socket in sockets:
                await socket.send_json({"type": 5, "timestamp": 1_700_000_000_000, "data": {}})
            for socket in sockets:
                while (told := json.loads((await socket.receive(timeout=20)).data))["type"] == "ready":
                    pass
                assert told["type"] == "upstream-result"
            heard = [await asyncio.wait_for(reader.readline(), 20) for reader, _ in opened[-20:]]
            assert {line[:12] for line in heard} == {b"HTTP/1.1 503"}
            for _, writer in opened:
                writer.close()
        assert "too_many_connections" in rrd.log()
        assert await asyncio.to_thread(rrd.stop) == 0


async def test_there_is_room_again_when_connections_have_gone(tmp_path: Path) -> None:
    rrd = DaemonProcess(tmp_path, Launch(handles_max=256))
    key = rrd.key()
    with rrd:
        opened = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", rrd.port) for _ in range(400)))
        for _, writer in opened:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in opened), return_exceptions=True)
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
            # The ends of those that waited to be taken are seen in the daemon's own time.
            async with asyncio.timeout(DEADLINE_S):
                while (await _send_one(session, rrd.url, 0))[0] == "refused":
                    pass
            kinds = [await _send_one(session, rrd.url, number) for number in range(1, 50)]
        assert {kind for kind, _ in kinds} == {"upstream-result"}
