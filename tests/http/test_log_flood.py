"""What strangers do fills no log, and leaves neither their addresses nor what they sent in it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import DEADLINE_S, DaemonProcess

STRANGER = "127.66.77.88"
FORWARDED = ("203.0.113.77", "2001:db8:17::feed")
SECRET = "zz-hunter2-of-a-stranger"
TIMES = 100
RECORDING = "0f0e0d0c-0b0a-4908-8706-050403020100"

_HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: rrd.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: {version}\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    f"X-Forwarded-For: {FORWARDED[0]}, {FORWARDED[1]}\r\n"
    "{more}\r\n"
)
_POST = (
    "POST /recordings/{recording}/ingest?token={token} HTTP/1.1\r\nHost: rrd.test\r\n"
    f"X-Forwarded-For: {FORWARDED[0]}\r\n"
    "{more}\r\n"
)


def _socket(token: str, frames: bytes = b"", *, version: int = 13, more: str = "") -> bytes:
    path = f"/recordings/{RECORDING}/ingest/ws?token={token}"
    return _HANDSHAKE.format(path=path, version=version, more=more).encode() + frames


def _post(token: str, more: str = "", body: bytes = b"") -> bytes:
    return _POST.format(recording=RECORDING, token=token, more=more).encode() + body


def _frame(first: int, data: bytes) -> bytes:
    """A masked frame with a mask of zeros (RFC 6455, 5.2)."""
    return bytes([first, 0x80 | len(data)]) + bytes(4) + data


SENT: dict[str, Callable[[str], bytes]] = {
    "no HTTP": lambda _: f"\x16\x03\x01 {STRANGER} {SECRET}\r\n\r\n".encode(),
    "no method": lambda _: f"{SECRET}@{STRANGER} / HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    "a version that is not spoken": lambda _: f"GET /?token={SECRET} HTTP/3.0\r\n\r\n".encode(),
    "a bad header": lambda _: f"GET / HTTP/1.1\r\n{STRANGER} {SECRET}: no\x01\r\n\r\n".encode(),
    "a head too large": lambda _: b"GET / HTTP/1.1\r\nCookie: " + SECRET.encode() * 3000 + b"\r\n\r\n",
    "a path that is not there": lambda _: f"GET /no?token={SECRET} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    "an expectation": lambda key: _post(key, "Expect: more\r\nContent-Length: 1\r\n", b"x"),
    "a wrong key": lambda _: _post(SECRET, "Content-Length: 1\r\n", b"x"),
    "a wrong key in a header": lambda _: _post(
        SECRET, f"Authorization: Bearer {SECRET}\r\nContent-Length: 0\r\n"
    ),
    "a bad length": lambda key: _post(key, f"Content-Length: {SECRET}\r\n"),
    "a bad chunk": lambda key: _post(key, "Transfer-Encoding: chunked\r\n", f"{SECRET}\r\n".encode()),
    "a body that ends early": lambda key: _post(key, "Content-Length: 99\r\n", SECRET.encode()),
    "a broken encoding": lambda key: _post(
        key, "Content-Encoding: gzip\r\nContent-Length: 24\r\n", SECRET.encode()
    ),
    "junk": lambda key: _post(key, "Content-Length: 24\r\n", SECRET.encode()),
    "a handshake without a key": lambda _: _socket(SECRET),
    "a handshake of another version": lambda key: _socket(key, version=7),
    "subprotocols": lambda key: _socket(key, more=f"Sec-WebSocket-Protocol: {SECRET}, a{STRANGER}\r\n"),
    "a bad extension": lambda key: _socket(
        key, more=f"Sec-WebSocket-Extensions: permessage-deflate; {SECRET}\r\n"
    ),
    "a frame of a kind that is not": lambda key: _socket(key, _frame(0x83, SECRET.encode())),
    "a frame with a reserved bit": lambda key: _socket(key, _frame(0xF1, SECRET.encode())),
    "text that is no UTF-8": lambda key: _socket(key, _frame(0x81, b"\xff" + SECRET.encode())),
    "a bad closing code": lambda key: _socket(key, _frame(0x88, b"\x00\x01" + SECRET.encode())),
    "half a frame": lambda key: _socket(key, _frame(0x81, SECRET.encode())[:9]),
    "junk over a socket": lambda key: _socket(key, _frame(0x81, SECRET.encode())),
    "an upgrade and a body": lambda key: _socket(key, more="Content-Length: 9\r\n"),
}


async def _send(port: int, data: bytes, *, resets: bool) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(STRANGER, 0))
    try:
        if resets:  # RST instead of FIN.
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.write(data)
        await writer.drain()
        if not resets:
            writer.write_eof()
            await reader.read(1 << 16)  # A stranger waits for no more than an answer.
    except ConnectionError:
        pass  # The daemon was faster.
    finally:
        writer.close()


@pytest.mark.parametrize("level", ["debug", pytest.param("info", marks=pytest.mark.slow)])
def test_what_strangers_do_fills_no_log_and_leaves_no_trace_of_them(tmp_path: Path, level: str) -> None:
    with DaemonProcess(tmp_path, log_level=level) as daemon:
        key = daemon.key("ingest")
        bounds = {}
        for name, make in SENT.items():
            before = len(daemon.log())

            async def attack(data: bytes) -> None:
                for start in range(0, TIMES, 20):
                    await asyncio.gather(
                        *(
                            _send(daemon.port, data, resets=bool(number % 4))
                            for number in range(start, start + 20)
                        )
                    )

            asyncio.run(asyncio.wait_for(attack(make(key)), DEADLINE_S))
            bounds[name] = len(daemon.log()) - before
        daemon.stop()
        text = daemon.log()
    print(bounds)
    told = "\n".join(line for line in text.splitlines() if " listening " not in line)
    for trace in (STRANGER, *FORWARDED, SECRET, SECRET[3:10], key, "Traceback"):
        assert trace not in told
    assert max(bounds.values()) < 16 << 10, bounds
