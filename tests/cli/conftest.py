"""Commands run within the test's process; what they change in it is put back."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator

import pytest

from rrd.cli import common


@pytest.fixture(autouse=True)
def _no_settings_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("RRD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(common, "SYSTEM_CONFIG", "/nonexistent/rrd.toml")  # That of this machine, if any.


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    ours = logging.getLogger("rrd")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
    logging.captureWarnings(False)
