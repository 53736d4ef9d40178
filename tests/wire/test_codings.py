"""One table of compressions: each part that names one takes every row, and nothing beside the rows."""

from __future__ import annotations

from typing import get_args

import pytest

from rrd.errors import UnsupportedType
from rrd.exchange import unpacking
from rrd.exchange.files import looks_like_events
from rrd.http.caller import encoding_of, kind_of
from rrd.http.negotiate import best_of
from rrd.wire import codings
from rrd.wire.codings import BY_NAME, BY_SPELLING, CODINGS, IDENTITY, Coding, Encoding, by_magic, inflater
from rrd.wire.layers import encoding_in
from tests.wire.wire_lab import ENCODINGS, KIB, MIB, compress

TEXT = b'{"type":3,"timestamp":1}\n' * 100

every_coding = pytest.mark.parametrize("coding", CODINGS, ids=lambda coding: coding.name)


def test_the_type_checker_and_the_tests_know_each_name() -> None:
    assert get_args(Encoding) == tuple(BY_NAME) == ENCODINGS


def test_no_two_codings_share_a_spelling_a_suffix_or_a_magic_number() -> None:
    rows = (IDENTITY, *CODINGS)
    assert len(BY_SPELLING) == sum(len(coding.spellings) for coding in rows)
    assert len({coding.suffix for coding in rows}) == len(rows)
    magics = [magic for coding in rows for magic in coding.magics]
    assert not any(one.startswith(other) for one in magics for other in magics if one is not other)
    assert all(spelling == spelling.lower() for spelling in BY_SPELLING)
    assert all(coding.name in coding.spellings for coding in rows)


@every_coding
def test_a_stream_is_decoded_to_what_was_compressed(coding: Coding) -> None:
    stream = inflater(coding.name, zstd_window_bytes_max=8 * MIB)
    assert b"".join(stream.windows(compress(coding.name, TEXT))) == TEXT
    assert stream.at_boundary


@every_coding
def test_an_answer_compressed_so_is_decoded_to_the_answer(coding: Coding) -> None:
    if coding.compressor is None:
        pytest.skip("no answer comes so")
    compressor = coding.compressor()
    body = compressor.compress(TEXT) + compressor.flush()
    assert len(body) < len(TEXT)
    stream = inflater(coding.name, zstd_window_bytes_max=8 * MIB)
    assert b"".join(stream.windows(body)) == TEXT


@every_coding
def test_each_spelling_is_taken_in_a_header(coding: Coding) -> None:
    for spelling in coding.spellings:
        assert encoding_of(spelling.upper()) == coding.name
        assert encoding_of(f"identity, {spelling}") == coding.name


@pytest.mark.parametrize("spelling", IDENTITY.spellings)
def test_what_stands_for_no_compression_is_taken_in_a_header(spelling: str) -> None:
    assert encoding_of(spelling) == "identity"


@every_coding
def test_a_stream_with_a_magic_number_is_known_whatever_was_declared(coding: Coding) -> None:
    body = compress(coding.name, TEXT)
    found = by_magic(body)
    if not coding.magics:
        assert found is None
        return
    assert found is coding
    assert encoding_in(body, "identity", is_whole=False) == coding.name
    for other in CODINGS:
        # Whose streams have no number of their own may begin with this one.
        declared = encoding_in(body, other.name, is_whole=True)
        assert declared == (coding.name if other.magics else other.name)


@every_coding
def test_only_a_coding_with_a_magic_number_may_be_inside_another(coding: Coding) -> None:
    header = f"{coding.name}, gzip"
    if coding.magics:
        assert encoding_of(header) == "gzip"
    else:
        with pytest.raises(UnsupportedType):
            encoding_of(header)


def test_a_refusal_names_each_coding() -> None:
    assert codings.NAMES == "gzip, br or zstd"
    with pytest.raises(UnsupportedType, match="must be gzip, br or zstd, not 'lz4'"):
        encoding_of("lz4")


@every_coding
def test_a_file_named_so_is_imported(coding: Coding) -> None:
    name = f"x.ndjson{coding.suffix}"
    assert looks_like_events(name)
    assert looks_like_events(name.upper())
    assert unpacking.encoding_of(compress(coding.name, TEXT), name) == coding.name
    assert b"".join(unpacking.decompressed([compress(coding.name, TEXT)], name)) == TEXT
    for other in CODINGS:
        assert looks_like_events(name + other.suffix)
        twice = compress(other.name, compress(coding.name, TEXT))
        assert b"".join(unpacking.decompressed([twice], name + other.suffix)) == TEXT
    assert not looks_like_events(f"x.txt{coding.suffix}")


@every_coding
def test_a_content_type_that_names_it_leaves_the_form_open(coding: Coding) -> None:
    for media_type in coding.media_types:
        assert kind_of(media_type) == "unstated"


def test_no_json_begins_like_a_stream() -> None:
    for head in (b"{", b"[", b'"', b" ", b"\n", b"\t", b"\r", b"\xef\xbb\xbf", b"-", b"0", b"t", b"f", b"n"):
        assert by_magic(head + TEXT) is None


def test_an_answer_to_a_reader_without_a_preference_takes_the_last_row() -> None:
    offered = ["identity", *(coding.name for coding in reversed(CODINGS))]
    assert best_of("gzip, br, zstd", offered) == "zstd"
    assert best_of("br, gzip", offered) == "br"
    assert best_of(None, offered) == "identity"


def test_a_small_window_bounds_the_codings_that_have_one() -> None:
    for coding in CODINGS:
        assert coding.inflater(64 * KIB).at_boundary
