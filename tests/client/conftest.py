"""Fixtures of the tests with the published recorder: a browser for all, daemons and tabs."""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.client.client_lab import Daemon, Driver, OpenTab, Tab, install_packages, missing_tools

# So that a failed assert there shows what was compared.
pytest.register_assert_rewrite("tests.client.client_checks")


def _unavailable(reason: str) -> None:
    """Skip, or fail where the caller of pytest insists that these tests run."""
    if os.environ.get("TESTS_REQUIRE_TOOLS") == "1":
        pytest.fail(f"TESTS_REQUIRE_TOOLS=1, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def driver() -> Iterator[Driver]:
    """One Chromium for the whole run; every tab gets an empty profile of its own."""
    if missing := missing_tools():
        _unavailable(f"not installed: {', '.join(missing)}")
    try:
        install_packages()
    except RuntimeError as error:
        _unavailable(str(error))
    # Not in pytest's own directory: Chromium makes a socket there, whose path may have 107 bytes.
    with (
        tempfile.TemporaryDirectory(prefix="rrd-chromium-", ignore_cleanup_errors=True) as scratch,
        contextlib.closing(Driver(scratch)) as driver,
    ):
        yield driver


@pytest.fixture(scope="session")
def daemon(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon for all tests that leave it as it is."""
    daemon = Daemon(tmp_path_factory.mktemp("rrd"))
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture
def own_daemon(driver: Driver, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon for this test alone."""
    daemon = Daemon(tmp_path)
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture
def open_tab(driver: Driver) -> Iterator[OpenTab]:
    """Open tabs, closed after the test: ``open_tab(host=..., cookies=..., mortal=..., is_public=...)``."""
    names = (f"tab {number}" for number in itertools.count(1))
    with contextlib.ExitStack() as stack:

        def open_one(
            *,
            host: str = "127.0.0.1",
            cookies: dict[str, str] | None = None,
            mortal: bool = False,
            is_public: bool = False,
            has_profile: bool = False,
            flags: Sequence[str] = (),
        ) -> Tab:
            tab = Tab(driver, next(names), host)
            opened = tab.opened(
                cookies=cookies or {},
                mortal=mortal or is_public or bool(flags),
                is_public=is_public,
                has_profile=has_profile,
                flags=flags,
            )
            return stack.enter_context(opened)

        yield open_one
