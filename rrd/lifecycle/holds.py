"""What retention holds back until a person confirms it, and what it has to remember for that.

``retention.json`` is the daemon's: the time that it trusts, the settings that have been in effect, and what
is held. ``rrd retention --confirm`` writes the ids of what is held into ``retention-confirmed.json``, which
the daemon takes. So a confirmation is for exactly what was held when the command ran: what is held anew has
another id. Neither is synced: where a power cut takes them, nothing is known, and that holds back more.
"""

from __future__ import annotations

import logging
import os
import uuid
from typing import Literal

import msgspec

from rrd import layout
from rrd.clock import time_text
from rrd.config import Config
from rrd.disk import files
from rrd.errors import NotFound
from rrd.log import emit

What = Literal["clock", "age", "bytes", "tombstones", "times"]

logger = logging.getLogger(__name__)

_HOUR_MS = 3_600_000


class Hold(msgspec.Struct, frozen=True):
    """Something that is not removed until a person confirms it."""

    id: str
    what: What
    now_ms: int
    """The wall clock when it was held."""
    ahead_ms: int = 0
    """What: clock. By how much it was ahead."""
    settings: str = ""
    """What: age, bytes or tombstones. The settings that are to be in effect."""
    before_ms: int = 0
    """What: times. How far age had been dealt with."""
    recordings: int = 0
    bytes: int = 0
    percent: float = 0.0
    """The share of all that would go."""

    def text(self) -> str:
        """Return what is held and why, in a sentence for people, without paths."""
        share = f"{self.percent:.0f} %" if self.percent >= 1 else f"{self.percent:.1f} %"
        return {
            "clock": (
                f"the wall clock says {time_text(self.now_ms)}, which is {_duration(self.ahead_ms)} more "
                "than can be explained, so nothing is removed by age and no tombstone is forgotten"
            ),
            "age": (
                f"the settings of retention by age would remove {share} of all at once "
                f"({self.recordings:,} recordings), so nothing is removed by age"
            ),
            "bytes": (
                f"the settings of retention by bytes would remove {share} of all at once "
                f"({self.bytes:,} bytes), so nothing is removed by bytes"
            ),
            "tombstones": (
                f"tombstone_days would forget {share} of all tombstones at once, so none is forgotten: "
                "late events of erased recordings stay out"
            ),
            "times": (
                f"{self.recordings:,} recordings ({self.bytes:,} bytes) are older than they can be: the "
                "clock was wrong when they were stored, so they are not removed by age"
            ),
        }[self.what]


class State(msgspec.Struct):
    """``retention.json``. None: not known."""

    trusted_ms: int | None = None
    is_ahead: bool = False
    clean_ms: int | None = None
    """When the last round ended that left nothing too old."""
    settings: dict[str, str] = msgspec.field(default_factory=dict)
    """Those that are in effect, by family: age, bytes, tombstones."""
    holds: dict[str, Hold] = msgspec.field(default_factory=dict)
    """What is held, by ``What``."""


class Holds:
    """The two files of a data directory. Blocking, a few milliseconds a call."""

    def __init__(self, config: Config) -> None:
        self._path = layout.retention_path(config.data_dir)
        self._confirmed_path = layout.retention_confirmed_path(config.data_dir)

    def load(self) -> State:
        """Return what was kept; nothing is known if there is no file, or none that can be read."""
        try:
            with open(self._path, "rb") as file:
                return msgspec.json.decode(file.read(), type=State)
        except FileNotFoundError:
            return State()
        except (OSError, msgspec.DecodeError) as error:
            emit(logger, logging.WARNING, "retention_state_unreadable", path=self._path, error=error)
            return State()

    def save(self, state: State) -> None:
        """Replace the file. Raises ``OSError``."""
        files.replace(self._path, msgspec.json.encode(state))

    def confirm(self) -> list[Hold]:
        """Confirm what is held now, and return it; the daemon goes on within seconds, or at its next start.

        Raises ``NotFound`` if nothing is held, ``OSError``.
        """
        held = list(self.load().holds.values())
        if not held:
            raise NotFound("retention holds nothing back, so there is nothing to confirm")
        files.replace(self._confirmed_path, msgspec.json.encode([hold.id for hold in held]))
        return held

    def is_confirmed(self) -> bool:
        """Tell whether there is a confirmation to be taken. One system call."""
        return os.path.exists(self._confirmed_path)

    def confirmed(self) -> frozenset[str]:
        """Return the ids of what has been confirmed. Raises ``OSError``."""
        try:
            with open(self._confirmed_path, "rb") as file:
                return msgspec.json.decode(file.read(), type=frozenset[str])
        except FileNotFoundError:
            return frozenset()
        except msgspec.DecodeError as error:
            emit(logger, logging.WARNING, "confirmation_unreadable", path=self._confirmed_path, error=error)
            return frozenset()

    def forget_confirmed(self) -> None:
        """Remove the confirmation, once what it changes is saved. Raises ``OSError``."""
        files.remove(self._confirmed_path)


def new_id() -> str:
    """Return an id for a ``Hold``."""
    return str(uuid.uuid4())


def _duration(ms: int) -> str:
    hours = ms / _HOUR_MS
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} hours"
