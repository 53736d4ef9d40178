"""What the daemon counts about itself: the one seam between the stages and what shows their figures.

There are three ways for a figure to get here:

- A stage adds to a constant of this module, once a block, group or connection and never once an event::

      metrics.EVENTS_STORED.add(block.event_count)

- A stage logs what it did, and the fields of that log line are added up (``OF_LOG``). The names of log
  lines and of their fields are constant words, so nothing else is needed.

- What no stage counts is measured where it is shown: by ``rrd.measures``, and by ``rrd.http.standing``.

Figures are of this process and begin at 0 with it. Each may be changed and read from any thread. ``families``
returns all of them; no library is behind it. Names say what is special first and the unit last, as Prometheus
has it: ``rrd_stored_bytes_total``. ``docs/metrics.md`` has a line for each.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

_lock = threading.Lock()
"""``+=`` on an attribute is three steps. Held for those three, and for a read of all figures."""


_all: dict[str, Metric] = {}
"""By name, in the order of their declaration."""


class Sample(NamedTuple):
    """One figure, as it is shown."""

    name: str
    label: str
    """The value that tells it from others of its name; empty where the name has one figure."""
    value: float


Kind = Literal["counter", "gauge", "histogram"]


class Family(NamedTuple):
    """All figures of one name at one moment."""

    name: str
    kind: Kind
    text: str
    label: str
    """The name of the label; empty if there is none. A histogram's is ``le``: up to which value it counts."""
    samples: list[Sample]


class Metric:
    """One name, and what is shown under it."""

    kind: Kind

    def __init__(self, name: str, text: str, *, label: str = "") -> None:
        """``name``: with its unit, as it is shown. ``text``: what it counts, for people."""
        self.name = name
        self.text = text
        self.label = label
        _all[name] = self

    def samples(self) -> Iterator[Sample]:
        """Return the figures; to be called with the lock held."""
        raise NotImplementedError


class Counter(Metric):
    """A sum that only grows."""

    kind = "counter"

    def __init__(self, name: str, text: str) -> None:
        super().__init__(name, text)
        self._value = 0

    @property
    def value(self) -> int:
        """The figure as it is now."""
        return self._value

    def add(self, amount: int = 1) -> None:
        """Add ``amount``, which must not be negative."""
        assert amount >= 0, f"{self.name} only grows"
        with _lock:
            self._value += amount

    def samples(self) -> Iterator[Sample]:
        yield Sample(self.name, "", self._value)


class LoopCounter(Counter):
    """A counter that the event loop alone adds to. It needs no lock, so each read of a connection may add."""

    def add(self, amount: int = 1) -> None:
        self._value += amount


class LabelledCounter(Metric):
    """Counters of one name, told apart by a label whose values are constant words of the code."""

    kind = "counter"

    def __init__(self, name: str, label: str, text: str, *, from_zero: Iterable[str] = ()) -> None:
        """``from_zero``: values that are shown before anything is counted. Prometheus sees no increase in a
        series that begins with 1, so what an alert waits for must be there before.
        """
        super().__init__(name, text, label=label)
        self._values: dict[str, int] = dict.fromkeys(from_zero, 0)

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

    def value_of(self, value: str) -> int:
        """Return the figure of one ``value`` of the label."""
        return self._values.get(value, 0)

    def samples(self) -> Iterator[Sample]:
        yield from (Sample(self.name, value, count) for value, count in self._values.items())


class Gauge(Metric):
    """How much there is of something now."""

    kind = "gauge"

    def __init__(self, name: str, text: str) -> None:
        super().__init__(name, text)
        self._value: float = 0

    @property
    def value(self) -> float:
        """The figure as it is now."""
        return self._value

    def add(self, amount: int) -> None:
        """Add ``amount``, negative where there is less."""
        with _lock:
            self._value += amount

    def set(self, value: float) -> None:
        """Say how much there is, where that is measured and not counted."""
        self._value = value

    def samples(self) -> Iterator[Sample]:
        yield Sample(self.name, "", self._value)


class LabelledGauge(Metric):
    """Gauges of one name, measured together."""

    kind = "gauge"

    def __init__(self, name: str, label: str, text: str) -> None:
        super().__init__(name, text, label=label)
        self._values: dict[str, float] = {}

    def set_all(self, values: Mapping[str, float]) -> None:
        """Say how much there is for each value of the label. Values that are not there any more are gone."""
        self._values = dict(values)

    @property
    def values(self) -> Mapping[str, float]:
        """The figures as they are now, by the value of the label. Not to be changed."""
        return self._values

    def samples(self) -> Iterator[Sample]:
        yield from (Sample(self.name, value, count) for value, count in self._values.items())


class Histogram(Metric):
    """How often something took how long, in seconds."""

    kind = "histogram"

    def __init__(self, name: str, text: str) -> None:
        super().__init__(name, text, label="le")
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._sum = 0.0

    @property
    def counts(self) -> list[int]:
        """How many durations there were up to each of ``BOUNDS_S`` and above the one before, as of now."""
        return self._counts.copy()

    def observe(self, seconds: float) -> None:
        """Add one duration."""
        at = bisect_left(BOUNDS_S, seconds)
        with _lock:
            self._counts[at] += 1
            self._sum += seconds

    def observe_all(self, durations: Iterable[float]) -> None:
        """Add those of a group, for little more than the price of one."""
        counts = self._counts
        with _lock:
            for seconds in durations:
                counts[bisect_left(BOUNDS_S, seconds)] += 1
                self._sum += seconds

    def samples(self) -> Iterator[Sample]:
        """Return the buckets, each of which counts what the ones before it count, too; then sum and count."""
        count = 0
        for bound, more in zip([*map(str, BOUNDS_S), "+Inf"], self._counts, strict=True):
            count += more
            yield Sample(f"{self.name}_bucket", bound, count)
        yield Sample(f"{self.name}_sum", "", self._sum)
        yield Sample(f"{self.name}_count", "", count)


LABELS_MAX = 500
"""Label values are constant words; a bound in case that some are not."""

BOUNDS_S = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""Of all histograms: from a sync of a fast disk to an ack that came after a store was away. Events gather for
a second by default, so there is a bucket just above that."""

# Receiving
CONNECTIONS_OPEN = Gauge("rrd_open_connections", "Connections that are open, sockets too")
SOCKETS_OPEN = Gauge("rrd_open_sockets", "WebSockets that are open")
BEAT_LENGTH = Gauge("rrd_beat_seconds", "How far apart the reads of one socket are; 0: as something comes")
BEAT_SOCKETS = Gauge(
    "rrd_beat_sockets", "WebSockets that are read on the beat, all others as something comes"
)
BYTES_RECEIVED = LoopCounter(
    "rrd_received_bytes_total", "Bytes that were read from connections, as they came"
)
LINES_DECODED = Counter("rrd_decoded_lines_total", "Lines that were decoded, events and others")
BYTES_DECODED = Counter("rrd_decoded_bytes_total", "Bytes of these lines, decoded")
REFUSALS = LabelledCounter(
    "rrd_refusals_total", "code", "Requests and sockets whose events were refused, or some of them"
)
CONNECTIONS_PAUSED = Gauge(
    "rrd_paused_connections", "Connections that aren't read because held_bytes_max is used up"
)

# Storing
GATHERING = Histogram(
    "rrd_gathering_seconds", "From the first event of a block to the beginning of its commit"
)
SYNC = Histogram("rrd_sync_seconds", "Syncs of the blocks of one commit")
INDEXING = Histogram("rrd_indexing_seconds", "Transactions by which the index takes in blocks of a commit")
COMMIT = Histogram("rrd_commit_seconds", "Commits: write, sync, index, acks")
ACK_AGE = Histogram("rrd_ack_age_seconds", "From the first event of a block to its ack")
COMMIT_RUNNING = Gauge("rrd_running_commit_seconds", "How long the commit under way has taken; 0 if none is")
BLOCKS_STORED = Counter("rrd_stored_blocks_total", "Blocks that are synced and in the index")
EVENTS_STORED = Counter("rrd_stored_events_total", "Events of these blocks")
BYTES_STORED = Counter("rrd_stored_bytes_total", "Bytes of these blocks, compressed")
BLOCKS_FAILED = LabelledCounter(
    *("rrd_failed_blocks_total", "reason", "Blocks that could not be stored"),
    from_zero=("disk_full", "storage_failed", "index_busy"),
)
LINES_REPEATED = Counter("rrd_repeated_lines_total", "Lines that were stored before, and weren't again")
LINES_QUARANTINED = LabelledCounter(
    "rrd_quarantined_lines_total", "reason", "Lines that are no events, and are kept aside"
)
RECORDINGS_OPEN = Gauge("rrd_open_recordings", "Recordings that are open for writing")
SEGMENTS_SEALED = Counter("rrd_sealed_segments_total", "Segments that were sealed")

# Reading
READERS_OPEN = Gauge("rrd_open_readers", "Answers from recordings that are being made or sent")
READERS_WAITING = Gauge("rrd_waiting_readers", "Answers that wait for a part of read_bytes_max")
WATCHERS_OPEN = Gauge("rrd_open_watchers", "Readers that follow a recording as it grows")
READS_REFUSED = LabelledCounter(
    "rrd_refused_reads_total", "code", "Requests without events that were answered with an error"
)
WATCHES_ENDED = LabelledCounter(
    "rrd_ended_watches_total", "reason", "Streams to these that have ended, overruns too"
)

# Moving to the object store
OBJECTS_PUBLISHED = Counter("rrd_published_objects_total", "Objects that were written, verified, published")
BYTES_ROLLED_UP = Counter("rrd_rolled_up_bytes_total", "Bytes of the segments that objects were made of")
BYTES_PUBLISHED = Counter("rrd_published_bytes_total", "Bytes of the objects that were published")
OBJECTS_EVICTED = Counter("rrd_evicted_objects_total", "Objects whose local copies were deleted")
BYTES_EVICTED = Counter("rrd_evicted_bytes_total", "Bytes of these copies")
ROLL_UPS_FAILED = LabelledCounter(
    "rrd_failed_roll_ups_total", "reason", "Tries to roll up that failed; each is made again"
)
RECORDINGS_SET_ASIDE = Gauge(
    "rrd_set_aside_recordings", "Recordings that could not be rolled up, and are left alone for now"
)
STORE_AWAY = Gauge("rrd_object_store_away", "Whether the object store gives the roll-up no answer: 1 or 0")

BACKLOG_SEGMENTS = Gauge("rrd_backlog_segments", "Sealed segments that are in no object yet")
BACKLOG_BYTES = Gauge("rrd_backlog_bytes", "Bytes of these")
BACKLOG_AGE = Gauge("rrd_backlog_age_seconds", "How long the oldest of these has waited")

# Room
BYTES_KEPT = Gauge("rrd_kept_bytes", "Bytes of all recordings, in segments and objects")
INDEX_BYTES = Gauge("rrd_index_bytes", "Bytes of the index's files")
DISK_FREE = Gauge("rrd_free_disk_bytes", "Bytes that may still be written to the disk of the data directory")
DISK_RESERVE = Gauge("rrd_disk_reserve_bytes", "Below so many free bytes new events are refused")
MEMORY = Gauge("rrd_resident_memory_bytes", "Memory that the process has, when it was last measured")
MEASURED_AGE = Gauge(
    "rrd_measured_age_seconds",
    "How old the figures are that are measured: index, backlog, kept bytes, memory",
)
BUDGET_USED = LabelledGauge("rrd_budget_used_bytes", "budget", "Bytes that are used of each budget")
BUDGET_LIMIT = LabelledGauge("rrd_budget_limit_bytes", "budget", "Bytes that each budget has")
PLACES_USED = LabelledGauge("rrd_places_used", "place", "Places that are taken, of each kind")
PLACES_LIMIT = LabelledGauge("rrd_places_limit", "place", "Places that there are, of each kind")

# Removing
RECORDINGS_REMOVED = LabelledCounter("rrd_removed_recordings_total", "reason", "Recordings that were removed")

# The process
READY = Gauge("rrd_ready", "Whether events are taken, as /-/ready says: 1 or 0")
LOOP_LAG = Histogram("rrd_loop_lag_seconds", "How much later than asked for the event loop wakes a task")

# Tenants, where metrics_tenants is on
TENANT_RECORDINGS = LabelledGauge("rrd_tenant_recordings", "tenant", "Recordings of each tenant")
TENANT_BYTES = LabelledGauge("rrd_tenant_kept_bytes", "tenant", "Bytes of the recordings of each tenant")

# The log
LOGGED = LabelledCounter("rrd_log_lines_total", "name", "Log lines from INFO on, even if not written")
PROBLEMS = LabelledCounter(
    *("rrd_logged_problems_total", "level", "Log lines from WARNING on, likewise"),
    from_zero=("warning", "error", "critical"),
)

OF_LOG: dict[str, dict[str, Counter]] = {
    "sealed": {"segments": SEGMENTS_SEALED},
    "rolled_up": {
        "objects": OBJECTS_PUBLISHED,
        "segment_bytes": BYTES_ROLLED_UP,
        "object_bytes": BYTES_PUBLISHED,
    },
}
"""Log event → field → the counter that the field is added to."""


def note_logged(name: str, level: int, fields: Mapping[str, object]) -> None:
    """Count a log line of INFO or above, and add up its fields as ``OF_LOG`` says.

    ``level``: as of ``logging``; what is no problem is not counted as one.
    """
    LOGGED.add(name)
    if level in _PROBLEM_LEVELS:
        PROBLEMS.add(_PROBLEM_LEVELS[level])
    for field, counter in OF_LOG.get(name, {}).items():
        # A test holds that each call has the field. Logging must not raise where one has not.
        if isinstance(value := fields.get(field), int):
            counter.add(value)


_PROBLEM_LEVELS = {30: "warning", 40: "error", 50: "critical"}


def families() -> list[Family]:
    """Return all figures as they are at one moment."""
    with _lock:
        return [
            Family(metric.name, metric.kind, metric.text, metric.label, [*metric.samples()])
            for metric in _all.values()
        ]


def snapshot() -> list[Sample]:
    """Return the same without the words."""
    return [sample for family in families() for sample in family.samples]
