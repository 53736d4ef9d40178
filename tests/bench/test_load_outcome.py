"""What can be asked of a load, and what it tells."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bench.load import Plan, Target, WrongUse
from bench.load.outcome import Findings, Latencies, Outcome, Part


def test_percentiles_have_three_digits() -> None:
    latencies = Latencies()
    for value in range(1, 100_001):
        latencies.add(value / 1000)
    assert latencies.count == 100_000
    for percentile in (50, 90, 99, 99.9, 100):
        assert latencies.ms(percentile) == pytest.approx(percentile * 1000, rel=0.002)
    assert latencies.max_ms == pytest.approx(100_000, rel=0.002)


def test_histograms_of_processes_add_up() -> None:
    ours, theirs = Latencies(), Latencies()
    ours.add(0.001, 3)
    theirs.add(1.0, 1)
    ours.add_all(theirs.encode())
    assert ours.count == 4
    assert ours.ms(75) == pytest.approx(1, rel=0.002)
    assert ours.max_ms == pytest.approx(1000, rel=0.002)


def test_latencies_out_of_bounds_are_counted_and_none_is_no_number() -> None:
    latencies = Latencies()
    assert math.isnan(latencies.ms(50))
    for value in (-0.001, 0.0, 10_000.0):
        latencies.add(value)
    assert latencies.count == 3


def outcome(part: Part, findings: Findings | None = None) -> Outcome:
    part.latencies = part.latencies or Latencies().encode()
    return Outcome.of(1, [part], findings)


GOOD: dict[str, Any] = {"due": 5, "sent": 5, "acked": 5}


@pytest.mark.parametrize(
    ("changes", "findings"),
    [
        ({"acked": 4}, None),
        ({"sent": 4, "acked": 4}, None),
        ({"refused": 1}, None),
        ({"failed": 1}, None),
        ({"problems": ["cut"]}, None),
        *(
            ({}, Findings(**{what: 1}))  # type: ignore[arg-type]  # mypy takes them for lists, too.
            for what in ("lost", "doubled", "changed", "disordered", "unreadable")
        ),
    ],
)
def test_anything_wrong_makes_an_outcome_bad(changes: dict[str, Any], findings: Findings | None) -> None:
    assert outcome(Part(**GOOD), Findings()).is_good
    assert not outcome(Part(**GOOD | changes), findings).is_good


def test_the_load_says_when_it_is_the_limit() -> None:
    assert outcome(Part(cpu_share=0.5, messages=1000, late_messages=5)).limits == []
    assert "97%" in outcome(Part(cpu_share=0.97)).limits[0]
    late = Part(messages=1000, late_messages=50, wait_share=0.3)
    assert "others had its core for 30%" in outcome(late).limits[0]
    assert "5.0%" in outcome(Part(messages=1000, late_messages=50, late_s=0.4)).limits[0]


def test_findings_add_up() -> None:
    total = Findings(recordings=1, lost=2, problems=["a"])
    total.add(Findings(recordings=3, doubled=1, problems=["b"]))
    assert total == Findings(recordings=4, lost=2, doubled=1, problems=["a", "b"])


# What can be asked for


@pytest.mark.parametrize(
    "changes",
    [
        {"recordings": 0},
        {"batch": 0},
        {"for_s": 0},
        {"for_s": float("nan")},
        {"ramp_s": -1},
        {"rate": 0},
        {"rate": float("nan")},
        {"rate": 1e6, "for_s": 1e6},
        {"is_closed": True, "thinks": True},
        {"is_post": True, "deflate": "takeover"},
        {"is_post": True, "stream": "one", "encoding": "gzip"},
        {"stream": "one"},
        {"deflate": "takeover", "encoding": "gzip"},
        {"window": 2},
        {"cpus": frozenset()},
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    Plan().check()
    with pytest.raises(WrongUse):
        Plan(**changes).check()


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:8787", "ftp://x", "http://", "http://x:0", "http://x:y", "http://x?y", "http://u@x"],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(WrongUse):
        Target(url, "k")


def test_a_target_tells_its_parts_and_hides_its_keys() -> None:
    target = Target("https://example.com/below/", "secret-1", "secret-2")
    assert (target.host, target.port, target.is_tls, target.path) == ("example.com", 443, True, "/below")
    assert "secret" not in repr(target)
    assert target.without_keys("a secret-1 and secret-2") == "a … and …"
