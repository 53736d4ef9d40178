"""The figures of ``metrics`` in the formats that Prometheus scrapes, and those of the process beside them.

``prometheus_client`` writes the formats. Its counters and its global registry are not used: a stage adds to
``metrics`` and knows no library, and what is shown is collected from there at each scrape.
"""

from __future__ import annotations

import contextlib
import gzip
import platform
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from rrd import __version__, metrics

_ACCEPT_LENGTH_MAX = 1_000
"""That of Prometheus has some 300 characters."""


class FiguresCollector(Collector):
    """What ``metrics`` holds, as the library takes it."""

    def collect(self) -> Iterator[Metric]:
        """Yield all families that have a figure. May be called in any thread."""
        yield InfoMetricFamily(
            "rrd_build",
            "Which rrd this is, and on which Python it runs",
            {"version": __version__, "python": platform.python_version()},
        )
        for family in metrics.families():
            if family.samples or not family.name.startswith("rrd_tenant_"):
                yield _family_of(family)


def make_registry() -> CollectorRegistry:
    """Return a registry of rrd's figures and those of process, platform and garbage collector."""
    registry = CollectorRegistry()
    registry.register(FiguresCollector())
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def render(registry: CollectorRegistry, *, accept: str, accept_encoding: str) -> tuple[bytes, dict[str, str]]:
    """Return a body and its headers, as a scraper takes them: OpenMetrics or text, packed or not. Some
    milliseconds.
    """
    body, kind = _encoded(registry, accept)
    headers = {"Content-Type": kind, "Vary": "Accept, Accept-Encoding"}
    if _takes_gzip(accept_encoding):
        body = gzip.compress(body, compresslevel=1)
        headers["Content-Encoding"] = "gzip"
    return body, headers


def _encoded(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    if len(accept) <= _ACCEPT_LENGTH_MAX:
        # A version or an escaping that is none raises. All scrapers understand the oldest format.
        with contextlib.suppress(ValueError, TypeError, IndexError):
            encode, kind = choose_encoder(accept)
            return encode(registry), kind
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


def _takes_gzip(accept_encoding: str) -> bool:
    """Tell whether gzip is named, and not ruled out (RFC 9110, 12.5.3)."""
    for coding in accept_encoding.lower().split(","):
        name, *parameters = (part.strip() for part in coding.split(";"))
        if name == "gzip":
            return not any(parameter in {"q=0", "q=0.0", "q=0.00", "q=0.000"} for parameter in parameters)
    return False


def _family_of(family: metrics.Family) -> Metric:
    if family.kind == "histogram":
        return _histogram_of(family)
    make = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    found = make(family.name, family.text, labels=[family.label] if family.label else [])
    for sample in family.samples:
        found.add_metric([sample.label] if family.label else [], sample.value)
    return found


def _histogram_of(family: metrics.Family) -> Metric:
    found = HistogramMetricFamily(family.name, family.text)
    buckets = [(sample.label, sample.value) for sample in family.samples if sample.label]
    found.add_metric([], buckets, _sum_of(family.samples))
    return found


def _sum_of(samples: Iterable[metrics.Sample]) -> float:
    return next(sample.value for sample in samples if sample.name.endswith("_sum"))
