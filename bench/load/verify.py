"""Was everything that was acked stored, once, as it was sent, in a replayer's order?

``Comparison`` is told a recording's lines as they were read back, and knows by itself what was sent.
Timestamps of a recording rise from event to event, so a timestamp names an event, and the order of playback
is the order of sending.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import aiohttp

from bench.load.events import Events, numbered_id
from bench.load.outcome import Findings
from bench.load.plan import Target

_READERS = 8
_READ_TIMEOUT_S = 60.0
_AHEAD_EVENTS = 256


class Claim(NamedTuple):
    """What is said of a recording."""

    number: int
    sent: int
    unacked: Sequence[tuple[int, int]]
    """Ranges of events that may be there or not."""

    @property
    def acked(self) -> int:
        return self.sent - sum(limit - first for first, limit in self.unacked)


def compare(lines: Iterable[bytes], claim: Claim, recording_id: str, events: Events) -> Findings:
    """Hold the lines that a recording is read back as against what is said of it."""
    comparison = Comparison(claim, recording_id, events)
    for line in lines:
        comparison.take(line)
    return comparison.finish()


class Comparison:
    """``compare`` for lines that come bit by bit. Memory: a byte an event."""

    def __init__(self, claim: Claim, recording_id: str, events: Events) -> None:
        self._claim = claim
        self._recording = recording_id
        self._events = events
        self._findings = Findings(recordings=1)
        self._is_seen = bytearray(claim.sent)
        self._ending = b',"recordingId":"%b"}' % recording_id.encode()
        self._last = -1
        self._ahead: list[bytes] = []
        """The events behind the last one, the next one at the end."""

    def take(self, line: bytes) -> None:
        """Take the next line."""
        self._findings.stored += 1
        last = self._last
        if self._is_next(line):
            n = last + 1
        else:
            found = self._identify(line)
            if found is None:
                return
            n = found
        if n < last:
            self._findings.disordered += 1
            self._note(f"event {n} comes behind event {last}")
        if self._is_seen[n]:
            self._findings.doubled += 1
            self._note(f"event {n} is there again")
        self._is_seen[n] = 1
        if n != last + 1:
            self._ahead.clear()
        self._last = n

    def finish(self) -> Findings:
        """No more lines come: what is missing is lost."""
        for first, limit in self._claim.unacked:
            self._is_seen[first:limit] = b"\1" * (limit - first)
        self._findings.lost = self._is_seen.count(0)
        if self._findings.lost:
            self._note(f"{self._findings.lost} events are lost, the first is event {self._is_seen.find(0)}")
        return self._findings

    def _is_next(self, line: bytes) -> bool:
        """Tell whether this is the event that should come next, byte for byte. It nearly always is."""
        if not self._ahead:
            first = self._last + 1
            limit = min(first + _AHEAD_EVENTS, self._claim.sent)
            if first >= limit:
                return False
            self._ahead = self._events.ndjson(self._claim.number, first, limit).split(b"\n")[-2::-1]
        body, _, rest = line.rpartition(b',"sequenceId":')
        expected = self._ahead.pop()
        if body + b"}" == expected and rest.endswith(self._ending) and rest[: -len(self._ending)].isdigit():
            return True
        self._ahead.append(expected)
        return False

    def _identify(self, line: bytes) -> int | None:
        """Return which event this is, however it is written; None if it is none, which is noted."""
        event, n = _parsed(line), None
        if event is not None:
            event.pop("sequenceId", None)
            if event.pop("recordingId", self._recording) == self._recording:
                n = self._events.find(self._claim.number, event.get("timestamp"))
        if event is None or n is None or n >= self._claim.sent:
            self._findings.changed += 1
            self._note(f"this was never sent: {line[:100]!r}")
            return None
        if _canonical(event) != _canonical(_parsed(self._events.event(self._claim.number, n))):
            self._findings.changed += 1
            self._note(f"event {n} is not as it was sent")
        return n

    def _note(self, problem: str) -> None:
        self._findings.note(f"recording {self._recording}: {problem}")


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _canonical(event: object) -> str:
    # Not the objects: Python takes 1, 1.0 and true for equal.
    return json.dumps(event, sort_keys=True)


async def read_back(target: Target, run: str, claims: Iterable[Claim], events: Events) -> Findings:
    """Read all recordings of which something is said, some at a time, and compare them."""
    total = Findings()
    waiting = iter([claim for claim in claims if claim.sent])
    headers = {
        "Authorization": f"Bearer {target.read_key or target.key}",
        "Accept": "application/x-ndjson",
        "Accept-Encoding": "identity",
    } | ({"Origin": target.origin} if target.origin else {})
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_READ_TIMEOUT_S, sock_read=_READ_TIMEOUT_S)

    async def read_some(session: aiohttp.ClientSession) -> None:
        for claim in waiting:
            recording_id = numbered_id(run, claim.number)
            try:
                found = await _read(session, target, recording_id, claim, events)
            except (aiohttp.ClientError, OSError) as error:
                found = Findings(unreadable=1)
                found.note(f"recording {recording_id}: could not be read: {error!r}")
            total.add(found)

    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        await asyncio.gather(*(read_some(session) for _ in range(_READERS)))
    return total


async def _read(
    session: aiohttp.ClientSession, target: Target, recording_id: str, claim: Claim, events: Events
) -> Findings:
    comparison = Comparison(claim, recording_id, events)
    async with session.get(f"{target.url.rstrip('/')}/recordings/{recording_id}/events") as response:
        if response.status == 404:
            return comparison.finish()
        response.raise_for_status()
        rest = b""
        async for chunk in response.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                comparison.take(line)
        if rest:
            comparison.take(rest)
    return comparison.finish()
