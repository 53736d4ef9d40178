"""The beginning of a message that is refused for its size, found in what was read."""

from __future__ import annotations

import os
from itertools import cycle

from hypothesis import given
from hypothesis import strategies as st

from rrd.http.oversize import HEAD_BYTES_KEPT, beginning_of_oversize

_BYTES_MAX = 10_000


def frame(opcode: int, payload: bytes, *, size: int | None = None) -> bytes:
    """A client's frame (RFC 6455, 5.2) that says it has ``size`` bytes."""
    size = len(payload) if size is None else size
    if size < 126:
        head = bytes([0x80 | opcode, 0x80 | size])
    elif size < 1 << 16:
        head = bytes([0x80 | opcode, 0xFE]) + size.to_bytes(2, "big")
    else:
        head = bytes([0x80 | opcode, 0xFF]) + size.to_bytes(8, "big")
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ key for byte, key in zip(payload, cycle(mask), strict=False))


@given(
    before=st.lists(st.tuples(st.sampled_from([1, 2, 9, 10]), st.binary(max_size=300)), max_size=5),
    size=st.integers(_BYTES_MAX, 1 << 40),
    payload=st.binary(max_size=6000),
)
def test_it_is_found_behind_whole_frames(before: list[tuple[int, bytes]], size: int, payload: bytes) -> None:
    frames = b"".join(frame(opcode, each[: 125 if opcode > 2 else 300]) for opcode, each in before)
    data = frames + frame(1, payload, size=size)
    assert beginning_of_oversize(data, message_bytes_max=_BYTES_MAX) == payload[:HEAD_BYTES_KEPT]


@given(st.binary(max_size=2000))
def test_any_bytes_are_taken(data: bytes) -> None:
    assert len(beginning_of_oversize(data, message_bytes_max=_BYTES_MAX)) <= HEAD_BYTES_KEPT
