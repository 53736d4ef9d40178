"""What the proofs share."""

from __future__ import annotations

import pytest

from bench.daemon import AS_INSTALLED


@pytest.fixture
def as_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Daemons have the environment that systemd gives the installed one: memory in pages of 2 MiB."""
    for name, value in AS_INSTALLED.items():
        monkeypatch.setenv(name, value)
