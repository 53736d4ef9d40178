"""What the daemon counts about itself: the one seam between the stages and what shows their figures.

There are two ways for a figure to get here:

- A stage adds to a constant of this module, once a block, group or connection and never once an event::

      metrics.EVENTS_STORED.add(block.event_count)

- A stage logs what it did, and the fields of that log line are added up (``OF_LOG``). The names of log
  lines and of their fields are constant words, so nothing else is needed.

Figures are of this process and begin at 0 with it. Each may be changed and read from any thread. ``snapshot``
returns all of them; no library is behind it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_lock = threading.Lock()
"""``+=`` on an attribute is three steps. Held for those three, and for a read of all figures."""


_all: dict[str, _Figure | LabelledCounter] = {}
"""By name, in the order of their declaration."""


class Sample(NamedTuple):
    """One figure, as it is shown."""

    name: str
    label: str
    """The value that tells it from others of its name; empty where the name has one figure."""
    value: int


class _Figure:
    """One number."""

    def __init__(self, name: str, text: str) -> None:
        """``name``: with its unit, as it is shown. ``text``: what it counts, for people."""
        self.name = name
        self.text = text
        self._value = 0
        _all[name] = self

    @property
    def value(self) -> int:
        """The figure as it is now."""
        return self._value

    def samples(self) -> Iterator[Sample]:
        yield Sample(self.name, "", self._value)


class Counter(_Figure):
    """A sum that only grows."""

    def add(self, amount: int = 1) -> None:
        """Add ``amount``, which must not be negative."""
        assert amount >= 0, f"{self.name} only grows"
        with _lock:
            self._value += amount


class LabelledCounter:
    """Counters of one name, told apart by a label whose values are constant words of the code."""

    def __init__(self, name: str, label: str, text: str) -> None:
        self.name = name
        self.label = label
        self.text = text
        self._values: dict[str, int] = {}
        _all[name] = self

    def add(self, value: str, amount: int = 1) -> None:
        """Add ``amount`` for one ``value`` of the label. Values beyond ``LABELS_MAX`` share one."""
        assert amount >= 0, f"{self.name} only grows"
        with _lock:
            if value not in self._values and len(self._values) >= LABELS_MAX:
                value = "others"
            self._values[value] = self._values.get(value, 0) + amount

    @property
    def value(self) -> int:
        """The sum over all values of the label, as it is now."""
        with _lock:
            return sum(self._values.values())

    def samples(self) -> Iterator[Sample]:
        yield from (Sample(self.name, value, count) for value, count in self._values.items())


class Gauge(_Figure):
    """How many there are of something now."""

    def add(self, amount: int) -> None:
        """Add ``amount``, negative where there are fewer."""
        with _lock:
            self._value += amount

    def set(self, value: int) -> None:
        """Say how many there are, where that is measured and not counted."""
        self._value = value


LABELS_MAX = 500
"""Label values are constant words; a bound in case that some are not."""

# Receiving
SOCKETS_OPEN = Gauge("rrd_open_sockets", "WebSockets that are open")
LINES_RECEIVED = Counter("rrd_received_lines_total", "Lines that were decoded, events and others")
BYTES_RECEIVED = Counter("rrd_received_bytes_total", "Bytes of these lines, decoded")
WATCHERS_OPEN = Gauge("rrd_open_watchers", "Readers that follow a recording as it grows")
WATCHES_ENDED = LabelledCounter(
    "rrd_ended_watches_total", "reason", "Streams to these that have ended, overruns too"
)
REFUSALS = LabelledCounter("rrd_refusals_total", "code", "Requests and sockets that were refused")

# Storing
BLOCKS_STORED = Counter("rrd_stored_blocks_total", "Blocks that are synced and in the index")
EVENTS_STORED = Counter("rrd_stored_events_total", "Events of these blocks")
BYTES_STORED = Counter("rrd_stored_bytes_total", "Bytes of these blocks, compressed")
LINES_REPEATED = Counter("rrd_repeated_lines_total", "Lines that were stored before, and weren't again")
LINES_QUARANTINED = Counter("rrd_quarantined_lines_total", "Lines that are no events, and are kept aside")
RECORDINGS_OPEN = Gauge("rrd_open_recordings", "Recordings that are open for writing")
SEGMENTS_SEALED = Counter("rrd_sealed_segments_total", "Segments that were sealed")

# Moving to the object store
OBJECTS_PUBLISHED = Counter("rrd_published_objects_total", "Objects that were written, verified, published")
BYTES_ROLLED_UP = Counter("rrd_rolled_up_bytes_total", "Bytes of the segments that objects were made of")
BYTES_PUBLISHED = Counter("rrd_published_bytes_total", "Bytes of the objects that were published")
OBJECTS_EVICTED = Counter("rrd_evicted_objects_total", "Objects whose local copies were deleted")
BYTES_EVICTED = Counter("rrd_evicted_bytes_total", "Bytes of these copies")

BACKLOG_SEGMENTS = Gauge("rrd_backlog_segments", "Sealed segments that are in no object yet")
BACKLOG_BYTES = Gauge("rrd_backlog_bytes", "Bytes of these")
BACKLOG_AGE = Gauge("rrd_backlog_age_seconds", "How long the oldest of these has waited")

# Room
BYTES_KEPT = Gauge("rrd_kept_bytes", "Bytes of all recordings, in segments and objects")
DISK_FREE = Gauge("rrd_free_disk_bytes", "Bytes that may still be written to the disk of the data directory")
MEMORY = Gauge("rrd_resident_memory_bytes", "Memory that the process has")

# Removing
RECORDINGS_REMOVED = LabelledCounter("rrd_removed_recordings_total", "reason", "Recordings that were removed")

# The log
LOGGED = LabelledCounter("rrd_log_lines_total", "name", "Log lines from INFO on, even if not written")

OF_LOG: dict[str, dict[str, Counter]] = {
    "sealed": {"segments": SEGMENTS_SEALED},
    "rolled_up": {
        "objects": OBJECTS_PUBLISHED,
        "segment_bytes": BYTES_ROLLED_UP,
        "object_bytes": BYTES_PUBLISHED,
    },
    "evicted": {"objects": OBJECTS_EVICTED, "bytes": BYTES_EVICTED},
}
"""Log event → field → the counter that the field is added to."""


def note_logged(name: str, fields: Mapping[str, object]) -> None:
    """Count a log line of INFO or above, and add up its fields as ``OF_LOG`` says."""
    LOGGED.add(name)
    for field, counter in OF_LOG.get(name, {}).items():
        # A test holds that each call has the field. Logging must not raise where one has not.
        if isinstance(value := fields.get(field), int):
            counter.add(value)


def snapshot() -> list[Sample]:
    """Return all figures as they are at one moment."""
    with _lock:
        return [sample for metric in _all.values() for sample in metric.samples()]
