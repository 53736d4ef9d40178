"""What all tests share."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import blocking, scratch
from tests.thoroughness import IS_EXHAUSTIVE, IS_THOROUGH, examples, is_tried

# So that a failed assert there shows what was compared.
pytest.register_assert_rewrite("tests.console.lab", "tests.console.reading")

# A busy machine is slow now and then; that says nothing about the code.
settings.register_profile(
    "rrd",
    deadline=None,
    max_examples=examples(100),
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("rrd")


def pytest_configure() -> None:
    """Let processes of tests hear a hangup and Ctrl-C, also where the tests themselves ignore them: under
    ``nohup``, or in the background of a script.
    """
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    scratch.use_memory()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Say how many processes ``-n auto`` means: tests that have servers or browsers mostly wait."""
    return 2 * len(os.sched_getaffinity(0)) + 1


# Last, after -k and -m: a row that is asked for by itself is the first of those left.
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out some rows of tables that take long, unless all is to be tried."""
    if IS_EXHAUSTIVE:
        return
    seen: Counter[str] = Counter()
    left_out: list[pytest.Item] = []
    for item in items:
        if item.get_closest_marker("table"):
            table = item.nodeid.partition("[")[0]
            if not is_tried(seen[table]):
                left_out.append(item)
            seen[table] += 1
    config.hook.pytest_deselected(items=left_out)
    gone = set(left_out)
    items[:] = [item for item in items if item not in gone]


def pytest_collection_finish() -> None:
    """Let the collector of garbage leave alone what stays until the end: a million objects of tests' modules.

    It would walk them in the midst of what is measured.
    """
    gc.collect()
    gc.freeze()


LOG_LINES_SHOWN = 60


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show how the logs of a failed test's daemons end: elsewhere nobody can look at them afterwards."""
    report = yield
    directory = getattr(item, "funcargs", {}).get("tmp_path")
    if report.failed and isinstance(directory, Path):
        for log in sorted(directory.rglob("rrd.log")):
            with contextlib.suppress(OSError):
                lines = log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
                report.sections.append((f"end of {log.relative_to(directory)}", "\n".join(lines)))
    return report


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A directory of the test's own: on a disk if it is marked ``disk`` (``tests.scratch``)."""
    if request.node.get_closest_marker("disk") is None:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="rrd-test-", dir=scratch.on_disk()) as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def _blocked() -> Iterator[list[str]]:
    found: list[str] = []
    # It takes an eighth of the time of all tests.
    with blocking.watched(found.append) if IS_THOROUGH else contextlib.nullcontext():
        yield found


@pytest.fixture(autouse=True)
def _no_coroutine_blocks(_blocked: list[str]) -> Iterator[None]:
    """Fail a test in which a coroutine of rrd's blocked its event loop (``tests.blocking``)."""
    _blocked.clear()
    yield
    assert _blocked == []


@pytest.fixture(autouse=True)
def _umask_as_before() -> Iterator[None]:
    """Give the next test the umask of before: a daemon sets one for its process."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Put back what commands, daemons and ``log.setup`` change for the whole process.

    A command that fails leaves its own logging behind on purpose: its process ends. Ours goes on.
    """
    root, ours = logging.getLogger(), logging.getLogger("rrd")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    yield
    # Not ``basicConfig(force=True)``: it would close the handlers of pytest.
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
    logging.captureWarnings(False)
