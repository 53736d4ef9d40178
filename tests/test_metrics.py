"""What is counted: each stage once, from any thread, and nothing that a log line doesn't hold."""

from __future__ import annotations

import ast
import io
import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import rrd
from rrd import log, metrics
from rrd.config import Config
from rrd.metrics import Counter, Gauge, Histogram, LabelledCounter, LabelledGauge, Metric
from tests.parsed import tree_of

FILES = sorted(Path(rrd.__file__).parent.rglob("*.py"))


@pytest.fixture
def scratch() -> Iterator[None]:
    """Metrics that a test makes are gone after it."""
    kept = dict(metrics._all)
    yield
    metrics._all.clear()
    metrics._all.update(kept)


def value_of(name: str, label: str = "") -> float:
    """Return one figure; 0 for a label that has not been counted."""
    found = {(sample.name, sample.label): sample.value for sample in metrics.snapshot()}
    return found.get((name, label), 0)


def logged_fields() -> dict[str, list[set[str]]]:
    """Return the log lines of the code, by name: the fields of each call that is of INFO or above."""
    found: dict[str, list[set[str]]] = {}
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if not (isinstance(node, ast.Call) and ast.unparse(node.func) in {"emit", "log.emit"}):
                continue
            _, level, name, *_ = node.args
            if isinstance(name, ast.Constant) and ast.unparse(level) != "logging.DEBUG":
                fields = {keyword.arg for keyword in node.keywords if keyword.arg}
                found.setdefault(str(name.value), []).append(fields)
    return found


@pytest.mark.parametrize("name", metrics.OF_LOG)
def test_each_log_line_that_is_added_up_has_its_fields(name: str) -> None:
    calls = logged_fields()[name]
    for fields in calls:
        assert metrics.OF_LOG[name].keys() <= fields


def test_names_end_in_what_they_are() -> None:
    for metric in metrics._all.values():
        assert re.fullmatch(r"rrd_[a-z]+(_[a-z]+)*", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.name.endswith("_seconds") or not isinstance(metric, Histogram)
        assert metric.text[0].isupper()
        assert not metric.text.endswith(".")


def test_each_metric_is_counted_somewhere() -> None:
    """A constant that no stage uses would show 0 for ever."""
    source = "".join(path.read_text() for path in FILES if path.name != "metrics.py")
    in_log = {counter.name for counters in metrics.OF_LOG.values() for counter in counters.values()}
    for name, metric in vars(metrics).items():
        if isinstance(metric, Metric):
            ways = ("add(", "set(", "observe(", "observe_all(", "set_all(")
            is_used = any(f"metrics.{name}.{way}" in source for way in ways) or metric.name in in_log
            is_told = f"metrics.{name}," in source  # Given to ``standing``'s way to tell of several.
            assert is_used or is_told or metric in {metrics.LOGGED, metrics.PROBLEMS}, name


def test_no_addition_is_lost_between_threads(scratch: None) -> None:
    counter, gauge = Counter("rrd_x_total", "X"), Gauge("rrd_x", "X")
    labelled = LabelledCounter("rrd_y_total", "y", "Y")

    def add_many(number: int) -> None:
        for _ in range(5_000):
            counter.add(2)
            gauge.add(1 if number % 2 else -1)
            labelled.add(str(number % 2))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add_many, range(8)))
    assert value_of("rrd_x_total") == 80_000
    assert value_of("rrd_x") == 0
    assert [value_of("rrd_y_total", label) for label in "01"] == [20_000, 20_000]


def test_a_label_has_a_bounded_number_of_values(scratch: None) -> None:
    labelled = LabelledCounter("rrd_y_total", "y", "Y")
    for number in range(metrics.LABELS_MAX + 50):
        labelled.add(str(number))
    samples = list(labelled.samples())
    assert len(samples) == metrics.LABELS_MAX + 1
    assert value_of("rrd_y_total", "others") == 50


def test_a_log_line_counts_even_if_it_is_not_written() -> None:
    logging.getLogger().handlers.clear()
    stream = io.StringIO()
    log.setup(Config(log_level="error"), stream=stream, environment={})
    logger = logging.getLogger("rrd.test")
    before = {name: value_of(name) for name in ("rrd_sealed_segments_total",)}
    noted = value_of("rrd_log_lines_total", "sealed")
    log.emit(logger, logging.INFO, "sealed", segments=3)
    log.emit(logger, logging.DEBUG, "sealed", recording="x", segment=1)
    assert value_of("rrd_sealed_segments_total") == before["rrd_sealed_segments_total"] + 3
    assert value_of("rrd_log_lines_total", "sealed") == noted + 1
    assert stream.getvalue() == ""


def test_buckets_count_all_that_is_no_longer_than_their_bound(scratch: None) -> None:
    histogram, together = Histogram("rrd_x_seconds", "X"), Histogram("rrd_y_seconds", "Y")
    durations = [0.0, 0.0005, 0.00051, 1.0, 1.2, 60.0, 61.0]
    for seconds in durations:
        histogram.observe(seconds)
    together.observe_all(durations)
    buckets = {sample.label: sample.value for sample in histogram.samples() if sample.label}
    assert list(buckets) == [*map(str, metrics.BOUNDS_S), "+Inf"]
    assert [*buckets.values()] == sorted(buckets.values())
    for bound in metrics.BOUNDS_S:
        assert buckets[str(bound)] == sum(seconds <= bound for seconds in durations), bound
    assert value_of("rrd_x_seconds_count") == len(durations)
    assert value_of("rrd_x_seconds_sum") == pytest.approx(sum(durations))
    assert [sample.value for sample in together.samples()] == [sample.value for sample in histogram.samples()]


def test_what_is_not_measured_any_more_is_not_told(scratch: None) -> None:
    gauge = LabelledGauge("rrd_x", "y", "X")
    gauge.set_all({"a": 1, "b": 2})
    gauge.set_all({"b": 3})
    assert [(sample.label, sample.value) for sample in gauge.samples()] == [("b", 3)]


@pytest.mark.parametrize(("level", "counted"), [(20, 0), (30, 1), (40, 1), (50, 1)])
def test_log_lines_from_warning_on_are_problems(level: int, counted: int) -> None:
    before = metrics.PROBLEMS.value
    metrics.note_logged("sealed", level, {})
    assert metrics.PROBLEMS.value == before + counted
