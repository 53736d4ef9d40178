"""Fixtures of the console's tests: the browser of ``tests/client``, daemons with the console, windows."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.client.client_lab import Driver
from tests.client.conftest import driver as driver  # noqa: PLC0414 – a fixture that is the same here
from tests.console.lab import ConsoleDaemon, ConsoleWindow, OpenWindow, opened_window


@pytest.fixture(scope="session")
def console(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleDaemon]:
    """A daemon for all tests that add recordings and leave it as it is otherwise."""
    # What happened in a recording is known soon after it is over.
    soon = {"seal_closed_s": 0, "rollup_delay_s": 0}
    daemon = ConsoleDaemon(tmp_path_factory.mktemp("console"), **soon)
    daemon.start()
    yield daemon
    daemon.stop()


OwnConsole = Callable[..., ConsoleDaemon]


@pytest.fixture
def own_console(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnConsole]:
    """Start daemons for this test alone: ``own_console(console_assets="none")``."""
    with contextlib.ExitStack() as stack:

        def start(**settings: Any) -> ConsoleDaemon:
            daemon = ConsoleDaemon(tmp_path_factory.mktemp("console"), **settings)
            daemon.start()
            stack.callback(daemon.stop)
            return daemon

        yield start


_NAMES = (f"window {number}" for number in itertools.count(1))


@pytest.fixture
def open_window(driver: Driver) -> Iterator[OpenWindow]:
    """Open windows, closed after the test: ``open_window(console, colorScheme="dark", key=None)``."""
    with contextlib.ExitStack() as stack:

        def open_one(daemon: ConsoleDaemon, **options: Any) -> ConsoleWindow:
            return stack.enter_context(opened_window(driver, next(_NAMES), daemon, **options))

        yield open_one
