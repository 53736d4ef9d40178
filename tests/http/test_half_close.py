"""Half-closing: a connection that its client has reset is no fault of ours, on either loop."""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import cast

import pytest
import uvloop

from rrd.http.half_close import half_close

RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close(2) sends a reset.


class _Held(asyncio.Protocol):
    """The server's end of a connection."""

    def __init__(self) -> None:
        self.transport: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport.set_result(cast(asyncio.Transport, transport))


async def _half_close_after_reset() -> list[str]:
    loop = asyncio.get_running_loop()
    complaints: list[str] = []
    loop.set_exception_handler(lambda _, context: complaints.append(str(context)))
    held = _Held()
    server = await loop.create_server(lambda: held, "127.0.0.1", 0)
    client = socket.create_connection(server.sockets[0].getsockname())
    transport = await held.transport
    transport.pause_reading()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()  # Nothing reads, so the loop has not heard of it.
    half_close(transport)
    half_close(transport)
    transport.abort()
    half_close(transport)
    server.close()
    await asyncio.sleep(0)
    return complaints


@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def test_a_connection_that_was_reset_is_left_as_it_is(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(_half_close_after_reset()) == []


async def test_a_connection_that_is_gone_or_closing_is_written_no_end() -> None:
    ends: list[str] = []

    class Closing(asyncio.Transport):
        def is_closing(self) -> bool:
            return True

        def write_eof(self) -> None:
            ends.append("written")

    half_close(None)
    half_close(Closing())
    assert ends == []
