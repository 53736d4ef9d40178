"""Slashes too many: dropped where nothing can be meant by them, kept where they may be."""

from __future__ import annotations

import re

import pytest
from aiohttp import HttpVersion11
from aiohttp.http_parser import RawRequestMessage
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from rrd.http.paths import tidy_path, tidy_target


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("/", "/"),
        ("", "/"),
        ("//", "/"),
        ("//recordings//x/", "/recordings/x"),
        ("/recordings/x/ingest/", "/recordings/x/ingest"),
        ("/recordings/a%2F%2Fb/", "/recordings/a%2F%2Fb"),
    ],
)
def test_a_path_has_single_slashes_and_none_at_its_end(sent: str, meant: str) -> None:
    assert tidy_path(sent) == meant


@given(st.text("/ab%2F", max_size=20))
def test_a_tidy_path_stays_as_it_is_and_keeps_its_segments(raw_path: str) -> None:
    tidied = tidy_path(raw_path)
    assert tidy_path(tidied) == tidied
    assert tidied == "/" or not re.search("//|/$", tidied)
    assert [part for part in tidied.split("/") if part] == [part for part in raw_path.split("/") if part]


def request(method: str, target: str) -> RawRequestMessage:
    headers: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())
    url = URL(target, encoded=True)
    return RawRequestMessage(
        method, target, HttpVersion11, headers, (), should_close=False, compression=None, upgrade=False,
        chunked=False, url=url,
    )  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_a_target_keeps_its_query(method: str) -> None:
    tidied = tidy_target(request(method, "/recordings//x/events/?from=1%2B1&a=//"))
    assert str(tidied.url) == tidied.path == "/recordings/x/events?from=1%2B1&a=//"


def test_the_path_of_an_erasure_is_taken_to_the_letter() -> None:
    message = request("DELETE", "/recordings/?meta[userId]=x")
    assert tidy_target(message) is message
