"""What a recording may load: public host names alone, and nothing that changes what a policy means."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.console.policy import DATA_HEADERS, HOSTS_MAX, page_headers, sources, stage_headers

POLICY = "Content-Security-Policy"


@given(st.text() | st.from_regex(r"[a-z0-9.,:/;' *\[\]-]{0,60}", fullmatch=True))
def test_whatever_is_asked_for_adds_host_names_and_nothing_else(asked: str) -> None:
    found = sources(asked, "ask")
    assert len(found) == len(set(found)) <= HOSTS_MAX
    for source in found:
        assert re.fullmatch(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+", source)
        assert not re.search(r"\.(localhost|local|[0-9]+)$", source)
    plain = stage_headers("https://a.example", [])[POLICY]
    with_hosts = stage_headers("https://a.example", found)[POLICY]
    assert re.sub(r" https://[a-z0-9.-]+(?=[; ])(?<!https://a\.example)", "", with_hosts) == plain


@pytest.mark.parametrize("setting", ["none", "all-https"])
def test_a_setting_that_decides_hears_no_wish(setting: str) -> None:
    assert sources("a.example.com", setting) == ([] if setting == "none" else ["https:"])


def test_each_document_and_each_answer_takes_the_least() -> None:
    policies = [page_headers("'self'")[POLICY], stage_headers("'self'", [])[POLICY], DATA_HEADERS[POLICY]]
    for policy in policies:
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe-eval" not in policy
        assert "script-src" not in policy or "script-src 'self';" in policy
