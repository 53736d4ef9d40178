"""Decompression: any cut, any concatenation, nothing before it is asked for."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable
from itertools import islice

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from bench.corpus import recordings
from rrd.errors import BrokenEncoding
from rrd.wire.codings import CODINGS, Encoding, inflater
from rrd.wire.inflate import WINDOW_BYTES, Inflater
from tests.wire import bombs
from tests.wire.bombs import zstd_block, zstd_frame, zstd_rle_block, zstd_skippable
from tests.wire.wire_lab import ENCODINGS, GIB, KIB, MIB, Compressor, compress, cuts

pytestmark = pytest.mark.table

COMPRESSED = tuple(coding.name for coding in CODINGS)
WINDOW_MAX = 8 * MIB

every_encoding = pytest.mark.parametrize("encoding", COMPRESSED)


def fresh(encoding: Encoding) -> Inflater:
    return inflater(encoding, zstd_window_bytes_max=WINDOW_MAX)


def inflate(encoding: Encoding, chunks: list[bytes]) -> tuple[bytes, bool]:
    """Return what came out, and whether no stream is open at the end."""
    stream = fresh(encoding)
    text = b"".join(window for chunk in chunks for window in stream.windows(chunk))
    return text, stream.at_boundary


def inflate_some(encoding: Encoding, chunks: list[bytes]) -> tuple[bytes, bool]:
    """Return what came out, and whether all of it was good."""
    stream = fresh(encoding)
    windows: list[bytes] = []
    try:
        for chunk in chunks:
            windows.extend(stream.windows(chunk))  # Windows before an error are kept.
    except BrokenEncoding:
        return b"".join(windows), False
    return b"".join(windows), stream.at_boundary


TEXT = st.binary(max_size=200) | st.builds(
    lambda part, count: part * count, st.binary(max_size=50), st.integers(0, 5000)
)


@every_encoding
@given(st.data())
def test_text_does_not_depend_on_cuts(encoding: Encoding, data: st.DataObject) -> None:
    text = data.draw(TEXT)
    assert inflate(encoding, data.draw(cuts(compress(encoding, text)))) == (text, True)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@given(st.data())
def test_members_and_frames_may_be_concatenated(encoding: Encoding, data: st.DataObject) -> None:
    texts = data.draw(st.lists(TEXT, max_size=5))
    body = b"".join(compress(encoding, text) for text in texts)
    assert inflate(encoding, data.draw(cuts(body))) == (b"".join(texts), True)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", recordings())
def test_recordings_come_out_byte_for_byte(name: str, encoding: Encoding) -> None:
    text = b"\n".join(recordings()[name])
    body = compress(encoding, text)
    for size in (1000, 64 * KIB, len(body)):
        chunks = [body[start : start + size] for start in range(0, len(body), size)]
        assert inflate(encoding, chunks) == (text, True)


@every_encoding
def test_nothing_is_no_stream(encoding: Encoding) -> None:
    assert inflate(encoding, []) == (b"", True)
    assert inflate(encoding, [b"", b""]) == (b"", True)


@every_encoding
def test_stream_of_nothing_ends(encoding: Encoding) -> None:
    body = compress(encoding, b"")
    assert inflate(encoding, [body]) == (b"", True)
    assert len(body) == 1 or inflate(encoding, [body[:1]]) == (b"", False)


@every_encoding
@pytest.mark.parametrize("size", [1, 1000, 32_752, 32_768, 300_000, 5_000_000])
def test_flushed_text_comes_out_at_once(encoding: Encoding, size: int) -> None:
    compressor, stream = Compressor(encoding), fresh(encoding)
    source = b"".join(recordings()["code_editor"])[:size]
    for text in (source, b"x" * size, source):
        assert b"".join(stream.windows(compressor.flushed(text))) == text
        assert not stream.at_boundary
    assert b"".join(stream.windows(compressor.finish())) == b""
    assert stream.at_boundary


@every_encoding
@given(st.data())
def test_stream_cut_off_gives_what_was_flushed_and_is_not_at_its_end(
    encoding: Encoding, data: st.DataObject
) -> None:
    compressor = Compressor(encoding)
    texts = data.draw(st.lists(TEXT.filter(bool), min_size=1, max_size=4))
    parts = [compressor.flushed(text) for text in texts]
    body = b"".join(parts) + compressor.finish()
    limit = data.draw(st.integers(1, len(body) - 1))
    text, at_boundary = inflate(encoding, data.draw(cuts(body[:limit])))
    flushed = [index for index in range(len(parts)) if len(b"".join(parts[: index + 1])) <= limit]
    assert b"".join(texts).startswith(text)
    assert len(text) >= len(b"".join(texts[: len(flushed)]))
    assert not at_boundary


def gzip_header(flags: int, fields: bytes) -> bytes:
    header = bytes([0x1F, 0x8B, 8, flags]) + bytes(4) + b"\x00\xff" + fields
    if flags & 2:
        header += (zlib.crc32(header) & 0xFFFF).to_bytes(2, "little")
    return header


HEADERS = {
    "text flag": gzip_header(1, b""),
    "extra": gzip_header(4, b"\x05\x00abcde"),
    "name": gzip_header(8, b"name.json\x00"),
    "comment": gzip_header(16, b"comment\x00"),
    "header checksum": gzip_header(2, b""),
    "all of them": gzip_header(31, b"\x01\x00xname\x00comment\x00"),
    "a name longer than any": gzip_header(8, b"x" * 70_000 + b"\0"),
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_every_gzip_header_is_understood_wherever_it_is_cut(header: bytes) -> None:
    text = b"hello " * 100
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    body = header + deflate.compress(text) + deflate.flush()
    body += zlib.crc32(text).to_bytes(4, "little") + len(text).to_bytes(4, "little")
    assert gzip.decompress(body) == text
    for cut in range(0, len(header) + 1, 1 + len(header) // 1000):
        assert inflate("gzip", [body[:cut], body[cut:] + body]) == (text * 2, True)
    assert inflate("gzip", [body[at : at + 1] for at in range(len(body))]) == (text, True)


def test_skippable_frames_are_skipped() -> None:
    frame = zstandard.compress(b"text")
    skipped = zstd_skippable(b"x" * 1000) + zstd_skippable(b"", magic=0x184D2A5F)
    for body in (skipped + frame, frame + skipped, skipped + frame + skipped + frame, skipped):
        text = b"text" * body.count(frame)
        assert inflate("zstd", [body]) == (text, True)
        assert inflate("zstd", [body[at : at + 1] for at in range(len(body))]) == (text, True)
    assert inflate("zstd", [skipped[:-1]]) == (b"", False)
    # One that says that it is large costs nothing.
    assert inflate("zstd", [skipped[:4] + b"\xff\xff\xff\xff" + b"x" * 1000]) == (b"", False)


def test_frames_written_by_hand_are_good_ones() -> None:
    body = zstd_frame([zstd_block(b"abc"), zstd_rle_block(b"x", 5), zstd_block(b"", is_last=True)])
    assert zstandard.ZstdDecompressor().stream_reader(io.BytesIO(body)).read() == b"abcxxxxx"
    assert inflate("zstd", [body]) == (b"abcxxxxx", True)


# Windows


BOMBS: dict[Encoding, Callable[[], bytes]] = {
    "gzip": lambda: bombs.gzip_member(bytes(16 * MIB), 4),
    "br": lambda: bombs.brotli_stream(bytes(16 * MIB), 4),
    "zstd": lambda: bombs.zstd_rle_bomb(b"\0", 64 * MIB),
}


@every_encoding
def test_window_is_bounded_whatever_the_ratio(encoding: Encoding) -> None:
    windows = islice(fresh(encoding).windows(BOMBS[encoding]()), 50)
    assert max(map(len, windows)) <= 2 * WINDOW_BYTES


def test_large_plain_chunk_comes_in_windows_too() -> None:
    assert max(map(len, fresh("identity").windows(bytes(MIB)))) == WINDOW_BYTES


def zstd_asking_for(window_bytes: int) -> bytes:
    log = window_bytes.bit_length() - 1
    mantissa = (window_bytes - (1 << log)) * 8 >> log
    return zstd_frame([zstd_block(b"text", is_last=True)], window_log=log, mantissa=mantissa)


def test_zstd_window_may_be_as_large_as_the_limit_and_no_larger() -> None:
    assert inflate("zstd", [zstd_asking_for(WINDOW_MAX)]) == (b"text", True)
    for size in (WINDOW_MAX * 9 // 8, 2 * WINDOW_MAX, GIB, 1 << 41):
        with pytest.raises(BrokenEncoding, match="window"):
            inflate("zstd", [zstd_asking_for(size)])


def test_zstd_frame_in_one_segment_needs_its_whole_size_as_window() -> None:
    # A frame without a window descriptor: its content size is its window (RFC 8878, 3.1.1.1.2).
    def single_segment(size: int) -> bytes:
        block = zstd_rle_block(b"x") * (size // bombs.ZSTD_BLOCK_BYTES_MAX) + zstd_block(b"", is_last=True)
        return bytes.fromhex("28b52ffd") + b"\xa0" + size.to_bytes(4, "little") + block

    assert inflate("zstd", [single_segment(WINDOW_MAX)]) == (b"x" * WINDOW_MAX, True)
    with pytest.raises(BrokenEncoding, match="window"):
        inflate("zstd", [single_segment(2 * WINDOW_MAX)])


# Damage


GZIP, BR, ZSTD = compress("gzip", b"text"), compress("br", b"text"), compress("zstd", b"text")
DAMAGED: dict[str, tuple[Encoding, bytes]] = {
    "gzip: no magic": ("gzip", b"text" * 10),
    "gzip: one byte of magic wrong": ("gzip", b"\x1f\x8c" + GZIP[2:]),
    "gzip: unknown method": ("gzip", GZIP[:2] + b"\x07" + GZIP[3:]),
    "gzip: header checksum": ("gzip", gzip_header(2, b"")[:-1] + b"\x00" + GZIP[10:]),
    "gzip: reserved block type": ("gzip", GZIP[:10] + b"\x07" + GZIP[11:]),
    "gzip: checksum": ("gzip", GZIP[:-8] + bytes([GZIP[-8] ^ 1]) + GZIP[-7:]),
    "gzip: size": ("gzip", GZIP[:-1] + bytes([GZIP[-1] ^ 1])),
    "gzip: zlib instead": ("gzip", zlib.compress(b"text")),
    "gzip: junk behind": ("gzip", GZIP + b"junk junk junk"),
    "gzip: zeros behind": ("gzip", GZIP + bytes(100)),
    "br: junk": ("br", b"\xff" * 10),
    "br: window larger than RFC 7932 knows": ("br", b"\x11\x1e" + BR),
    "br: junk behind": ("br", BR + b"junk"),
    "br: a second stream": ("br", BR + BR),
    "zstd: no magic": ("zstd", b"text" * 10),
    "zstd: reserved bit": ("zstd", b"\x28\xb5\x2f\xfd\x08" + ZSTD[5:]),
    "zstd: reserved block": ("zstd", zstd_frame([b"\x07\x00\x00"])),
    "zstd: block too large": ("zstd", zstd_frame([zstd_rle_block(b"x", 128 * KIB + 1)])),
    "zstd: dictionary": ("zstd", b"\x28\xb5\x2f\xfd\x01\x38\x01" + zstd_block(b"text", is_last=True)),
    "zstd: checksum": ("zstd", ZSTD[:-1] + bytes([ZSTD[-1] ^ 1])),
    "zstd: less than it says": ("zstd", b"\x28\xb5\x2f\xfd\x20\x05" + zstd_block(b"text", is_last=True)),
    "zstd: junk behind": ("zstd", ZSTD + b"junk junk"),
}


@pytest.mark.parametrize(("encoding", "body"), DAMAGED.values(), ids=DAMAGED)
def test_damage_is_told_wherever_the_body_is_cut(encoding: Encoding, body: bytes) -> None:
    for chunks in ([body], [body[at : at + 1] for at in range(len(body))]):
        with pytest.raises(BrokenEncoding, match=encoding.replace("br", "brotli")):
            inflate(encoding, chunks)


def test_next_message_may_begin_a_new_brotli_stream() -> None:
    stream = fresh("br")
    for _ in range(3):
        assert b"".join(stream.windows(BR[:5])) + b"".join(stream.windows(BR[5:])) == b"text"
        assert stream.at_boundary
        stream.end_message()


def test_text_before_damage_comes_out() -> None:
    text = b"x" * 100_000
    assert inflate_some("gzip", [compress("gzip", text), b"junk"]) == (text, False)
    assert inflate_some("zstd", [compress("zstd", text) + b"junk"]) == (text, False)
    assert inflate_some("br", [compress("br", text), b"junk"]) == (text, False)


@every_encoding
@given(st.binary(max_size=100), st.data())
def test_junk_raises_only_broken_encoding(encoding: Encoding, junk: bytes, data: st.DataObject) -> None:
    text, is_good = inflate_some(encoding, data.draw(cuts(junk)))
    if is_good:
        assert inflate_some(encoding, [junk]) == (text, True)


@every_encoding
@given(st.data())
def test_damaged_streams_raise_only_broken_encoding(encoding: Encoding, data: st.DataObject) -> None:
    body = bytearray(compress(encoding, data.draw(TEXT)) * data.draw(st.integers(1, 2)))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    text, is_good = inflate_some(encoding, data.draw(cuts(bytes(body))))
    if is_good:
        whole = inflate_some(encoding, [bytes(body)])
        # libzstd holds a frame to the size in its header only where the frame is there at once, or its last
        # block isn't empty.
        assert whole == (text, True) or (encoding == "zstd" and not whole[1])


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@given(st.data())
def test_changed_byte_never_changes_text_that_counts(encoding: Encoding, data: st.DataObject) -> None:
    # Both have checksums. (brotli has none.)
    text = data.draw(TEXT)
    body = bytearray(compress(encoding, text))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= data.draw(st.integers(1, 255))
    found, good = inflate_some(encoding, [bytes(body)])
    assert found == text or not good


# Hostile chunks


@pytest.mark.timeout(60)  # If the rest of a chunk is copied for each window, it is minutes.
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_large_chunk_costs_no_more_than_its_bytes(encoding: Encoding) -> None:
    noise = zlib.compress(b"".join(recordings()["docs_search"]), 1) * 40
    text = noise[: 24 * MIB]
    body = text
    if encoding == "gzip":
        body = gzip.compress(text, 0)
    elif encoding == "br":
        body = brotli.compress(text, quality=0)
    elif encoding == "zstd":
        body = zstandard.compress(text, 1)
    assert inflate(encoding, [body]) == (text, True)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_thousands_of_tiny_members_cost_no_more_than_their_bytes(encoding: Encoding) -> None:
    assert inflate(encoding, [compress(encoding, b"") * 50_000]) == (b"", True)
