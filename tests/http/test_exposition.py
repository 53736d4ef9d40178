"""The formats of a scrape: each label and header, however odd, gives what a parser takes."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from rrd import __version__, metrics
from rrd.http.exposition import FiguresCollector, make_registry, render

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
REGISTRY = make_registry()


@pytest.fixture
def scratch() -> Iterator[None]:
    kept = dict(metrics._all)
    yield
    metrics._all.clear()
    metrics._all.update(kept)


def figures() -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(FiguresCollector())
    return registry


def families_of(body: bytes) -> dict[str, Metric]:
    found = parse_openmetrics(body.decode())  # type: ignore[no-untyped-call]
    return {family.name: family for family in found}


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain; version=0.0.4"),
        ("*/*", "text/plain; version=0.0.4"),
        ("text/plain;version=0.0.4", "text/plain; version=0.0.4"),
        (PROMETHEUS, "application/openmetrics-text; version=1.0.0"),
        ("x" * 100_000, "text/plain; version=0.0.4"),
    ],
)
def test_the_format_is_the_one_that_is_asked_for(accept: str, kind: str) -> None:
    body, headers = render(REGISTRY, accept=accept, accept_encoding="")
    assert headers["Content-Type"].startswith(kind)
    if kind.startswith("application"):
        assert "rrd_ready" in families_of(body)
    else:
        assert "rrd_ready" in {family.name for family in parse_text(body.decode())}


@given(
    st.one_of(
        st.text(st.characters(codec="latin-1"), max_size=200),
        st.lists(
            st.sampled_from(
                [
                    *("application/openmetrics-text", "text/plain", ";", ",", "=", "version", "escaping"),
                    *("1.0.0", "9.9", "x", "allow-utf-8", "dots", "values", "q=0"),
                ]
            )
        ).map("".join),
    )
)
def test_any_wish_is_answered(accept: str) -> None:
    body, headers = render(figures(), accept=accept, accept_encoding="")
    assert b"rrd_ready" in body
    assert headers["Content-Type"].startswith(("text/plain", "application/openmetrics-text"))


@pytest.mark.parametrize(
    ("accept_encoding", "is_packed"),
    [
        *(("gzip", True), ("br, GZIP;q=0.5", True)),
        *((text, False) for text in ("", "gzip;q=0", "identity", "gzip; q=0.000", "gzipped", ",;,")),
    ],
)
def test_it_is_packed_where_that_is_taken(accept_encoding: str, is_packed: bool) -> None:
    body, headers = render(figures(), accept="", accept_encoding=accept_encoding)
    assert (headers.get("Content-Encoding") == "gzip") == is_packed
    assert b"rrd_build_info" in (gzip.decompress(body) if is_packed else body)


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_label_comes_out_as_it_went_in(first: str, second: str) -> None:
    metrics.TENANT_BYTES.set_all({first: 1, second: 2})
    try:
        body, _ = render(figures(), accept="", accept_encoding="")
        found = {family.name: family for family in parse_text(body.decode())}["rrd_tenant_kept_bytes"]
        told = {sample.labels["tenant"]: sample.value for sample in found.samples}
        assert told == {first: 1, second: 2}
    finally:
        metrics.TENANT_BYTES.set_all({})


def test_a_histogram_is_one_for_a_parser(scratch: None) -> None:
    histogram = metrics.Histogram("rrd_x_seconds", "X")
    histogram.observe_all([0.1, 2.0, 100.0])
    body, _ = render(figures(), accept=PROMETHEUS, accept_encoding="")
    found = families_of(body)["rrd_x_seconds"]
    values = {(sample.name, sample.labels.get("le")): sample.value for sample in found.samples}
    assert values["rrd_x_seconds_bucket", "0.05"] == 0
    assert values["rrd_x_seconds_bucket", "2.5"] == 2
    assert values["rrd_x_seconds_bucket", "+Inf"] == values["rrd_x_seconds_count", None] == 3
    assert values["rrd_x_seconds_sum", None] == pytest.approx(102.1)


def test_the_build_is_told() -> None:
    body, _ = render(figures(), accept="", accept_encoding="")
    assert f'version="{__version__}"' in body.decode()
