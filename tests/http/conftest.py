from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop

from rrd.log import Redaction
from tests.harness import LocalDaemon, running
from tests.http.api import VISITOR_ADDRESS, VISITOR_AGENT, Api, visiting
from tests.http.signed_in import Person, a_person
from tests.thoroughness import IS_EXHAUSTIVE, IS_THOROUGH, is_tried

HERE = Path(__file__).parent

ABOUT_CONNECTIONS = {
    *("test_beat", "test_beat_ends", "test_bodies_as_sent", "test_budget", "test_counting", "test_deflate"),
    *("test_follow", "test_framing", "test_half_close", "test_hostile", "test_ingest_ws", "test_let_go"),
    *("test_refused_midway", "test_short_way", "test_turns", "test_upgrades"),
    *("test_revocation", "test_slow_takers", "test_socket_ends", "test_sockets", "test_streams"),
    *("test_untaken_lists", "test_watch", "test_ws_frames"),
}
"""Modules whose subject is what a loop may do in its own manner."""

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"uvloop": uvloop.new_event_loop}
if IS_THOROUGH:
    LOOPS["asyncio"] = asyncio.new_event_loop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The daemon runs on uvloop. Where time is no object, tests run on asyncio's, too: all those about
    connections, and a third of the others, or all where all is tried.
    """
    return LOOPS


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what would say about answers, once more, what it has said on uvloop."""
    seen: Counter[str] = Counter()
    left_out = set()
    for item in items:
        module = item.path.stem
        if item.path.parent != HERE or module in ABOUT_CONNECTIONS or "[asyncio" not in item.name:
            continue
        if not (IS_EXHAUSTIVE or is_tried(seen[module], level=0)):
            left_out.add(item)
        seen[module] += 1
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


class _Collected(logging.Handler):
    """Everything that is logged, of rrd before the log's own redaction: its code is to keep secrets out."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter())
        self.lines: list[str] = []
        self._redaction = Redaction()

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith("rrd") and not self._redaction.filter(record):
            return
        self.lines.append(self.format(record))


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """The lines that rrd and aiohttp log, down to DEBUG."""
    collected = _Collected()
    loggers = [logging.getLogger(name) for name in ("rrd", "aiohttp", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(collected)
        logger.setLevel(logging.DEBUG)
    yield collected.lines
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(collected)
        logger.setLevel(level)


@pytest.fixture
async def daemon(tmp_path: Path, logged: list[str]) -> AsyncIterator[LocalDaemon]:
    """A daemon with default settings. Whatever a test does with it, no secret gets into the log."""
    async with running(tmp_path) as local:
        yield local
    _check_log(logged, local)


@pytest.fixture
async def person(tmp_path: Path, logged: list[str]) -> AsyncIterator[Person]:
    """A person at the console of a daemon, not signed in. No secret gets into the log here either."""
    async with running(tmp_path, console=True) as local, a_person(local) as found:
        yield found
    _check_log(logged, local)


def _check_log(logged: list[str], local: LocalDaemon) -> None:
    log = "\n".join(logged)
    for secret in (*local.secrets, VISITOR_ADDRESS, VISITOR_AGENT, "signature=", "Bearer "):
        assert secret not in log
    # The log of a good day, and of any day on which only callers are at fault.
    assert "Traceback" not in log
    assert "internal" not in log


@pytest.fixture
async def api(daemon: LocalDaemon) -> AsyncIterator[Api]:
    async with visiting(daemon) as visitor:
        yield visitor
