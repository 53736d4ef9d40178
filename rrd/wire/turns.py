"""How much decoding one call may do, so that an event loop gives turns.

A call is *quick* on an event loop: it stops before work of more than some 10 ms, and its caller goes on
in a thread. There it takes *steps*, which end soon enough for the caller to be cancelled between two. What
counts is decoded bytes: a kilobyte on the wire may be megabytes of text.
"""

from __future__ import annotations

import math
from typing import Literal

Pace = Literal["whole", "step", "quick"]
"""``whole``: all there is to do. ``step``: some ``STEP_BYTES``. ``quick``: some ``QUICK_BYTES``."""

QUICK_BYTES = 512 << 10
"""Decoded bytes in a quick call: twice a batch by default."""

STEP_BYTES = 8 << 20

WORK_BYTES: dict[Pace, float] = {"whole": math.inf, "step": STEP_BYTES, "quick": QUICK_BYTES}
"""Decoded bytes in a call."""

WINDOW_COST_BYTES = 4 << 10
"""A window that adds little costs as much as so many bytes. Empty gzip members take 20 bytes each."""

EVENT_COST_BYTES = 256
"""An element of a document costs so much beside its own bytes."""

QUICK_LINES_MAX = 4 << 10
"""Lines, messages and values in a quick call: a microsecond or three each."""

QUICK_VALUES_MAX = 2 << 10
"""Values that a quick call checks one by one, which takes several microseconds each."""

BAD_VALUE_COST = 4
METADATA_COST = 6
DOCUMENT_COST = 12
"""What a bad value, metadata, and a line that holds an array or a wrapper cost: as much as so many values."""

BAD_BYTES_OF_VALUE = 32
"""So many bytes of a bad line cost as much as a value: it is looked through several times."""

QUICK_CHECK_BYTES_MAX = 1 << 20
"""Lines that a quick call checks: a millisecond or five."""

QUICK_DOCUMENT_BYTES_MAX = 32 << 10
"""Documents and objects of metadata that a quick call takes apart."""

QUICK_LINE_BYTES_MAX = 64 << 10
"""The longest line that a quick call looks at by itself: it may nest deep, or consist of escapes."""

QUICK_TOGETHER_BYTES_MAX = 16 << 10
"""The longest line of values run together that a quick call takes apart: two bytes a value, a microsecond."""

QUICK_PACKED_BYTES_MAX = 4 << 10
"""The largest packed event that a quick call unpacks: deflate gives back up to a thousand times as much."""

QUICK_UNPACKED_BYTES_MAX = 1 << 20


class TakesLong(Exception):
    """A quick call stopped, and has done nothing: call again in a thread, not quick."""
