"""Commands run within the test's process; what they change in it is put back."""

from __future__ import annotations

import os

import pytest

from rrd.cli import common


@pytest.fixture(autouse=True)
def _no_settings_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("RRD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(common, "SYSTEM_CONFIG", "/nonexistent/rrd.toml")  # That of this machine, if any.
