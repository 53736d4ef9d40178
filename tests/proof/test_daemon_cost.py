"""What a request costs the daemon grows no faster than the request, by each way in.

Method: ``rrd serve`` as a process, one connection, and the processor time of all threads of the daemon from
before the first byte is sent until the answer is here. The harness watches its loop meanwhile. As with
decoding by itself (``tests.wire.test_cost``), figures are compared at growing sizes, and a row that is over
its bounds is measured again.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import ClientSession

from bench.daemon import cpu_s, peak_rss_bytes, rss_bytes
from tests.harness import DaemonProcess
from tests.http.api import JSON, NDJSON
from tests.http.raw_client import BINARY, TEXT, Connection, Socket
from tests.samples import new_id
from tests.wire.costs import COMPRESSIONS, EVENT, SHAPES, Cost, faults, least

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="processor time and memory are read from /proc"),
]

KIB = 1 << 10
TRIES = 3
REFUSED = (401, 403, 404, 429, 431, 503, 1006)
"""Answers that would say that there was no work to measure."""
SIZES = (64 * KIB, 128 * KIB, 256 * KIB)


class Target:
    """A daemon, and a key for all it does."""

    def __init__(self, process: DaemonProcess, key: str) -> None:
        self.process = process
        self.key = key

    @property
    def url(self) -> str:
        return self.process.url

    async def request(self, method: str, path: str, body: list[bytes], **headers: str) -> int:
        """Ask; the body is sent in pieces, chunked if there are several. Return the status."""
        connection = await Connection.open(self.url)
        size = {"Content-Length": str(len(body[0]))} if len(body) == 1 else {"Transfer-Encoding": "chunked"}
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.send_head(method, path, {"Authorization": f"Bearer {self.key}", **size, **told})
        if len(body) == 1:
            connection.writer.write(body[0])
        else:
            for at in range(0, len(body), 4096):
                pieces = body[at : at + 4096]
                connection.writer.write(b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces))
                await connection.writer.drain()
            connection.writer.write(b"0\r\n\r\n")
        reply = await connection.reply(method=method)
        await connection.hang_up()
        return reply.status


Send = Callable[[Target, int], Awaitable[object]]
"""Sends so many bytes, or asks for so much, and returns what was answered."""


def posted(shape: str, *, kind: str = NDJSON, compression: str = "plain", piece_bytes: int = 0) -> Send:
    encoding, compress = COMPRESSIONS[compression]

    async def send(target: Target, size: int) -> object:
        body = compress(SHAPES[shape](size))
        pieces = (
            [body[at : at + piece_bytes] for at in range(0, len(body), piece_bytes)]
            if piece_bytes
            else [body]
        )
        path = f"/recordings/{new_id()}/ingest"
        return await target.request("POST", path, pieces, Content_Type=kind, Content_Encoding=encoding)

    return send


def over_socket(
    shape: str,
    *,
    opcode: int = TEXT,
    compression: str = "plain",
    message_bytes: int = 0,
    frame_bytes: int = 0,
) -> Send:
    """``message_bytes``: of each message; 0: all is one. ``frame_bytes``: of each of its frames."""
    encoding, compress = COMPRESSIONS[compression]

    async def send(target: Target, size: int) -> object:
        query = f"token={target.key}" + (f"&contentEncoding={encoding}" if encoding != "identity" else "")
        socket = await Socket.upgrade(f"{target.url}/recordings/{new_id()}/ingest/ws?{query}")
        data = compress(SHAPES[shape](size))
        step = message_bytes or len(data)
        with contextlib.suppress(ConnectionError):  # Refused in the middle: as good an end as any.
            for at in range(0, len(data), step):
                _send_message(socket, opcode, data[at : at + step], frame_bytes or step)
                await socket.writer.drain()
        return (await socket.finish()).code

    return send


def _send_message(socket: Socket, opcode: int, message: bytes, frame_bytes: int) -> None:
    for at in range(0, len(message), frame_bytes):
        is_last = at + frame_bytes >= len(message)
        socket.frame(0 if at else opcode, message[at : at + frame_bytes], final=is_last)


def metadata(text: Callable[[int], bytes]) -> Send:
    async def send(target: Target, size: int) -> object:
        return await target.request("POST", f"/recordings/{new_id()}/meta", [text(size)], Content_Type=JSON)

    return send


def asked(query: Callable[[int], str], *, times: int = 20) -> Send:
    """One request is too little to measure."""

    async def send(target: Target, size: int) -> object:
        headers = {"Authorization": f"Bearer {target.key}"}
        async with ClientSession(headers=headers) as session:
            for _ in range(times):
                async with session.get(f"{target.url}/recordings?{query(size)}") as answer:
                    await answer.read()
        return answer.status

    return send


def flat(pair: bytes) -> Callable[[int], bytes]:
    return lambda size: b"{" + pair * (size // len(pair)) + b'"b":1}'


BODIES: dict[str, Send] = {
    "post-ndjson-blank": posted("blank"),
    "post-ndjson-empty-objects": posted("empty-objects"),
    "post-ndjson-endless-quotes": posted("endless-quotes"),
    "post-ndjson-run-together": posted("run-together"),
    "post-ndjson-run-together-gzip": posted("run-together", compression="gzip"),
    "post-ndjson-events-zstd-frames": posted("run-together-events", compression="zstd-frames"),
    "post-ndjson-blank-gzip-members": posted("blank", compression="gzip-members"),
    "post-json-brackets": posted("brackets-of-objects", kind=JSON),
    "post-json-wrappers": posted("brackets-of-wrappers", kind=JSON),
    "post-json-elements": posted("elements", kind=JSON),
    "post-json-nested-br": posted("nested", kind=JSON, compression="br"),
    "post-bytewise-blank": posted("blank", piece_bytes=1),
    "post-bytewise-json": posted("brackets-of-objects", kind=JSON, piece_bytes=1),
    "post-bytewise-gzip": posted("run-together-events", compression="gzip-members", piece_bytes=1),
    "socket-text-run-together": over_socket("run-together"),
    "socket-text-surrogates": over_socket("surrogates"),
    "socket-text-brackets": over_socket("brackets-of-objects"),
    "socket-tiny-messages": over_socket("brackets", message_bytes=4),
    "socket-frames-bytewise": over_socket("run-together-events", frame_bytes=1),
    "socket-binary-zstd-frames": over_socket("blank", opcode=BINARY, compression="zstd-frames"),
    "socket-binary-bytewise": over_socket("run-together-events", opcode=BINARY, message_bytes=1),
    "socket-binary-gzip-bytewise": over_socket(
        "run-together", opcode=BINARY, compression="gzip", message_bytes=1
    ),
    "meta-pairs": metadata(flat(b'"a":1,')),
    "meta-escaped-names": metadata(flat(rb'"\u0061":1,')),
    "meta-nested": metadata(lambda size: b'{"a":' + b"[" * (size // 2) + b"]" * (size // 2) + b"}"),
    "meta-brackets": metadata(SHAPES["brackets-of-objects"]),
}
QUERIES: dict[str, Send] = {
    # A head may have 32 KiB.
    "list-filters": asked(lambda size: "&".join(f"meta[k{number}]=1" for number in range(size // 20))),
    "list-equal-filters": asked(lambda size: "&".join(["meta[k]=1"] * (size // 14))),
    "list-escaped-filter": asked(lambda size: "meta[k]=" + "%41" * (size // 3)),
    "list-brackets": asked(lambda size: "meta[" + "[" * (size // 3) + "]=1"),
}


def _forget_peak(pid: int) -> None:
    """Let the peak of a process's memory begin anew (proc(5))."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


async def measured(send: Send, target: Target, size: int) -> Cost:
    pid = target.process.pid
    _forget_peak(pid)
    memory, began_s = rss_bytes(pid), cpu_s(pid)
    status = await send(target, size)
    print(f"{size} bytes: {status}")
    assert status not in REFUSED
    took_s = cpu_s(pid) - began_s
    return Cost(took_s, 0.0, peak_rss_bytes(pid) - memory)


async def check(send: Send, target: Target, sizes: tuple[int, ...]) -> None:
    await send(target, sizes[0] // 16)
    found = [await measured(send, target, size) for size in sizes]
    for _ in range(TRIES - 1):
        if not faults(sizes, found):
            break
        found = [
            least(cost, await measured(send, target, size)) for size, cost in zip(sizes, found, strict=True)
        ]
    print(*(f"{size:8} bytes: {cost}" for size, cost in zip(sizes, found, strict=True)), sep="\n")
    assert faults(sizes, found) == []


@contextlib.asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[Target]:
    process = DaemonProcess(directory, flush_age_ms=20)
    key = process.key()
    process.signing_key()
    with process:
        yield Target(process, key)


@pytest.mark.parametrize("name", BODIES)
async def test_what_is_sent_costs_in_proportion(name: str, tmp_path: Path) -> None:
    async with serving(tmp_path) as target:
        await check(BODIES[name], target, SIZES)


@pytest.mark.parametrize("name", QUERIES)
async def test_what_is_asked_costs_in_proportion(name: str, tmp_path: Path) -> None:
    async with serving(tmp_path) as target:
        await target.request("POST", f"/recordings/{new_id()}/ingest", [EVENT], Content_Type=NDJSON)
        await check(QUERIES[name], target, (6 * KIB, 12 * KIB, 24 * KIB))


@pytest.mark.parametrize("wanted", ["false", "true"])
async def test_a_list_costs_in_proportion_to_its_rows(wanted: str, tmp_path: Path) -> None:
    async with serving(tmp_path) as target:
        pairs = json.dumps({f"k{number}": "\u2028" * 1000 for number in range(20)}).encode()
        for _ in range(100):
            path = f"/recordings/{new_id()}"
            assert await target.request("POST", f"{path}/ingest", [EVENT], Content_Type=NDJSON) == 200
            assert await target.request("POST", f"{path}/meta", [pairs], Content_Type=JSON) == 200
        listed = asked(lambda rows: f"includeSignedUrls={wanted}&limit={rows}", times=10)
        assert await listed(target, 1) == 200
        await check(listed, target, (25, 50, 100))
