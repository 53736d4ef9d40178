"""Bytes of a segment: round trips, what is noticed when a bit flips, and what junk does (nothing)."""

from __future__ import annotations

import msgspec
import pytest
from google_crc32c import value as crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.segment.format import (
    BLOCK_OVERHEAD,
    IDENTITY_READ_SIZE,
    BlockDraft,
    Identity,
    decode_header,
    decode_identity,
    decode_notes,
    encode_block,
    encode_identity,
    payload_is_intact,
)
from tests.segment.samples import COMPRESSOR, EMPTY, IDENTITY, NOTES, any_drafts, events

SALT = bytes.fromhex(IDENTITY.salt)

any_identities = st.builds(
    Identity,
    tenant=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True),
    recording_id=st.from_regex(r"[A-Za-z0-9_-]{8,64}", fullmatch=True),
    number=st.integers(1, 2**40),
    salt=st.binary(min_size=16, max_size=16).map(bytes.hex),
    created_ms=st.integers(0, 2**50),
    first_seq=st.integers(1, 2**50),
    previous_size=st.integers(0, 2**50),
) | st.builds(
    lambda number, more: msgspec.structs.replace(IDENTITY, number=number, last_number=number + more),
    st.integers(1, 2**40),
    st.integers(0, 2**40),
)


def framed(body: bytes, *, marker: bytes = b"rrd1") -> bytes:
    """An identity frame around any body, its checksum right."""
    content: bytes = marker + crc32c(body).to_bytes(4, "little") + body
    return (0x184D2A5E).to_bytes(4, "little") + len(content).to_bytes(4, "little") + content


@settings(deadline=None)
@given(any_identities, st.binary(max_size=40))
def test_an_identity_is_read_back_whatever_follows(identity: Identity, following: bytes) -> None:
    data = encode_identity(identity)
    assert decode_identity(data + following) == (identity, len(data))
    assert len(data) <= IDENTITY_READ_SIZE


def test_every_cut_of_an_identity_is_refused() -> None:
    data = encode_identity(IDENTITY)
    assert [size for size in range(len(data)) if decode_identity(data[:size]) is not None] == []


def test_every_flipped_bit_of_an_identity_is_noticed() -> None:
    data = encode_identity(IDENTITY)
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        assert decode_identity(bytes(damaged) + bytes(500)) is None, bit


IDENTITY_JSON = msgspec.json.encode(IDENTITY)
SENSELESS = {
    "nothing": b"",
    "null": b"null",
    "array": b"[]",
    "no members": b"{}",
    "cut off": b"{",
    "not UTF-8": b'{"tenant":"\xff"}',
    "endless nesting": b'{"x":' + b"[" * 3000 + b"]" * 3000 + b"}",
    "wrong type": IDENTITY_JSON.replace(b'"number":1', b'"number":"1"'),
    "last number below the first": IDENTITY_JSON.replace(b'"number":1', b'"last_number":2,"number":3'),
    "last number below 0": IDENTITY_JSON.replace(b'"number":1', b'"last_number":-1,"number":1'),
    "number from 0": IDENTITY_JSON.replace(b'"number":1', b'"number":0'),
    "short salt": IDENTITY_JSON.replace(IDENTITY.salt.encode(), b"0011"),
    "long salt": IDENTITY_JSON.replace(IDENTITY.salt.encode(), b"0011" * 9),
    "salt is no hex": IDENTITY_JSON.replace(IDENTITY.salt.encode(), b"no hex, but 32 characters long.."),
}


@pytest.mark.parametrize("body", SENSELESS.values(), ids=SENSELESS)
def test_an_identity_that_makes_no_sense_is_refused_though_its_checksum_is_right(body: bytes) -> None:
    assert decode_identity(framed(body)) is None


def test_an_identity_of_another_version_is_refused() -> None:
    assert decode_identity(framed(IDENTITY_JSON)) == (IDENTITY, len(framed(IDENTITY_JSON)))
    assert decode_identity(framed(IDENTITY_JSON, marker=b"rrd2")) is None


def test_only_an_object_has_a_last_number() -> None:
    assert b"last_number" not in encode_identity(IDENTITY)
    assert not IDENTITY.is_object
    identity = msgspec.structs.replace(IDENTITY, last_number=1)
    assert encode_identity(identity).endswith(b',"previous_size":0,"last_number":1}')
    assert identity.is_object


def test_members_of_later_versions_do_not_hinder() -> None:
    body = IDENTITY_JSON[:-1] + b',"later":[1]}'
    assert decode_identity(framed(body)) == (IDENTITY, len(framed(body)))


@settings(deadline=None)
@given(any_drafts(), st.integers(0, 2**60), st.integers(0, 2**40), st.integers(0, 20))
def test_a_block_says_what_went_into_it(draft: BlockDraft, first_seq: int, offset: int, at: int) -> None:
    draft = draft._replace(first_seq=first_seq)
    block = encode_block(draft, salt=SALT, offset=offset, compressor=COMPRESSOR)
    header = decode_header(bytes(at) + block, salt=SALT, offset=offset, at=at)
    assert header is not None
    assert header.offset == offset
    assert header.limit_offset == offset + len(block)
    assert header.limit_seq == first_seq + draft.event_count
    assert (header.event_count, header.first_seq) == (draft.event_count, first_seq)
    assert (header.first_ts, header.last_ts) == (draft.first_ts, draft.last_ts)
    assert (header.source, header.stored_ms) == (draft.source, draft.stored_ms)
    assert (header.ordered, header.own_ids) == (draft.ordered, draft.own_ids)
    assert header.duplicate_count == draft.duplicate_count
    assert header.quarantine_count == len(draft.quarantine)
    assert header.raw_size == len(draft.payload)
    payload = block[BLOCK_OVERHEAD:]
    assert payload_is_intact(header, payload)
    assert not payload_is_intact(header, payload + b"\0")
    assert not payload_is_intact(header, b"\0" + payload)


@pytest.mark.parametrize("draft", [EMPTY, NOTES, events(5), NOTES._replace(payload=b"{}\n", event_count=1)])
def test_every_flipped_bit_of_a_block_is_noticed(draft: BlockDraft) -> None:
    block = encode_block(draft, salt=SALT, offset=300, compressor=COMPRESSOR)
    for bit in range(len(block) * 8):
        damaged = bytearray(block)
        damaged[bit // 8] ^= 1 << bit % 8
        header = decode_header(bytes(damaged), salt=SALT, offset=300)
        if bit < BLOCK_OVERHEAD * 8:
            assert header is None, bit
        else:
            assert header is not None
            assert not payload_is_intact(header, bytes(damaged[BLOCK_OVERHEAD:])), bit


def test_a_block_is_good_only_at_its_own_offset_of_its_own_segment() -> None:
    block = encode_block(events(5), salt=SALT, offset=300, compressor=COMPRESSOR)
    assert decode_header(block, salt=SALT, offset=300) is not None
    assert decode_header(block, salt=SALT, offset=301) is None
    assert decode_header(block, salt=SALT, offset=0) is None
    assert decode_header(block, salt=SALT[::-1], offset=300) is None


def test_a_block_with_reserved_bytes_in_use_is_refused() -> None:
    """A later version would use them for something that this one does not know."""
    block = bytearray(encode_block(events(5), salt=SALT, offset=300, compressor=COMPRESSOR))
    for reserved in (1, 0):
        block[8 + 92] = reserved
        checksum = crc32c(SALT + (300).to_bytes(8, "little") + block[8 + 8 : 104])
        block[8 + 4 : 8 + 8] = checksum.to_bytes(4, "little")
        assert (decode_header(bytes(block), salt=SALT, offset=300) is None) == bool(reserved)


def test_a_block_without_events_holds_no_data_and_one_without_notes_no_notes() -> None:
    header = decode_header(
        encode_block(EMPTY, salt=SALT, offset=0, compressor=COMPRESSOR), salt=SALT, offset=0
    )
    assert header is not None
    assert (header.notes_size, header.data_size) == (0, 0)
    assert header.limit_offset == BLOCK_OVERHEAD


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, 310))
def test_junk_is_no_identity_and_no_block(junk: bytes, at: int) -> None:
    assert decode_identity(junk) is None
    assert decode_header(junk, salt=SALT, offset=at, at=at) is None
    block = encode_block(EMPTY, salt=SALT, offset=0, compressor=COMPRESSOR)
    assert decode_header(block[:8] + junk, salt=SALT, offset=0) is None


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_body_of_an_identity_is_read_or_refused(body: bytes) -> None:
    assert decode_identity(framed(body)) is None


def test_notes_of_unknown_kinds_are_passed_over() -> None:
    raw = (
        b'{"later":{"x":1}}\n{"metadata":{"key":"k","value":"v","at_ms":1,"later":2}}\n'
        b'{"quarantine":{"line":1,"reason":"r","at_ms":2,"raw":"AA=="}}\n'
    )
    metadata, quarantine = decode_notes(raw)
    assert [(note.key, note.value, note.at_ms) for note in metadata] == [("k", "v", 1)]
    assert [(note.line, note.reason, note.at_ms, note.raw) for note in quarantine] == [(1, "r", 2, b"\0")]
