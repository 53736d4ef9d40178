"""permessage-deflate (RFC 7692): every way to end a message is taken, damage is told, size stays bounded."""

from __future__ import annotations

import os
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.errors import BrokenEncoding, TooLarge
from rrd.http.deflate import MessageInflater, Unfinished
from tests.harness import running, until
from tests.http.api import Api, visiting
from tests.http.raw_client import BINARY, TEXT
from tests.samples import new_id, some_events
from tests.thoroughness import examples

_WINDOW_BYTES = 32 << 10


class Deflater:
    """A sender that may end its blocks in each of the ways that RFC 7692 knows."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(wbits=-15)
        self._window = b""

    def block(self, data: bytes, end: str) -> bytes:
        """Compress ``data``. ``end``: "sync", "final" (BFINAL), or "kept" (BFINAL; the window goes on)."""
        self._window = (self._window + data)[-_WINDOW_BYTES:]
        packed = self._stream.compress(data)
        if end == "sync":
            return packed + self._stream.flush(zlib.Z_SYNC_FLUSH)
        packed += self._stream.flush(zlib.Z_FINISH)
        if end == "kept":
            self._stream = zlib.compressobj(wbits=-15, zdict=self._window)
        else:
            self._stream = zlib.compressobj(wbits=-15)
        return packed

    def message(self, blocks: list[tuple[bytes, str]], *, pads: bool = True, keeps: bool = False) -> bytes:
        """Return a payload: without the trailer (7.2.1), or with the octet behind a final block (7.2.3.4).

        zlib's own ``Z_FINISH`` doesn't write that octet; ``pads`` leaves it to the choice of the caller.
        ``keeps``: the sender forgets to take the trailer off.
        """
        payload = b"".join(self.block(data, end) for data, end in blocks)
        if blocks[-1][1] == "sync":
            return payload if keeps else payload.removesuffix(b"\x00\x00\xff\xff")
        return payload + b"\x00" if pads else payload


def whole(receiver: MessageInflater, payload: bytes) -> bytes:
    """Inflate a message to its end."""
    plain = receiver.inflate(payload)
    if isinstance(plain, bytes):
        return plain
    while (message := plain.step()) is None:
        pass
    return message


_texts = st.one_of(
    st.binary(max_size=300),
    st.integers(0, 400).map(lambda count: b'{"type":3,"data":{"source":2}}' * count),
    st.integers(0, 200).map(lambda count: os.urandom(8) * count),
)
_blocks = st.lists(st.tuples(_texts, st.sampled_from(["sync", "final", "kept"])), min_size=1, max_size=4)


@given(messages=st.lists(st.tuples(_blocks, st.booleans(), st.booleans()), min_size=1, max_size=6))
@settings(max_examples=examples(400), deadline=None)
def test_whatever_ends_its_blocks_a_message_inflates(
    messages: list[tuple[list[tuple[bytes, str]], bool, bool]],
) -> None:
    sender, receiver = Deflater(), MessageInflater(message_bytes_max=1 << 20)
    for blocks, pads, keeps in messages:
        plain = b"".join(data for data, _ in blocks)
        assert whole(receiver, sender.message(blocks, pads=pads, keeps=keeps)) == plain
        assert receiver.inflate(b"") == b""


@pytest.mark.parametrize("end", ["sync", "final", "kept"])
def test_a_message_over_its_limit_is_refused_whatever_it_would_inflate_to(end: str) -> None:
    exact = Deflater().message([(b"a" * 1000, end)])
    assert whole(MessageInflater(message_bytes_max=1000), exact) == b"a" * 1000
    with pytest.raises(TooLarge):
        whole(MessageInflater(message_bytes_max=999), exact)
    bomb = Deflater().message([(bytes(50_000_000), end), (bytes(50_000_000), end)])
    receiver = MessageInflater(message_bytes_max=1000)
    tracemalloc.start()
    with pytest.raises(TooLarge):
        whole(receiver, bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_a_message_of_nothing_but_last_blocks_is_given_up() -> None:
    assert whole(MessageInflater(message_bytes_max=1000), b"\x03\x00" * 1000) == b""
    with pytest.raises(BrokenEncoding):
        whole(MessageInflater(message_bytes_max=1000), b"\x03\x00" * 4_000_000)


@given(junk=st.binary(min_size=1, max_size=200))
@settings(max_examples=examples(400), deadline=None)
def test_junk_inflates_to_something_or_is_told(junk: bytes) -> None:
    receiver = MessageInflater(message_bytes_max=1 << 16)
    try:
        assert len(whole(receiver, junk)) <= 1 << 16
    except (BrokenEncoding, TooLarge):
        return


# Over a socket


@pytest.mark.parametrize("end", ["sync", "final", "kept"])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("fragments", [1, 3])
async def test_messages_are_stored_however_they_are_compressed(
    api: Api, end: str, opcode: int, fragments: int
) -> None:
    recording_id, sent, sender = new_id(), some_events(6, text="x" * 50), Deflater()
    socket = await api.socket(recording_id, deflate=True)
    for number, line in enumerate(sent):
        payload = sender.message([(line, end)], pads=number % 2 == 0)
        step = len(payload) // fragments + 1
        pieces = [payload[start : start + step] for start in range(0, len(payload), step)]
        for place, piece in enumerate(pieces):
            socket.frame(
                opcode if place == 0 else 0, piece, final=place == len(pieces) - 1, compressed=place == 0
            )
    farewell = await socket.finish()
    assert (farewell.code, farewell.last["successful_rows"]) == (1000, 6)
    assert await api.events(recording_id) == sent


@pytest.mark.parametrize("place", ["alone", "in fragments"])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("count", [0, 3])
@pytest.mark.parametrize("goes_on", [False, True])
async def test_a_damaged_message_is_told_and_what_came_before_is_kept(
    api: Api, logged: list[str], place: str, opcode: int, count: int, goes_on: bool
) -> None:
    recording_id, sent = new_id(), some_events(count)
    socket = await api.socket(recording_id, deflate=True)
    await socket.send_text(*sent)
    damage = b"\xff\xff\xff\xffgarbage"
    if place == "alone":
        socket.frame(opcode, damage, compressed=True)
    else:
        socket.frame(opcode, damage[:5], final=False, compressed=True)
        socket.frame(0, damage[5:])
    if goes_on:  # Nothing behind the damage can be known for what it was.
        await socket.send_text(*some_events(50, text="x" * 10_000))
    farewell = await socket.farewell()
    assert (farewell.code, farewell.reason) == (1011, "broken_encoding")
    assert {name: farewell.last[name] for name in ("type", "status", "code")} == {
        "type": "error",
        "status": 400,
        "code": "broken_encoding",
    }
    assert any("socket_failed" in line and "broken_encoding" in line for line in logged)
    if count:
        assert farewell.last["successful_rows"] == count
        assert await api.events(recording_id) == sent


async def test_damage_is_logged_though_the_client_has_gone(api: Api, logged: list[str]) -> None:
    recording_id, sent = new_id(), some_events(3)
    socket = await api.socket(recording_id, deflate=True)
    await socket.send_text(*sent)
    socket.frame(TEXT, b"\xff\xff\xff\xffgarbage", compressed=True)
    await socket.drop()
    assert await api.stored(recording_id, 3) == sent
    await until(lambda: any("socket_failed" in line for line in logged), what="a line in the log")


async def test_a_compressed_message_over_its_limit_is_told(tmp_path: os.PathLike[str]) -> None:
    async with (
        running(os.fspath(tmp_path), message_bytes_max=4096, event_bytes_max=4096) as daemon,
        visiting(daemon) as api,
    ):
        recording_id, sent = new_id(), some_events(3)
        socket = await api.socket(recording_id, deflate=True)
        await socket.send_text(*sent, b"x" * 100_000)
        farewell = await socket.farewell()
        assert (farewell.code, farewell.reason) == (1011, "too_large")
        assert farewell.last["successful_rows"] == 3
        assert await api.events(recording_id) == sent


def test_a_message_that_is_given_up_holds_nothing_and_never_comes_out_in_part() -> None:
    whole = b'{"type":3,"timestamp":1,"data":"' + b"x" * (20 << 20) + b'"}'
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(whole) + packer.flush(zlib.Z_SYNC_FLUSH)
    work = MessageInflater(message_bytes_max=64 << 20).inflate(packed[:-4])
    assert isinstance(work, Unfinished)
    assert work.step() is None
    work.give_up()
    assert work._parts == []
    for _ in range(10):
        assert work.step() is None
    assert work._parts == []
