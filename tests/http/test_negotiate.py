"""What a caller prefers, out of what there is (RFC 9110, 12.5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.http.negotiate import accepts, best_of

OFFERED = ("identity", "zstd", "br", "gzip")


@pytest.mark.parametrize(
    ("header", "best"),
    [
        (None, "identity"),
        ("", "identity"),
        ("*", "identity"),
        ("deflate", "identity"),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("gzip, br", "br"),
        ("gzip, br, zstd", "zstd"),
        ("gzip;q=1.0, zstd;q=0.5", "gzip"),
        ("gzip; q=0.1 , br ;q=0.2", "br"),
        ("gzip;q=0", "identity"),
        ("gzip;q=much", "identity"),
        ("identity;q=0.5, gzip;q=0.5", "identity"),
    ],
)
def test_the_heaviest_wins_and_the_earlier_of_two_alike(header: str | None, best: str) -> None:
    assert best_of(header, OFFERED) == best


@pytest.mark.parametrize(
    ("header", "is_taken"),
    [(None, False), ("zstd", True), ("*", True), ("zstd;q=0, *", False), ("gzip", False), ("*;q=0", False)],
)
def test_a_name_counts_before_the_wildcard(header: str | None, is_taken: bool) -> None:
    assert accepts(header, "zstd") is is_taken


@given(st.text(max_size=60))
def test_any_header_has_an_answer_among_those_offered(header: str) -> None:
    assert best_of(header, OFFERED) in OFFERED
