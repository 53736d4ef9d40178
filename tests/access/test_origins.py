from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.access.origins import parse_origin
from rrd.errors import BadRequest

GOOD = {
    "https://www.example.com": "https://www.example.com",
    " HTTPS://WWW.Example.com/ ": "https://www.example.com",
    "https://example.com:443": "https://example.com",
    "http://example.com:80/": "http://example.com",
    "http://example.com:443": "http://example.com:443",
    "http://localhost:5173": "http://localhost:5173",
    "http://[::1]:8080": "http://[::1]:8080",
    "https://bücher.example": "https://xn--bcher-kva.example",
    "chrome-extension://abcdefghijklmnop": "chrome-extension://abcdefghijklmnop",
}
BAD = [
    "",
    "*",
    "null",
    "example.com",
    "https://",
    "https://example.com/path",
    "https://example.com?query",
    "https://example.com/#part",
    "https://user@example.com",
    "https://*.example.com",
    "https://example.com:port",
    "https://example.com:99999",
    "https://exam ple.com",
    "https://exam\nple.com",
    "https://[::1",
    "https://" + "a" * 64 + ".example",
]


@pytest.mark.parametrize(("text", "origin"), GOOD.items())
def test_origins_are_written_as_browsers_write_them(text: str, origin: str) -> None:
    assert parse_origin(text) == origin


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_origin_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadRequest, match="is not an origin"):
        parse_origin(text)


@given(st.one_of(st.text(), st.text("htps:/.[]@?#*1a é"), st.sampled_from(list(GOOD))))
def test_an_origin_stays_as_it_is_when_read_again(text: str) -> None:
    try:
        origin = parse_origin(text)
    except BadRequest:
        return
    assert parse_origin(origin) == origin
