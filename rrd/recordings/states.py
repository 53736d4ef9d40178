"""The states of a recording and of a segment: which step leads from which state to which. No other happens.

A recording's state is its ``Recording``'s. A block is taken only of a *waiting* recording, so a segment
never has two blocks that are not synced. Only a *silent* recording leaves: all of it is safe.

A segment's state is the index's, which knows no other step. It takes a *finished* one for active: that one
is the ``Sealer``'s, and a crash makes it active again.
"""

from __future__ import annotations

from typing import Literal

State = Literal["opening", "silent", "waiting", "busy", "leaving", "expelling", "expelled", "stopped"]
Step = Literal["opened", "put", "taken", "settled", "let go", "removed", "stopped"]

RECORDING: dict[State, dict[Step, State]] = {
    "opening": {"opened": "silent"},
    "silent": {"put": "waiting", "let go": "leaving", "removed": "expelled", "stopped": "stopped"},
    "waiting": {"taken": "busy", "removed": "expelled", "stopped": "stopped"},
    "busy": {"settled": "silent", "removed": "expelling", "stopped": "stopped"},
    "leaving": {},
    "expelling": {"settled": "expelled"},
    "expelled": {},
    "stopped": {"settled": "stopped"},
}
OPEN = frozenset[State]({"silent", "waiting", "busy"})
"""It takes what is put."""
UNDER_WAY = frozenset[State]({"waiting", "busy", "expelling"})
"""Something waits, or a block is on its way."""

SEGMENT: dict[str, dict[str, str]] = {
    "active": {"finished": "finished", "removed": "gone"},
    "finished": {"resumed": "active", "sealed": "sealed", "removed": "gone"},
    "sealed": {"published": "rolled", "removed": "gone"},
    "rolled": {"evicted": "gone", "removed": "gone"},
    "gone": {},
}


class NotInTable(RuntimeError):
    """A bug: going on could mix up blocks, or lose them."""
