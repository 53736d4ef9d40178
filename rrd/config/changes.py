"""Which settings count without a restart, and what became of those that were read again. Pure.

A setting that stands in neither table waits for a restart: it says where rrd listens or what it stores its
data in, or a part is built by it once.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReloadState:
    """What became of the last reload of the settings."""

    at_ms: int | None = None
    """When it was, ms since the epoch; None: there was none since the start."""
    error: str | None = None
    """Why the settings were refused, so that those of before count; None: they were taken."""
    waiting: tuple[str, ...] = ()
    """Settings that were changed and wait for a restart, in the order of the table of settings."""
