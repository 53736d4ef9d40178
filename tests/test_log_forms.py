"""The log as JSON: one object a line whatever is logged, typed, without secrets, bounded."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd import log
from rrd.config import Config
from rrd.log.forms import LINE_CHARS_MAX, VALUE_CHARS_MAX, JsonFormatter
from rrd.log.limit import Kind, LineLimit
from tests.harness import PYTHONPATH

KEYS = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=12).filter(
    lambda key: key not in {"exc_info", "token", "signature", "authorization", "code"}
)
VALUES = st.one_of(st.integers(), st.booleans(), st.none(), st.floats(), st.text(max_size=50), st.binary())


def set_up(**settings: object) -> io.StringIO:
    """Log into memory, without closing what pytest listens with."""
    logging.getLogger().handlers.clear()
    stream = io.StringIO()
    config = Config(log_format="json", **settings)  # type: ignore[arg-type]
    log.setup(config, stream=stream, environment={})
    return stream


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_an_object_with_time_level_event_and_typed_fields_in_order() -> None:
    stream = set_up()
    log.emit(
        logging.getLogger("rrd.x"), logging.WARNING, "sealed", segments=7, took_ms=1.5, torn=False, why=None,
        store="local:/a b", error=ValueError("no"), rate=float("nan"),
    )  # fmt: skip
    (line,) = lines_of(stream)
    assert [*line] == ["time", "level", "event", "segments", "took_ms", "torn", "store", "error", "rate"]
    assert line | {"time": ""} == {
        "time": "", "level": "warning", "event": "sealed", "segments": 7, "took_ms": 1.5, "torn": False,
        "store": "local:/a b", "error": "no", "rate": "nan",
    }  # fmt: skip
    assert line["time"].endswith("Z")


@given(st.dictionaries(KEYS, VALUES, max_size=8), st.text(max_size=200))
def test_whatever_is_logged_is_one_line_of_ascii(fields: dict[str, Any], message: str) -> None:
    stream = set_up()
    log.emit(logging.getLogger("rrd.x"), logging.INFO, "told", **fields)
    logging.getLogger("rrd.x").warning("odd %s", message)
    logging.getLogger("elsewhere").warning(message)
    text = stream.getvalue()
    assert text.isascii()
    told, odd, elsewhere = (json.loads(line) for line in text.removesuffix("\n").split("\n"))
    assert told["event"] == "told"
    assert len(told) == 3 + sum(value is not None for value in fields.values())
    assert (odd["event"], elsewhere["event"]) == ("odd", "library")


@pytest.mark.parametrize("key", ["time", "level", "event", "trace"])
def test_no_field_hides_what_each_line_has(key: str) -> None:
    stream = set_up()
    fields: dict[str, Any] = {key: "mine"}
    log.emit(logging.getLogger("rrd.x"), logging.INFO, "told", **fields)
    (line,) = lines_of(stream)
    assert (line["event"], line[f"{key}_"]) == ("told", "mine")


@pytest.mark.parametrize(
    "fields",
    [
        {"token": "zz-secret"},
        {"signature": "zz-secret"},
        {"url": "/x?token=zz-secret&b=1"},
        {"head": "Authorization: Bearer zz-secret"},
        {"error": ValueError("public_key_rr_zz-secret")},
    ],
)
def test_no_secret_is_told(fields: dict[str, Any]) -> None:
    stream = set_up()
    try:
        raise ValueError("?token=zz-secret")
    except ValueError as error:
        log.emit(logging.getLogger("rrd.x"), logging.ERROR, "failed", exc_info=error, **fields)
    (line,) = lines_of(stream)
    assert "zz-secret" not in stream.getvalue()
    assert line["trace"][0].startswith("Traceback")
    assert line["trace"][-1] == "ValueError: ?token=***"


def test_a_line_has_a_greatest_length() -> None:
    stream = set_up()
    fields: dict[str, Any] = {f"k{n}": "x" * 10**6 for n in range(20)}
    log.emit(logging.getLogger("rrd.x"), logging.INFO, "told", **fields)
    (line,) = lines_of(stream)
    assert len(line["k0"]) < VALUE_CHARS_MAX + 50
    assert len(stream.getvalue()) < LINE_CHARS_MAX + 20 * 100


def test_what_is_left_out_and_what_fails_are_lines_of_json_too() -> None:
    set_up()
    stream = io.StringIO()
    handler = log.Handler(stream, LineLimit(lambda: 0.0))
    handler.setFormatter(JsonFormatter())
    record = logging.getLogger("rrd").makeRecord(
        "rrd.x", logging.INFO, __file__, 1, "told " + "x" * 7_000, (), None,
        extra={"kind": Kind("rrd.x", "told", "busy"), "told": ("told", {"text": "x" * 7_000})},
    )  # fmt: skip
    for _ in range(1_000):
        handler.handle(record)
    handler.close()
    last = lines_of(stream)[-1]
    assert (last["event"], last["of"], last["code"]) == ("lines_left_out", "told", "busy")
    assert last["count"] + len(lines_of(stream)) - 1 == 1_000
    stream.truncate(0)
    stream.seek(0)
    handler.handleError(record)
    assert lines_of(stream)[0]["event"] == "log_failed"


@pytest.mark.parametrize(
    ("log_format", "start"),
    [("auto", "<4>told n=1"), ("json", '<4>{"level": "warning", "event": "told", "n": 1}'), ("logfmt", "20")],
)
def test_the_journal_gets_priorities_and_no_date_unless_it_is_asked_for(
    tmp_path: Path, log_format: Any, start: str
) -> None:
    logging.getLogger().handlers.clear()
    with open(tmp_path / "stderr", "w+") as stream:
        status = os.fstat(stream.fileno())
        journal = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        log.setup(Config(log_format=log_format), stream=stream, environment=journal)
        log.emit(logging.getLogger("rrd.x"), logging.WARNING, "told", n=1)
        logging.getLogger().handlers.clear()
        stream.seek(0)
        assert stream.read().startswith(start)


def test_an_exception_that_ends_the_process_is_json_too() -> None:
    code = (
        "from rrd import log\nfrom rrd.config import Config\nlog.setup(Config(log_format='json'))\n"
        "raise ValueError('no\\nway')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": PYTHONPATH},
        check=False,
    )
    (line,) = map(json.loads, done.stderr.splitlines())
    assert line["event"] == "crashed"
    assert line["trace"][-2:] == ["ValueError: no", "way"]
