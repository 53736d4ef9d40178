"""All loggers of a process have one way out: what libraries may say, how much, and what of it."""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import sys
import warnings

import pytest
from aiohttp import ClientConnectionResetError
from hypothesis import given
from hypothesis import strategies as st

from rrd import log
from rrd.config import Config
from rrd.log import forms, redaction
from rrd.log import limit as log_limit
from rrd.log.limit import Kind, LineLimit

ADDRESSES = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str).filter(lambda text: text != "::"),
    st.ip_addresses(v=4).map(lambda address: f"::ffff:{address}"),
)
PLACES = [
    "{}",
    "('{}', 50123)",
    "peer={}:50123",
    "[{}]:50123",
    "from {}.",
    "<socket.socket fd=7, raddr=('{}', 50123)>",
    "read tcp->{}: i/o timeout",
    "b'{}'",
]
LIBRARIES = [
    "aiohttp.server",
    "aiohttp.websocket",
    "asyncio",
    "botocore.endpoint",
    "urllib3.pool",
    "new.library",
]
TRACE = "zz-what-a-visitor-sent 203.0.113.77"


@pytest.fixture
def stream() -> io.StringIO:
    """What is logged at debug level, as the daemon sets it up."""
    logging.getLogger().handlers.clear()  # ``setup`` would close those of pytest.
    stream = io.StringIO()
    log.setup(Config(log_level="debug"), stream=stream, environment={})
    return stream


# What libraries may say


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_tells_neither_arguments_nor_texts_of_exceptions(name: str, stream: io.StringIO) -> None:
    library = logging.getLogger(name)
    try:
        raise ValueError(TRACE)
    except ValueError:
        library.exception("no luck with %s", TRACE)
    library.error(f"Exception in callback\ntransport: {TRACE}")
    library.error(f"Exception in callback <Handle {TRACE}>")
    text = stream.getvalue()
    assert "zz-what" not in text
    assert "203.0.113" not in text
    assert "Exception in callback" in text
    if name != "aiohttp.websocket":
        assert "no luck with" in text
        assert "ValueError" in text


@pytest.mark.parametrize("name", [*LIBRARIES, "aiosqlite"])
def test_a_library_is_not_heard_below_warnings_at_any_setting(name: str, stream: io.StringIO) -> None:
    library = logging.getLogger(name)
    level = library.level
    library.setLevel(logging.DEBUG)  # As one that sets its own.
    try:
        library.debug("Authorization")
        library.info("sent headers")
    finally:
        library.setLevel(level)
    logging.getLogger("aiohttp.access").error("who asked for what")
    assert stream.getvalue() == ""


def test_what_an_event_loop_catches_is_told_without_what_it_holds(stream: io.StringIO) -> None:
    async def fails() -> None:
        raise ValueError("no luck with 203.0.113.77")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(log.on_loop_error)
        task = loop.create_task(fails(), name="work")
        await asyncio.wait([task])
        del task
        gc.collect()
        loop.call_exception_handler(
            {"message": f"Fatal error on <transport {TRACE}>", "transport": TRACE, "protocol": TRACE}
        )

    asyncio.run(main())
    text = stream.getvalue()
    assert 'loop_error message="Task exception was never retrieved" task=work' in text
    assert "ValueError: no luck with ***" in text
    assert "Fatal error on" in text
    assert "zz-what" not in text
    assert "203.0.113" not in text


def test_a_connection_that_breaks_under_a_librarys_task_is_told_without_a_trace(stream: io.StringIO) -> None:
    async def writes() -> None:
        raise ClientConnectionResetError("Cannot write to closing transport to 203.0.113.77")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(log.on_loop_error)
        task = loop.create_task(writes())
        await asyncio.wait([task])
        del task
        gc.collect()

    asyncio.run(main())
    text = stream.getvalue()
    assert "connection_broke error=ClientConnectionResetError" in text
    assert "Traceback" not in text
    assert "203.0.113" not in text


@pytest.mark.filterwarnings("default")
def test_warnings_and_what_cannot_be_raised_are_told_without_addresses(stream: io.StringIO) -> None:
    # As asyncio, where a test of pytest would make an error of it.
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("unclosed transport <raddr=('203.0.113.77', 50123)>", ResourceWarning, stacklevel=1)
        warnings.warn("peer 203.0.113.77 token=zz-what", UserWarning, stacklevel=1)

    class Unwilling:
        def __del__(self) -> None:
            raise ValueError("from 203.0.113.77 /ws?token=zz-what")

    Unwilling()
    gc.collect()
    text = stream.getvalue()
    assert "unclosed transport" in text
    assert "UserWarning" in text
    assert "unraisable object=" in text
    assert "203.0.113" not in text
    assert "zz-what" not in text


def test_a_log_that_cannot_be_written_shows_no_arguments(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    """``logging`` would print the record with its arguments to stderr."""
    stream.close()
    logging.getLogger("rrd.x").error("told to %s", TRACE)
    logging.getLogger("aiohttp.server").error("told to %s", TRACE)
    assert capsys.readouterr().err == ""


def test_in_a_command_warnings_are_told_the_same_way_and_all_is_as_before(
    capsys: pytest.CaptureFixture[str],
) -> None:
    root, hooks = logging.getLogger(), (sys.excepthook, sys.unraisablehook)
    before = root.handlers[:], root.level, logging.getLogger("rrd").level
    with log.for_command():
        log.emit(logging.getLogger("rrd.x"), logging.INFO, "quiet")
        log.emit(logging.getLogger("rrd.x"), logging.WARNING, "loud", url="/ws?token=zz-what")
        logging.getLogger("asyncio").error("odd\ntransport: %s", TRACE)
    told = capsys.readouterr().err
    assert "quiet" not in told
    assert 'warning loud url="/ws?token=***"' in told
    assert "message=odd" in told
    assert "zz-what" not in told
    assert before == (root.handlers, root.level, logging.getLogger("rrd").level)
    assert hooks == (sys.excepthook, sys.unraisablehook)


# Addresses and queries


@pytest.mark.parametrize("place", PLACES)
@given(address=ADDRESSES)
def test_an_address_is_hidden_wherever_it_stands(place: str, address: str) -> None:
    hidden = redaction.hide_callers(place.replace("{}", address))
    assert address not in hidden
    assert redaction.HIDDEN in hidden


@pytest.mark.parametrize(
    "text",
    [
        "at 12:34:56 and 2026-11-23T06:05:01.123Z",
        "rrd.http.reads:91 and std::string",
        "listening on :: and port :8787",
        "version 0.1.0, 3.11.7",
        "Why? 2 + 2 = 4",
        "took 1.5 ms: 1:2",
    ],
)
def test_what_is_no_address_and_no_query_stays(text: str) -> None:
    assert redaction.hide_callers(text) == text


@given(st.text("abcxyz0123456789.-_~%+", min_size=12))
def test_values_in_a_query_are_hidden(value: str) -> None:
    hidden = redaction.hide_callers(f"GET /recordings/x?a=zz{value}&b=zz{value} HTTP/1.1")
    assert f"zz{value}" not in hidden
    assert hidden == "GET /recordings/x?a=***&b=*** HTTP/1.1"


def test_a_secret_whose_end_was_cut_off_is_hidden() -> None:
    assert "hunter2" not in redaction.redact('{"token": "my hunter2 hunter2')
    assert "hunter2" not in redaction.redact("{'signature': 'my hunter2\\")


# Length and number


@pytest.mark.parametrize("kind", ["field", "argument", "exception", "library", "stack"])
def test_a_line_has_a_greatest_length(stream: io.StringIO, kind: str) -> None:
    long = "x\x00" * 4_000_000
    ours, library = logging.getLogger("rrd.x"), logging.getLogger("aiohttp.server")
    if kind == "field":
        log.emit(ours, logging.ERROR, "failed", text=long, status=500)
        assert stream.getvalue().endswith(" status=500\n")
    elif kind == "argument":
        ours.error("%s", long)
    elif kind == "exception":
        error: BaseException = ValueError(long)
        for _ in range(1000):
            error = BaseExceptionGroup(long, [error, ValueError(long)])
        log.emit(ours, logging.ERROR, "failed", exc_info=error)
    elif kind == "library":
        library.error(long)
    else:
        library.error("odd", stack_info=True)
    assert 0 < len(stream.getvalue()) < 8 * forms.LINE_CHARS_MAX


@pytest.mark.parametrize("name", ["rrd.x", "aiohttp.server"])
def test_one_event_over_and_over_fills_no_log_and_is_counted(stream: io.StringIO, name: str) -> None:
    logger = logging.getLogger(name)
    for number in range(3_000):
        try:
            raise ValueError(f"{number}")
        except ValueError as error:
            if name == "rrd.x":
                log.emit(logger, logging.ERROR, "failed", exc_info=True, error=error, number=number)
            else:
                logger.exception(f"no luck {number}")
    log.emit(logging.getLogger("rrd.y"), logging.WARNING, "another")
    for handler in logging.getLogger().handlers:
        if isinstance(handler, log.Handler):
            handler.close()
    text = stream.getvalue()
    assert len(text) < 2 * log_limit.BURST_BYTES
    assert "another" in text, "an event must not hide others"
    told = text.count("failed number=") + text.count("failed error=") + text.count("no luck ")
    (line,) = [line for line in text.splitlines() if "lines_left_out" in line]
    assert int(line.rpartition("count=")[2]) == 3_000 - told


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(1, 100_000), st.floats(0, 100)),
        min_size=1,
        max_size=200,
    )
)
def test_a_kind_logs_no_more_than_its_share_and_each_record_is_logged_or_counted(
    records: list[tuple[str, int, float]],
) -> None:
    clock = Clock()
    limit = LineLimit(clock)
    used: dict[str, int] = {}
    logged = counted = 0
    for name, size, pause_s in records:
        clock.now += pause_s
        kind = Kind("rrd.x", name)
        if limit.admits(kind):
            assert used.get(name, 0) <= log_limit.BURST_BYTES + clock.now * log_limit.BYTES_PER_S
            limit.charge(kind, size)
            used[name] = used.get(name, 0) + size
            logged += 1
        counted += sum(count for _, count in limit.counts())
    counted += sum(count for _, count in limit.counts(due_only=False))
    assert logged + counted == len(records)
    assert limit.counts(due_only=False) == []


def test_kinds_without_end_share_a_bucket() -> None:
    limit = LineLimit(Clock())
    for number in range(10 * log_limit.KINDS_MAX):
        kind = Kind("rrd.x", f"{number}")
        if limit.admits(kind):
            limit.charge(kind, log_limit.BURST_BYTES)
    assert len(limit.counts(due_only=False)) == 1


def test_a_count_is_told_while_its_event_goes_on_and_when_it_has_ended() -> None:
    clock = Clock()
    limit = LineLimit(clock)
    kind = Kind("rrd.x", "failed")
    limit.charge(kind, 10 * log_limit.BURST_BYTES)
    assert not limit.admits(kind)
    assert limit.counts() == []
    clock.now += log_limit.TELL_INTERVAL_S
    assert not limit.admits(kind)
    assert limit.counts() == [(kind, 2)]
    assert limit.counts() == []
