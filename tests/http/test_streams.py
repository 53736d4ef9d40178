"""Streams of permessage-deflate close and open between messages, and nothing of what was sent shows it."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import tracemalloc
import zlib
from collections.abc import Sequence
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.ceiling import DECODING_THREADS
from rrd.errors import BrokenEncoding
from rrd.http.deflate import LARGE_BYTES, MessageInflater, Unfinished
from rrd.http.streams import STREAM_BYTES, Streams
from rrd.http.windows import WINDOW_BYTES
from rrd.shares.queue import Who
from rrd.wire.turns import QUICK_BYTES
from tests.harness import LocalDaemon, until
from tests.http.api import Api
from tests.http.raw_client import BINARY, TEXT
from tests.samples import new_id, some_events
from tests.thoroughness import examples

End = Literal["sync", "final", "kept", "stored"]
"""How messages end: flushed, by a last block after which the window goes on or not, stored and flushed."""

_LEVELS = {"sync": 6, "final": 6, "kept": 6, "stored": 0}
_MIB = 1 << 20
HELD_BYTES = STREAM_BYTES + 2 * WINDOW_BYTES + WINDOW_BYTES // 8
"""What an open stream of ISA-L holds, with what is kept beside."""


class Sender:
    """Compresses messages, each with the window of those before it, or without (RFC 7692, 7.1)."""

    def __init__(self, end: End = "sync", *, window_bits: int = 15, takes_over: bool = True) -> None:
        self._end = end
        self._bits = window_bits
        self._takes_over = takes_over
        self._sent = b""
        self._stream = self._new()

    def _new(self) -> zlib._Compress:
        window = self._sent[-(1 << self._bits) :] if self._takes_over and self._end == "kept" else b""
        if window:
            return zlib.compressobj(_LEVELS[self._end], wbits=-self._bits, zdict=window)
        return zlib.compressobj(_LEVELS[self._end], wbits=-self._bits)

    def message(self, plain: bytes) -> bytes:
        is_last = self._end in {"final", "kept"}
        self._sent = (self._sent + plain)[-WINDOW_BYTES:]
        payload = self._stream.compress(plain) + self._stream.flush(
            zlib.Z_FINISH if is_last else zlib.Z_SYNC_FLUSH
        )
        if is_last or not self._takes_over:
            self._stream = self._new()
        return payload + b"\0" if is_last else payload.removesuffix(b"\x00\x00\xff\xff")


def whole(inflater: MessageInflater, payload: bytes) -> bytes:
    plain = inflater.inflate(payload)
    if isinstance(plain, bytes):
        return plain
    while (message := plain.step()) is None:
        pass
    return message


def page(size: int, *, seed: int = 0) -> bytes:
    """Return text as a page has it."""
    words = b"".join(b"<li class='item-%d'>%d</li>" % (seed, word) for word in range(size // 20 + 1))
    return words[:size]


def noise(size: int, *, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


_sizes = st.one_of(
    st.integers(0, 3000),
    st.integers(WINDOW_BYTES - 3, WINDOW_BYTES + 3),
    st.sampled_from([60_000, 200_000, 600_000, 1_500_000]),
)
_texts = st.tuples(st.sampled_from([page, noise]), _sizes, st.integers(0, 2))
_pauses = st.sampled_from(["none", "close", "pack", "close, pack"])


@given(
    end=st.sampled_from(list(_LEVELS)),
    window_bits=st.integers(9, 15),
    takes_over=st.booleans(),
    is_agreed=st.booleans(),
    large_bytes=st.sampled_from([0, 20, 200, LARGE_BYTES, 10_000, 10 * _MIB]),
    messages=st.lists(st.tuples(_texts, _pauses), min_size=1, max_size=8),
)
@settings(max_examples=examples(400), deadline=None)
def test_a_stream_goes_on_from_its_window_wherever_it_was_closed(
    end: End,
    window_bits: int,
    takes_over: bool,
    is_agreed: bool,
    large_bytes: int,
    messages: list[tuple[tuple[object, int, int], str]],
) -> None:
    """Nor does it show which library inflates which message, nor that it knows how far back they refer."""
    sender = Sender(end, window_bits=window_bits, takes_over=takes_over)
    inflater = MessageInflater(
        message_bytes_max=4 * _MIB,
        window_bytes=(1 << window_bits if takes_over else 0) if is_agreed else WINDOW_BYTES,
        large_bytes=large_bytes,
    )
    for (make, size, seed), pause in messages:
        plain = make(size, seed=seed)  # type: ignore[operator]
        assert whole(inflater, sender.message(plain)) == plain
        assert inflater.inflate(b"") == b""
        if "close" in pause:
            inflater.close()
        if "pack" in pause:
            inflater.pack()


@pytest.mark.parametrize("before_bytes", [0, 100_000])
@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(b"\x00\xff\xff\x00\x00abc", id="inside a stored block"),
        pytest.param(zlib.compressobj(wbits=-15, level=9).compress(noise(300_000))[:50_000], id="cut off"),
    ],
)
def test_a_message_that_ends_inside_a_block_is_damaged_at_the_next_at_latest(
    before_bytes: int, damaged: bytes
) -> None:
    sender, inflater = Sender(), MessageInflater(message_bytes_max=_MIB)
    whole(inflater, sender.message(page(before_bytes)))
    try:
        whole(inflater, damaged)
    except BrokenEncoding:
        return
    inflater.pack()
    with pytest.raises(BrokenEncoding):
        whole(inflater, sender.message(page(1000)))


@pytest.mark.parametrize("large_bytes", [0, _MIB], ids=["ISA-L", "zlib"])
@pytest.mark.parametrize("plain_bytes", [10, 3_000_000])
def test_without_windows_that_go_on_a_message_stands_by_itself(plain_bytes: int, large_bytes: int) -> None:
    def receiver() -> MessageInflater:
        return MessageInflater(message_bytes_max=4 * _MIB, window_bytes=0, large_bytes=large_bytes)

    sender, going_on = Sender(takes_over=False), Sender()
    plain, inflater = page(plain_bytes), receiver()
    for _ in range(3):
        assert whole(inflater, sender.message(plain)) == plain
        assert inflater._stream is None
        assert inflater._window.content() == b""
    known = noise(1000)
    assert whole(inflater, going_on.message(known)) == known
    with pytest.raises(BrokenEncoding):
        whole(inflater, going_on.message(known))
    with pytest.raises(BrokenEncoding):  # It ends inside a stored block, and no other message would tell.
        whole(receiver(), b"\x00\xff\xff\x00\x00abc")


@pytest.mark.parametrize("large_bytes", [0, _MIB], ids=["ISA-L", "zlib"])
@pytest.mark.parametrize("pause", [False, True])
def test_what_refers_farther_back_than_was_agreed_on_is_damaged(pause: bool, large_bytes: int) -> None:
    sender, known = Sender(), noise(1000)
    inflater = MessageInflater(message_bytes_max=_MIB, window_bytes=8 << 10, large_bytes=large_bytes)
    whole(inflater, sender.message(known + noise(15_000, seed=2)))
    if pause or not large_bytes:  # An open stream of ISA-L knows 32 KiB.
        inflater.pack()
    with pytest.raises(BrokenEncoding):
        whole(inflater, sender.message(known))


def _inflaters(count: int, streams: Streams) -> list[tuple[Sender, MessageInflater]]:
    return [(Sender(), MessageInflater(message_bytes_max=4 * _MIB, streams=streams)) for _ in range(count)]


def test_no_more_streams_are_open_than_may_be_and_all_go_on() -> None:
    streams = Streams(open_bytes_max=4 * HELD_BYTES)
    pairs = _inflaters(20, streams)
    for turn in range(6):
        for number, (sender, inflater) in enumerate(pairs):
            plain = page(30_000, seed=number * turn)
            assert whole(inflater, sender.message(plain)) == plain
            assert streams.open_count <= 4


def test_sockets_that_take_turns_do_not_close_each_others_streams() -> None:
    streams = Streams(open_bytes_max=10 * HELD_BYTES)
    pairs = _inflaters(40, streams)
    settled: Sequence[object] = []
    for turn in range(3):
        for sender, inflater in pairs:
            assert whole(inflater, sender.message(b"%d" % turn)) == b"%d" % turn
        now_open: list[object] = [inflater._stream for _, inflater in pairs[:5]]
        assert None not in now_open
        assert settled in ([], now_open)
        settled = now_open


def test_what_takes_long_stays_open_and_is_no_hindrance() -> None:
    streams = Streams(open_bytes_max=2 * HELD_BYTES)
    (sender, slow), *others = _inflaters(6, streams)
    plain = page(3_000_000)
    work = slow.inflate(sender.message(plain))
    assert isinstance(work, Unfinished)
    assert work.held_bytes >= STREAM_BYTES
    for other_sender, other in others:
        assert whole(other, other_sender.message(b"x" * 1000)) == b"x" * 1000
    asyncio.run(_sweep(streams, 3))
    while (inflated := work.step()) is None:
        pass
    assert inflated == plain
    assert whole(slow, sender.message(plain[-5000:])) == plain[-5000:]
    assert streams.open_count == 1


async def _sweep(streams: Streams, times: int = 2) -> None:
    for _ in range(times):
        await streams.sweep()


@pytest.mark.parametrize(("make", "bytes_max"), [(page, 6 << 10), (noise, WINDOW_BYTES + (4 << 10))])
@pytest.mark.parametrize("sizes", [[100], [50_000], [240_000], [600_000], [240_000, 1000, 10]])
def test_an_idle_socket_holds_its_window_at_most(make: object, bytes_max: int, sizes: list[int]) -> None:
    count, streams = 8, Streams()
    pairs = [(Sender(), MessageInflater(message_bytes_max=4 * _MIB, streams=streams)) for _ in range(count)]
    payloads = [[sender.message(make(size)) for size in sizes] for sender, _ in pairs]  # type: ignore[operator]
    gc.collect()
    tracemalloc.start()
    for (_, inflater), messages in zip(pairs, payloads, strict=True):
        for payload in messages:
            whole(inflater, payload)
    asyncio.run(_sweep(streams))
    gc.collect()
    held = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/rrd/http/*")])
    tracemalloc.stop()
    held_bytes = sum(each.size for each in held.statistics("filename"))
    assert held_bytes > 0
    assert held_bytes / count <= min(bytes_max, sum(sizes) + (4 << 10))
    assert streams.open_count == 0


def test_a_quiet_socket_in_use_holds_its_window_and_little_else() -> None:
    count, streams, sender = 64, Streams(open_bytes_max=1), Sender(window_bits=13)
    inflaters = [
        MessageInflater(message_bytes_max=_MIB, streams=streams, window_bytes=8 << 10) for _ in range(count)
    ]
    payloads = [sender.message(page(300, seed=number)) for number in range(250)]
    gc.collect()
    tracemalloc.start()
    for payload in payloads:
        for inflater in inflaters:
            whole(inflater, payload)
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held_bytes / count < (8 << 10) + (2 << 10)


def test_a_stream_that_is_used_stays_open() -> None:
    streams = Streams()
    (sender, inflater), (idle_sender, idle) = _inflaters(2, streams)
    whole(idle, idle_sender.message(b"once"))
    for number in range(5):
        whole(inflater, sender.message(b"%d" % number))
        asyncio.run(_sweep(streams, 1))
    assert streams.open_count == 1


def test_streams_of_sockets_that_are_gone_are_let_go() -> None:
    streams = Streams()
    pairs = _inflaters(8, streams)
    for sender, inflater in pairs:
        whole(inflater, sender.message(b"x"))
    assert streams.open_count == 8
    del pairs, inflater
    gc.collect()
    assert streams.open_count == 0


# Over a socket


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("fragments", [1, 3])
async def test_a_socket_goes_on_after_it_was_idle(
    daemon: LocalDaemon, api: Api, opcode: int, fragments: int
) -> None:
    recording_id, sender = new_id(), Sender()
    sent = [line for number in range(4) for line in some_events(2, start=number, text="x" * 40_000)]
    socket = await api.socket(recording_id, deflate=True)
    for number, line in enumerate(sent):
        payload = sender.message(line)
        step = len(payload) // fragments + 1
        pieces = [payload[start : start + step] for start in range(0, len(payload), step)]
        for place, piece in enumerate(pieces):
            is_last = place == len(pieces) - 1
            socket.frame(opcode if place == 0 else 0, piece, final=is_last, compressed=place == 0)
        await api.stored(recording_id, number + 1)
        await _sweep(daemon.services.streams)
        assert daemon.services.streams.open_count == 0
    farewell = await socket.finish()
    assert (farewell.code, farewell.last["successful_rows"]) == (1000, len(sent))
    assert await api.events(recording_id) == sent


@pytest.mark.parametrize("plain", [page(3_000_000), noise(300_000).hex().encode()], ids=["dense", "large"])
async def test_messages_that_wait_for_a_thread_count_with_all_they_hold(
    daemon: LocalDaemon, api: Api, plain: bytes
) -> None:
    recordings, (line,) = [new_id() for _ in range(3)], some_events(1, text=plain.decode())
    sockets = [await api.socket(recording_id, deflate=True) for recording_id in recordings]
    services, payload, held = daemon.services, Sender().message(line), STREAM_BYTES
    waits = threading.Event()
    try:
        # Each thread is kept busy, for tenants of their own: one may not have all.
        busy = [
            services.decoding_threads.lane(Who(f"busy-{number}", "")).submit(waits.wait)
            for number in range(DECODING_THREADS)
        ]
        for socket in sockets:
            socket.frame(TEXT, payload, compressed=True)
        held += len(payload) if len(payload) > 64 << 10 else QUICK_BYTES
        await until(lambda: services.unfinished.held_bytes >= held * len(sockets), what="all to be counted")
        assert not any(work.done() for work in busy)
    finally:
        waits.set()
    for recording_id in recordings:
        assert await api.stored(recording_id, 1) == [line]
    await until(lambda: services.unfinished.held_bytes == 0, what="nothing to be counted")


async def test_what_is_said_on_a_socket_is_not_compressed(api: Api) -> None:
    socket = await api.socket(new_id(), deflate=True, ack="true")
    await socket.send_text(*some_events(1))
    assert (await socket.reader.readexactly(1))[0] == 0x80 | TEXT  # RSV1 is not set (RFC 7692, 6).
