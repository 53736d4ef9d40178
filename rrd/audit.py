"""The audit log: who changed what, beyond what visitors send. One line of JSON each, for ``grep`` and ``jq``.

Commands and the daemon append to the same file, ``audit.ndjson`` in the data directory: what is typed in a
shell reaches no journal. The daemon logs each of its lines as well, as the event ``audit``::

    {"at":"2026-11-23T06:05:01.123Z","event":"key_revoked","who":"user:root","sudo":"ann","key":"3f2b8c1e"}

``who`` is a user of this machine (``user:NAME``), an API key (``key:ID``), a session of the console
(``session:ID``). No line holds a key, a secret, an address, or what a filter looked for.

A line is written after the change that it tells of, so ``kill -9`` in between loses it. Where it can't be
written, on a full disk say, the change stands and a warning tells of the lack.
"""

from __future__ import annotations

import logging
import os
import pwd
from collections.abc import Mapping
from typing import Any, Literal

import orjson

from rrd import layout
from rrd.clock import Clock, SystemClock, time_text
from rrd.disk.ring import append_line
from rrd.log import emit

BYTES_MAX = 1 << 20
"""What one file may hold: some 5,000 lines."""

FILES_KEPT = 8
"""How many older files there are, at most."""

AuditEvent = Literal[
    "key_made",
    "key_rotated",
    "key_edited",
    "key_revoked",
    "signing_key_made",
    "signing_key_rotated",
    "signing_key_edited",
    "signing_key_revoked",
    "erased",
    "restored",
    "mended",
    "retention_confirmed",
    "store_adopted",
    "console_address_made",
    "console_signed_in",
    "console_signed_out",
    "shared",
]

_logger = logging.getLogger(__name__)


def note(
    data_dir: str,
    event: AuditEvent,
    fields: Mapping[str, object],
    *,
    clock: Clock | None = None,
    bytes_max: int = BYTES_MAX,
) -> None:
    """Append a line, and log it. Blocking for a sync.

    ``fields`` begin with ``who``; those that are None are left out. Raises nothing: what it tells of has
    happened.
    """
    told: dict[str, Any] = {
        "event": event,
        **{key: value for key, value in fields.items() if value is not None},
    }
    emit(_logger, logging.INFO, "audit", **told)
    line = {"at": time_text((clock or SystemClock()).now_ms()), **told}
    try:
        append_line(paths(data_dir), orjson.dumps(line, default=str) + b"\n", bytes_max=bytes_max)
    except (OSError, orjson.JSONEncodeError) as error:
        emit(
            _logger, logging.WARNING, "audit_not_kept", event=event, error=error,
            next_step=f"see whether {paths(data_dir)[0]} can be written, and note down by hand what was done",
        )  # fmt: skip


def paths(data_dir: str) -> list[str]:
    """Return where the files of the log may lie, the newest first."""
    return [layout.audit_path(data_dir, number) for number in range(FILES_KEPT + 1)]


def user() -> dict[str, object]:
    """Return who runs a command: ``who``, and ``sudo`` with the user that asked for it."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    who: dict[str, object] = {"who": f"user:{name}"}
    asked = os.environ.get("SUDO_USER", "")
    if os.geteuid() == 0 and asked.isascii() and asked.isprintable() and 0 < len(asked) <= 64:
        who["sudo"] = asked
    return who
