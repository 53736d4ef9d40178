"""What came of a load: latencies, counts, and how busy the load itself was."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from typing import Any

from hdrh.histogram import HdrHistogram

PROBLEMS_MAX = 20
BUSY_SHARE = 0.9
"""A load process that uses more of a core than this is at its limit."""
LATE_S = 0.02
LATE_SHARE_MAX = 0.01
WAIT_SHARE_MAX = 0.05

_LATENCY_US_MAX = 3_600_000_000
_DIGITS = 3
_VALUE_BITS = 11
"""Of a value in such a histogram: three digits and some more."""


class Latencies:
    """Latencies of events in an HDR histogram: three digits each, from a microsecond to an hour."""

    def __init__(self) -> None:
        self._histogram = HdrHistogram(1, _LATENCY_US_MAX, _DIGITS)
        self._fresh: defaultdict[int, int] = defaultdict(int)
        """Not in the histogram yet. Its own way to count one takes as long as all else that an ack costs; so
        values are cut to its precision here, which leaves some ten thousand different ones at most."""

    def add(self, latency_s: float, count: int = 1) -> None:
        """Count events that took this long. What took more than an hour counts as an hour."""
        value = int(latency_s * 1e6)
        excess_bits = value.bit_length() - _VALUE_BITS
        if excess_bits > 0:
            value = value >> excess_bits << excess_bits
        self._fresh[value] += count

    def add_all(self, encoded: bytes) -> None:
        """Add what ``encode`` gave in another process."""
        self._histogram.decode_and_add(encoded)

    def encode(self) -> bytes:
        encoded: bytes = self._whole().encode()
        return encoded

    @property
    def count(self) -> int:
        return int(self._whole().get_total_count())

    def ms(self, percentile: float) -> float:
        """Return what ``percentile`` percent (0 to 100) of the events took at most; NaN if there are none."""
        if not self.count:
            return float("nan")
        return float(self._whole().get_value_at_percentile(percentile)) / 1000

    @property
    def max_ms(self) -> float:
        return self.ms(100)

    def _whole(self) -> Any:  # The package has no types.
        for value, count in self._fresh.items():
            self._histogram.record_value(min(max(1, value), _LATENCY_US_MAX), count)
        self._fresh.clear()
        return self._histogram


@dataclasses.dataclass
class Findings:
    """How what is stored differs from what was sent, in events."""

    recordings: int = 0
    """Read back."""
    stored: int = 0
    lost: int = 0
    """Acked, and not there."""
    doubled: int = 0
    """There more than once; each time too many counts."""
    changed: int = 0
    """Not as sent, or never sent."""
    disordered: int = 0
    """Before one that a replayer needs earlier."""
    problems: list[str] = dataclasses.field(default_factory=list)
    """The first few, and recordings that could not be read."""
    unreadable: int = 0
    """Recordings that should be there and could not be read: nothing is known of them."""

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.changed or self.disordered or self.unreadable)

    def add(self, other: Findings) -> None:
        for field in dataclasses.fields(self):
            if field.name != "problems":
                setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))
        self.problems = (self.problems + other.problems)[:PROBLEMS_MAX]

    def note(self, problem: str) -> None:
        """Keep a problem, if it's one of the first."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(problem)


@dataclasses.dataclass
class Part:
    """What one load process tells."""

    opened: int = 0
    due: int = 0
    sent: int = 0
    acked: int = 0
    refused: int = 0
    bytes_sent: int = 0
    acked_by_second: Counter[int] = dataclasses.field(default_factory=Counter)
    last_ack_s: float = 0.0
    messages: int = 0
    late_messages: int = 0
    late_s: float = 0.0
    cpu_share: float = 0.0
    wait_share: float = 0.0
    failed: int = 0
    problems: list[str] = dataclasses.field(default_factory=list)
    latencies: bytes = b""


@dataclasses.dataclass
class Outcome:
    """What came of a load, all processes together."""

    recordings: int
    """Asked for."""
    opened: int
    """Connections that were taken."""
    due: int
    """Events that should have been sent; as many as were, in a closed loop."""
    sent: int
    """Events."""
    acked: int
    refused: int
    """Events that the server said it would not take, or counted as bad or as repeats."""
    failed: int
    """Connections that were refused, cut, or never said goodbye."""
    problems: list[str]
    """The first few, in words."""
    seconds: float
    """From the start of sending to the last ack."""
    bytes_sent: int
    """Over the connections, TLS and TCP not counted."""
    acked_by_second: list[int]
    """Events acked in each second from the start of sending."""
    latencies: Latencies
    """Of each acked event: from when its message was meant to be sent (closed loop: was sent) to the ack."""
    late_s: float
    """The greatest delay of a message by the load itself, from when it was due."""
    late_share: float
    """Of messages that the load itself sent more than ``LATE_S`` late."""
    cpu_shares: list[float]
    """Of a core, of each load process while it sent."""
    wait_shares: list[float]
    """Of the time that each wanted to run, and had to wait since others had its core."""
    findings: Findings | None = None
    """What was read back; None if nothing was."""

    @classmethod
    def of(cls, recordings: int, parts: list[Part], findings: Findings | None) -> Outcome:
        """Add up what the processes tell."""
        latencies, by_second = Latencies(), Counter[int]()
        for part in parts:
            latencies.add_all(part.latencies)
            by_second.update(part.acked_by_second)
        return cls(
            recordings=recordings,
            opened=sum(part.opened for part in parts),
            due=sum(part.due for part in parts),
            sent=sum(part.sent for part in parts),
            acked=sum(part.acked for part in parts),
            refused=sum(part.refused for part in parts),
            failed=sum(part.failed for part in parts),
            problems=[problem for part in parts for problem in part.problems][:PROBLEMS_MAX],
            seconds=max(part.last_ack_s for part in parts),
            bytes_sent=sum(part.bytes_sent for part in parts),
            acked_by_second=[by_second[second] for second in range(max(by_second, default=-1) + 1)],
            latencies=latencies,
            late_s=max(part.late_s for part in parts),
            late_share=_share(
                sum(part.late_messages for part in parts), sum(part.messages for part in parts)
            ),
            cpu_shares=[part.cpu_share for part in parts],
            wait_shares=[part.wait_share for part in parts],
            findings=findings,
        )

    @property
    def events_s(self) -> float:
        """Events acked a second, from the start of sending to the last ack."""
        return _share(self.acked, self.seconds)

    @property
    def is_good(self) -> bool:
        """Everything that was due is sent and acked, and as far as it was read back, it is all there."""
        is_whole = self.acked == self.sent == self.due and not (self.refused or self.failed or self.problems)
        return is_whole and (self.findings is None or self.findings.is_clean)

    @property
    def limits(self) -> list[str]:
        """In which way the load itself was the limit, in sentences; empty if it wasn't."""
        found = []
        if (busiest := max(self.cpu_shares)) > BUSY_SHARE:
            found.append(
                f"a load process used {busiest:.0%} of a core, so that the server could perhaps do more"
            )
        if self.late_share > LATE_SHARE_MAX:
            waited = max(self.wait_shares)
            others = f" (others had its core for {waited:.0%} of the time)" if waited > WAIT_SHARE_MAX else ""
            found.append(
                f"{self.late_share:.1%} of the messages were sent more than {LATE_S * 1000:.0f} ms late, "
                f"up to {self.late_s:.3f} s{others}: the latencies hold the load's own delays"
            )
        return found


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
