"""Frames of every size and kind are parsed a bounded number in a turn of the event loop, and in order."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import socket
import struct
import sys
import termios
import time
import zlib
from typing import Any, cast

import pytest
from aiohttp import WSMsgType
from aiohttp.base_protocol import BaseProtocol

from rrd.http.beat import KERNEL_BYTES
from rrd.http.budget import Budget
from rrd.http.deflate import Unfinished
from rrd.http.frames import FrameReader
from rrd.http.hold import Reservation
from rrd.http.runs import MARK, Runs
from tests.http.api import Api
from tests.http.raw_client import BINARY, CLOSE, PING, PONG, TEXT
from tests.samples import an_event, dump, meta_event, new_id, some_events

KIB, MIB = 1 << 10, 1 << 20
READ_BYTES = 256 * KIB
"""What one read of a connection brings at most."""

RUN_BYTES = 256 * KIB
FRAMES_IN_A_TURN_MAX = 9000
"""Some 10 ms: two runs of 4,096 messages each, or two marks' fragments."""

CONTINUATION, FIN, COMPRESSED = 0, 0x80, 0x40

BLOCKS_OF_CODES = bytes.fromhex(
    "04c081000000000010ffd524000e040000000080f8af260170200000000000c47f35098003010000000020feab49"
    "001c080000000000f15f4d02e040000000000088ff6a120007020000000040fc57930038100000000000e2bf9a"
)
"""Eight blocks that give codes of their own (RFC 1951, 3.2.7), and end: 91 bits each, 1 µs."""


class Counting(FrameReader):
    """Counts the frames that it handles."""

    count = 0

    def _handle_frame(self, fin: bool, opcode: int, payload: bytes | bytearray, compressed: int) -> None:
        Counting.count += 1
        super()._handle_frame(fin, opcode, payload, compressed)


def reader_of(kind: type[FrameReader] = FrameReader) -> tuple[Runs, FrameReader]:
    protocol = BaseProtocol(asyncio.get_running_loop())
    protocol._upgraded = True
    runs = Runs(protocol, RUN_BYTES)
    runs.on_first = lambda: None
    hold = Reservation(Budget(64 * MIB))
    return runs, kind(runs, 64 * MIB, compress=True, transport=None, hold=hold)


def deflated(text: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


def frame(first: int, payload: bytes = b"") -> bytes:
    assert len(payload) < 126
    return bytes((first, len(payload))) + payload


FLOODS = {
    "empty text": [frame(FIN | TEXT)],
    "text of a byte": [frame(FIN | TEXT, b"x")],
    "empty binary": [frame(FIN | BINARY)],
    "pings": [frame(FIN | PING)],
    "pongs": [frame(FIN | PONG)],
    "closes": [frame(FIN | CLOSE)],
    "empty fragments": [frame(CONTINUATION)],
    "fragments of a byte": [frame(CONTINUATION, b"x")],
    "pairs of fragments": [frame(TEXT), frame(FIN | CONTINUATION)],
    "fragments and pings": [frame(CONTINUATION), frame(FIN | PING)],
    "empty, compressed": [frame(FIN | COMPRESSED | TEXT, b"\x00")],
    "last blocks": [frame(FIN | COMPRESSED | TEXT, b"\x03\x00")],
    "dense": [frame(FIN | COMPRESSED | TEXT, deflated(b" " * 16 * KIB))],
    "fragments, compressed": [frame(COMPRESSED | TEXT, b"\x00"), frame(FIN | CONTINUATION)],
    "blocks of codes": [frame(FIN | COMPRESSED | TEXT, BLOCKS_OF_CODES + b"\x00")],
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_one_read_of_tiny_frames_is_parsed_in_turns(flood: str) -> None:
    runs, frames = reader_of(Counting)
    part = b"".join(FLOODS[flood])
    count = READ_BYTES // len(part) * len(FLOODS[flood])
    is_begun = part[0] == CONTINUATION
    Counting.count = 0
    frames.feed_data(frame(TEXT) * is_begun + part * (READ_BYTES // len(part)))
    turns = [Counting.count]
    while runs.has_waiting:
        await runs.read()  # Each may bring more, and behind each the receiver may give others a turn.
        turns.append(Counting.count)
        runs.hand_out()
    assert Counting.count == count + is_begun, "all of it is parsed in the end"
    parsed = [limit - start for start, limit in itertools.pairwise([0, *turns])]
    assert max(parsed) <= FRAMES_IN_A_TURN_MAX
    if flood == "dense":
        assert max(parsed) * 16 * KIB <= 4 * RUN_BYTES
    if flood == "last blocks":
        assert max(parsed) <= 200
    if flood == "blocks of codes":
        assert max(parsed) * len(part) <= 80 * KIB


async def test_messages_that_stand_by_themselves_are_inflated_in_turns() -> None:
    runs, frames = reader_of(Counting)
    frames.window_bytes = 0
    Counting.count = 0
    part = frame(FIN | COMPRESSED | TEXT, b"\x00")
    frames.feed_data(part * (READ_BYTES // len(part)))
    while runs.has_waiting:
        before = Counting.count
        await runs.read()
        assert Counting.count - before <= 1100
        runs.hand_out()
    assert Counting.count == READ_BYTES // len(part)


async def test_a_long_message_that_comes_with_a_mark_counts_as_what_it_is() -> None:
    runs, frames = reader_of()
    part = frame(FIN | COMPRESSED | TEXT, BLOCKS_OF_CODES + b"\x00")
    payload = deflated(bytes(3 * MIB))
    long = bytes((FIN | COMPRESSED | TEXT, 126)) + len(payload).to_bytes(2, "big") + payload
    frames.feed_data(part * (64 * KIB // (len(part) - 2) + 1) + long)
    counted = []
    while runs.has_waiting:
        counted.append(runs.waiting_bytes)
        message: Any = await runs.read()
        if message is MARK or isinstance(message.data, Unfinished):
            runs.unstall()
    assert len(counted) == 3  # A run, the mark, and the message.
    assert counted[0] < 64 * KIB
    assert max(counted[1:]) < KIB
    assert runs.waiting_bytes == 0


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("in_fragments", [False, True])
async def test_what_is_long_to_inflate_is_left_to_the_receiver_and_nothing_overtakes_it(
    opcode: int, in_fragments: bool
) -> None:
    runs, frames = reader_of()
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    texts = [b"before", bytes(3 * MIB), b"behind", b"last"]
    data = b""
    for text in texts:
        payload = (packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
        if in_fragments:
            data += bytes((COMPRESSED | opcode, 0))
        first = FIN | (CONTINUATION if in_fragments else COMPRESSED | opcode)
        data += bytes((first, 126)) + len(payload).to_bytes(2, "big") + payload
    frames.feed_data(data)
    frames.feed_data(b"\x89\x00")  # Another read: it waits, too.
    found: list[bytes] = []
    while runs.has_waiting:
        message: Any = await runs.read()
        if message.type is WSMsgType.PING:
            break
        if isinstance(message.data, Unfinished):
            assert not runs.has_waiting
            assert not runs.messages
            while (plain := message.data.step()) is None:
                pass
            frames.go_on()
            runs.hand_out()
            found.append(plain)
        else:
            found += message.data if isinstance(message.data, list) else [message.data]
    assert found == texts


class _Transport:
    """What a reader asks of its connection's transport at the end."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def get_extra_info(self, name: str) -> Any:
        return self._end if name == "socket" else None


@pytest.mark.parametrize("size", [900, 16_000])
async def test_all_that_the_kernel_holds_at_the_end_is_received(size: int) -> None:
    """It may hold more than its buffer has room for, by a packet, where it has promised room before."""
    message = bytes((FIN | TEXT, 126)) + size.to_bytes(2, "big") + b"x" * size
    runs, frames = reader_of()
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    with ours, theirs:
        theirs.setblocking(False)
        ours.setblocking(False)
        for _ in range(3000):  # The faster it is read, the more room the kernel gives it.
            with contextlib.suppress(BlockingIOError):
                theirs.send(bytes(64 * KIB))
            with contextlib.suppress(BlockingIOError):
                while ours.recv(MIB):
                    pass
        await asyncio.sleep(0.05)
        with contextlib.suppress(BlockingIOError):
            while ours.recv(MIB):
                pass
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)
        left = 2 * MIB // len(message) * message
        end = time.monotonic() + 0.3
        while left and time.monotonic() < end:
            try:
                left = left[theirs.send(left[: len(message)]) :]
            except BlockingIOError:
                await asyncio.sleep(0.01)
        arrived = int.from_bytes(fcntl.ioctl(ours, termios.FIONREAD, bytes(4)), sys.byteorder)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()  # A reset: nothing more comes while it is read.
        frames.transport = cast(asyncio.Transport, _Transport(ours))
        frames.feed_eof()
    received = 0
    while frames.read_on():
        received += len(cast(Any, await runs.read()).data)
    assert arrived > KERNEL_BYTES
    assert received == arrived // len(message)


# Over a socket


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_messages_keep_their_order_around_one_that_inflates_in_a_thread(api: Api, opcode: int) -> None:
    recording_id = new_id()
    small, large = some_events(40), some_events(1, start=1_700_000_000_020, text="x" * 5 * MIB)
    sent = [*small[:20], *large, *small[20:]]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    socket = await api.socket(recording_id, deflate=True)
    for line in sent:
        text = line + b"\n" if opcode == BINARY else line
        payload = (packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
        socket.frame(opcode, payload, compressed=True)
    farewell = await socket.finish()
    assert farewell.last["successful_rows"] == len(sent)
    assert sorted(await api.events(recording_id)) == sorted(sent)


async def test_a_long_message_that_turns_out_damaged_is_told_and_what_came_before_is_stored(api: Api) -> None:
    recording_id, sent = new_id(), some_events(3)
    socket = await api.socket(recording_id, deflate=True)
    good = deflated(dump({"type": 3, "timestamp": 1, "data": "x" * 2 * MIB}))
    for line in sent:
        socket.frame(TEXT, line)
    socket.frame(TEXT, good + b"\x00\x00\xff\xff\x07", compressed=True)  # A block of no known type.
    farewell = await socket.finish()
    assert farewell.last["code"] == "broken_encoding"
    assert await api.events(recording_id) == sent


@pytest.mark.parametrize("names_recording", [True, False])
async def test_what_comes_before_the_recording_is_open_keeps_its_order(
    api: Api, names_recording: bool
) -> None:
    """A page sends many messages at once with its first, which may name the recording."""
    recording_id = new_id()
    # Of one time, so that they are read in the order in which they came.
    sent = [an_event(1_700_000_000_000, n=number) for number in range(3000)]
    path = "" if names_recording else "/ingest/ws"
    socket = await api.socket(recording_id, path=path)
    if not names_recording:
        socket.frame(TEXT, meta_event(1_700_000_000_000, recordingId=recording_id))
    for number, line in enumerate(sent):
        if number % 100 == 7:
            socket.frame(TEXT, line[:9], final=False)
            socket.frame(PING, b"?")
            socket.frame(CONTINUATION, line[9:])
        elif number % 70 == 3:
            socket.frame(BINARY, line + b"\n")
        else:
            socket.frame(TEXT, line)
    farewell = await socket.finish()
    assert farewell.last["successful_rows"] == len(sent) + (not names_recording)
    assert await api.events(recording_id) == sent
