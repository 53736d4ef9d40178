"""The client's half of RFC 6455 and RFC 7692."""

from __future__ import annotations

import itertools
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.frames import (
    BINARY,
    OFFER_AS_CHROMIUM,
    TEXT,
    Agreed,
    Deflater,
    FrameReader,
    frame,
    handshake,
    masked,
)

EMPTY_BLOCK = b"\x00\x00\xff\xff"


def test_the_example_of_the_rfc() -> None:
    assert frame(b"Hello", mask=bytes.fromhex("37fa213d")) == bytes.fromhex("818537fa213d7f9f4d5158")


@pytest.mark.parametrize(
    ("size", "head_size"), [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10), (70_000, 10)]
)
def test_sizes_are_written_in_the_shortest_form(size: int, head_size: int) -> None:
    whole = frame(b"x" * size, opcode=BINARY, mask=b"abcd")
    assert whole[0] == 0x80 | BINARY
    assert whole[1] & 0x80
    assert len(whole) == head_size + 4 + size
    if head_size > 2:
        assert int.from_bytes(whole[2:head_size], "big") == size
    assert masked(whole[head_size + 4 :], b"abcd") == b"x" * size


def test_masks_differ_from_frame_to_frame() -> None:
    assert len({frame(b"Hello")[2:6] for _ in range(50)}) > 1


def test_handshake_offers_only_what_is_asked_for() -> None:
    assert b"permessage-deflate" not in handshake("localhost", "/ws")
    request = handshake("localhost", "/ws", offer=OFFER_AS_CHROMIUM, headers="Origin: https://x\r\n")
    assert request.startswith(b"GET /ws HTTP/1.1\r\nHost: localhost\r\n")
    assert b"\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" in request
    assert request.endswith(b"\r\nOrigin: https://x\r\n\r\n")


def from_server(payload: bytes, *, first: int = 0x80 | TEXT) -> bytes:
    """Return a server's frame."""
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 1 << 16:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


@given(
    payloads=st.lists(st.sampled_from([b"", b"a", b"b" * 126, b"c" * 66_000]), max_size=4),
    cuts=st.lists(st.integers(0, 70_000), max_size=6),
)
def test_messages_do_not_depend_on_where_the_bytes_are_cut(payloads: list[bytes], cuts: list[int]) -> None:
    data = b"".join(map(from_server, payloads))
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    reader = FrameReader()
    messages = []
    for start, end in itertools.pairwise(edges):
        messages += reader.feed(data[start:end])
    assert messages == [(TEXT, payload) for payload in payloads]


@pytest.mark.parametrize("takeover", [True, False])
def test_compressed_messages_of_a_server_are_read(takeover: bool) -> None:
    deflater = Deflater(Agreed(takeover, 15))
    reader = FrameReader()
    for payload in (b"one and the same", b"one and the same", b"another", b""):
        data = from_server(deflater(payload), first=0x80 | 0x40 | TEXT)
        assert reader.feed(data) == [(TEXT, payload)]


def test_with_takeover_a_message_looks_back_into_the_last_one() -> None:
    deflater = Deflater(Agreed(takeover=True, window_bits=15))
    first, second = deflater(b"0123456789abcdef" * 2), deflater(b"0123456789abcdef" * 2)
    assert len(second) < len(first)
    inflater = zlib.decompressobj(wbits=-15)
    assert inflater.decompress(first + EMPTY_BLOCK) == b"0123456789abcdef" * 2
    assert inflater.decompress(second + EMPTY_BLOCK) == b"0123456789abcdef" * 2


def test_without_takeover_each_message_stands_by_itself() -> None:
    deflater = Deflater(Agreed(takeover=False, window_bits=15))
    for payload in (b"0123456789abcdef", b"0123456789abcdef"):
        whole = zlib.decompressobj(wbits=-15).decompress(deflater(payload) + EMPTY_BLOCK)
        assert whole == payload


def test_a_smaller_window_is_kept() -> None:
    deflater = Deflater(Agreed(takeover=True, window_bits=9))
    # Nothing further back than 512 bytes is referred to, so that a reader with that window can read it.
    block = bytes(range(256)) * 4
    inflater = zlib.decompressobj(wbits=-9)
    for _ in range(3):
        assert inflater.decompress(deflater(block) + EMPTY_BLOCK) == block


def test_a_window_that_zlib_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="8 bits"):
        Deflater(Agreed(takeover=True, window_bits=8))


@pytest.mark.parametrize(
    ("answer", "agreed"),
    [
        ("", None),
        ("Sec-WebSocket-Extensions: x-other\r\n", None),
        ("Sec-WebSocket-Extensions: permessage-deflate\r\n", Agreed(takeover=True, window_bits=15)),
        (
            "sec-websocket-extensions: permessage-deflate; client_max_window_bits=12\r\n",
            Agreed(takeover=True, window_bits=12),
        ),
        (
            "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n",
            Agreed(takeover=False, window_bits=15),
        ),
        (
            "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n",
            Agreed(takeover=True, window_bits=15),
        ),
    ],
)
def test_what_the_server_agreed_to(answer: str, agreed: Agreed | None) -> None:
    head = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n{answer}".encode()
    assert Agreed.in_head(head) == agreed
