"""What the tests of ``rrd.wire`` share: limits, encoders, a decoder run to its end, a naive model."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import brotli
import zstandard
from hypothesis import strategies as st

from rrd.errors import WireError
from rrd.nesting import outermost
from rrd.wire.careful import MetadataEvent, Rejected
from rrd.wire.codings import Encoding
from rrd.wire.decoder import ContentKind, Decoder
from rrd.wire.events import Batch
from rrd.wire.limits import Limits

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

LIMITS = Limits(
    event_bytes_max=64 * MIB,
    document_bytes_max=64 * MIB,
    body_bytes_max=GIB,
    zstd_window_bytes_max=8 * MIB,
    metadata_keys_max=100,
    metadata_key_bytes_max=256,
    metadata_value_bytes_max=4 * KIB,
    batch_bytes=256 * KIB,
)
"""The defaults of the daemon."""

KINDS: tuple[ContentKind, ...] = ("ndjson", "json")
ENCODINGS: tuple[Encoding, ...] = ("identity", "gzip", "br", "zstd")


def compress(encoding: Encoding, data: bytes) -> bytes:
    """Return ``data`` as one stream."""
    if encoding == "gzip":
        return gzip.compress(data, 6, mtime=0)
    if encoding == "br":
        return bytes(brotli.compress(data, quality=4))
    if encoding == "zstd":
        return zstandard.ZstdCompressor(write_checksum=True).compress(data)
    return data


class Compressor:
    """One long stream, flushed wherever the caller likes."""

    def __init__(self, encoding: Encoding) -> None:
        self._process: Callable[[bytes], bytes]
        self._flush: Callable[[], bytes]
        self._finish: Callable[[], bytes]
        if encoding == "gzip":
            deflate = zlib.compressobj(6, zlib.DEFLATED, 31)
            self._process, self._finish = deflate.compress, deflate.flush
            self._flush = lambda: deflate.flush(zlib.Z_SYNC_FLUSH)
        elif encoding == "br":
            stream = brotli.Compressor(quality=4)
            self._process, self._flush, self._finish = stream.process, stream.flush, stream.finish
        elif encoding == "zstd":
            frame = zstandard.ZstdCompressor().compressobj()
            self._process, self._finish = frame.compress, frame.flush
            self._flush = lambda: frame.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        else:
            self._process = lambda data: data
            self._flush = self._finish = lambda: b""

    def flushed(self, data: bytes) -> bytes:
        """Return what makes ``data`` readable at once."""
        return self._process(data) + self._flush()

    def finish(self) -> bytes:
        return self._finish()


class Outcome(NamedTuple):
    """All that came out of a decoder."""

    events: list[bytes]
    metadata: list[MetadataEvent]
    rejected: list[Rejected]
    error: WireError | None

    def refusals(self) -> list[tuple[str, bytes]]:
        """Reasons and bytes, without line numbers."""
        return [(bad.reason, bad.raw) for bad in self.rejected]


def decode(
    chunks: Iterable[bytes],
    *,
    kind: ContentKind = "ndjson",
    encoding: Encoding = "identity",
    limits: Limits = LIMITS,
    messages: bool = False,
    cut_off: bool = False,
) -> Outcome:
    """Feed ``chunks``, each a whole message with ``messages``, and pull everything out."""
    decoder = Decoder(kind=kind, encoding=encoding, limits=limits)
    batches: list[Batch] = []
    error = None
    try:
        for chunk in chunks:
            decoder.feed(chunk, ends_message=messages)
            pull(decoder, batches)
        decoder.finish(cut_off=cut_off)
        pull(decoder, batches)
    except WireError as caught:
        error = caught
    return outcome(batches, error)


def pull(decoder: Decoder, batches: list[Batch], *, flush: bool = False) -> None:
    while (batch := decoder.next_batch(flush=flush)) is not None:
        check_batch(batch)
        batches.append(batch)


def outcome(batches: Iterable[Batch], error: WireError | None) -> Outcome:
    result = Outcome([], [], [], error)
    for batch in batches:
        result.events.extend(events_of(batch))
        result.metadata.extend(batch.metadata)
        result.rejected.extend(batch.rejected)
    return result


def events_of(batch: Batch) -> list[bytes]:
    return batch.payload.split(b"\n")[:-1]


def check_batch(batch: Batch) -> None:
    """What holds for every batch, whatever it was made of."""
    assert not batch.payload or batch.payload.endswith(b"\n")
    facts = list(map(_facts, events_of(batch)))
    assert len(facts) == batch.event_count
    stamps = [stamp for stamp, _, _ in facts]
    types = {kind for _, _, kind in facts}
    assert (batch.has_snapshot, batch.has_meta) == (2 in types, 4 in types)
    assert (batch.first_ts, batch.last_ts) == ((min(stamps), max(stamps)) if stamps else (0, 0))
    assert batch.ordered == (stamps == sorted(stamps))
    assert batch.own_ids or not any(has_ids for _, has_ids, _ in facts)


@lru_cache(maxsize=8192)
def _facts(line: bytes) -> tuple[float, bool, float]:
    value = json.loads(outermost(line))
    return value["timestamp"], "sequenceId" in value or "recordingId" in value, value["type"]


def event(number: int = 1, **members: object) -> bytes:
    """An ordinary event."""
    return json.dumps({"type": 3, "timestamp": number, "data": {"source": 1}} | members).encode()


# A naive model of what is an event, with the standard library's parser.

TIME_MAX = 8_640_000_000_000_000
Verdict = Literal["event", "metadata", "refused", "not_json"]


def verdict(line: bytes) -> Verdict:
    """Say what becomes of ``line``, which is no packed event and nests no deeper than the parsers go."""
    try:
        value = json.loads(line.decode(), parse_constant=_refuse, object_pairs_hook=_Members)
    except (ValueError, RecursionError):
        return "not_json"
    if not isinstance(value, _Members):
        return "refused"
    types, stamps = value.all("type"), value.all("timestamp")
    if not types or not all(type(number) is int for number in types):
        return "refused"
    if not stamps or not all(type(stamp) in {int, float} and abs(stamp) <= TIME_MAX for stamp in stamps):
        return "refused"
    data = value.all("data")
    is_metadata = (
        types[-1] == 5
        and bool(data)
        and isinstance(data[-1], _Members)
        and data[-1].all("tag")[-1:] == ["recording-meta"]
    )
    return "metadata" if is_metadata else "event"


class _Members(list[tuple[str, Any]]):
    """A JSON object with its duplicates."""

    def all(self, name: str) -> list[Any]:
        return [value for key, value in self if key == name]


def _refuse(constant: str) -> None:
    raise ValueError(constant)


# Strategies

_TEXT = st.text(st.characters(exclude_categories=()), max_size=12) | st.sampled_from(
    ["}{", '"', "\\", "[[[", "]]", "{", '\\"', "\ud83d", "\ude00", "😀", "\\ud800", "recording-meta", ""]
)
_SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT
)
JSON_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=8,
)


@st.composite
def json_text(draw: st.DrawFn, value: object) -> bytes:
    """``value`` as JSON, with or without escapes and space. Lone surrogates are always escaped."""
    text = json.dumps(
        value,
        ensure_ascii=draw(st.booleans()),
        separators=draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", "\r: ")])),
    )
    return b"".join(
        part.encode() if not 0xD800 <= ord(part) <= 0xDFFF else b"\\u%04x" % ord(part) for part in text
    )


_VALUES = JSON_VALUES.flatmap(json_text)
_ODD = st.sampled_from(
    [b"NaN", b"-Infinity", b"01", b"1.", b"[1,]", b'"\\x"', b'"\x01"', b"1e999", b"-", b"tru", b"'a'"]
)
_NUMBERS = st.sampled_from(
    [b"3.0", b"3e0", b"true", b"null", b'"3"', b"[]", b"9" * 30, b"-1", b"-0", b"0.5", b"1e999", b"1e3"]
    + [b"%d" % (sign * (TIME_MAX + more)) for sign in (1, -1) for more in (-1, 0, 1)]
    + [b"8.64e15", b"-8.64e15", b"8.640000000000001e15", b"8.64000000000000049e15"]
)
_TYPES = st.integers(0, 8).map(lambda number: b"%d" % number)
_STAMPS = (
    st.integers(-TIME_MAX, TIME_MAX) | st.floats(-8.64e15, 8.64e15) | st.integers(10**12, 2 * 10**12)
).map(lambda stamp: json.dumps(stamp).encode())
_TAGGED = st.fixed_dictionaries(
    {"tag": st.sampled_from(["recording-meta", "pageview-meta", "x"]) | JSON_VALUES, "payload": JSON_VALUES}
).flatmap(json_text)
_DATA = _VALUES | _TAGGED
_NAMES = st.sampled_from(
    [b'"sequenceId"', b'"recordingId"', b'"delay"', b'"\\ud83d"', b'"recording\\u0049d"']
)
_SPACE = st.sampled_from([b"", b"", b"", b" ", b"\t"])


def _object(members: Sequence[tuple[bytes, bytes]], space: bytes) -> bytes:
    return b"{" + (b"," + space).join(name + space + b":" + value for name, value in members) + b"}"


@st.composite
def good_lines(draw: st.DrawFn) -> bytes:
    """Lines that hold an event, or metadata (which may break its rules)."""
    members = [
        (draw(st.sampled_from([b'"type"', b'"\\u0074ype"'])), draw(_TYPES)),
        (b'"timestamp"', draw(_STAMPS)),
        (b'"data"', draw(_DATA)),
    ]
    members += draw(st.lists(st.tuples(_NAMES, _VALUES), max_size=2))
    space = draw(_SPACE)
    return space + _object(draw(st.permutations(members)), space) + space


@st.composite
def odd_lines(draw: st.DrawFn) -> bytes:
    """Lines that may or may not hold an event. Never packed, never with a line break."""
    names = st.sampled_from([b'"type"', b'"timestamp"', b'"data"'])
    values = _TYPES | _STAMPS | _NUMBERS | _DATA | _ODD
    members = draw(st.lists(st.tuples(names | _NAMES, values), max_size=6))
    members += [(b'"type"', draw(_TYPES | _NUMBERS)), (b'"timestamp"', draw(_STAMPS | _NUMBERS))]
    return _object(draw(st.permutations(members)), draw(_SPACE))


@st.composite
def broken_lines(draw: st.DrawFn) -> bytes:
    """Good lines with a few bytes changed, and plain junk."""
    if draw(st.booleans()):
        line = draw(st.binary(max_size=20) | _VALUES | _ODD)
    else:
        line = draw(good_lines())
        for _ in range(draw(st.integers(1, 3))):
            at = draw(st.integers(0, len(line)))
            insert = draw(
                st.sampled_from([b"", b"{", b"}", b'"', b"[", b"]", b",", b"\\", b"\xff", b"\x00", b"1"])
            )
            line = line[:at] + insert + line[at + draw(st.integers(0, 2)) :]
    return line.replace(b"\n", b"")


def unpacked(line: bytes) -> bool:
    """Tell that ``line`` does not claim to be a packed event."""
    return line.lstrip()[:1] != b'"'


LINES = (good_lines() | odd_lines() | broken_lines()).filter(unpacked)
MANY_LINES = st.lists(LINES | st.sampled_from([b"", b" ", b"\r"]) | good_lines(), max_size=12)


@st.composite
def cuts(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """``data`` in pieces, which may be empty."""
    if draw(st.integers(0, 5)) == 0:
        return [data[at : at + 1] for at in range(len(data))]
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[start:limit] for start, limit in zip([0, *places], [*places, len(data)], strict=True)]
