"""Sockets on a beat: how long it is, who is on it, and that nothing is lost at any point of it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import aiohttp
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd import metrics
from rrd.daemon.fitting import Fitted
from rrd.daemon.reload import put_into_effect
from rrd.http.beat import READS_MIN, TICK_S, WATCHED_S, Beat, Pace, next_beat_s
from rrd.http.standing import bring_up_to_date
from rrd.http.turns import BULK_BYTES
from tests.harness import eventually, running, until
from tests.samples import an_event, new_id
from tests.wired import ManualClock

_CEILING_S = 0.9


class _Transport:
    """What the beat asks of a transport: its socket."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self.is_aborted = False

    def get_extra_info(self, name: str) -> Any:
        return self._end if name == "socket" else None

    def abort(self) -> None:
        self.is_aborted = True


class _Connection:
    """A connection whose transport is paused and resumed, and that keeps what it is given."""

    def __init__(self, beat: Beat) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.transport: asyncio.Transport | None = cast(asyncio.Transport, _Transport(self.ours))
        self.taken: list[bytes] = []
        self.is_held_back = False
        self.is_urgent = False
        self.pace = Pace(beat, self, self.ours.fileno(), lambda: self.is_urgent)
        self.is_read = True

    def is_readable(self) -> bool:
        return not self.is_held_back

    def take(self, data: bytes) -> bool:
        self.taken.append(data)
        return not self.is_urgent

    def read_or_pause(self) -> None:
        self.is_read = self.is_readable() and not self.pace.is_on

    def close(self) -> None:
        self.pace.end()
        self.ours.close()
        self.theirs.close()


class _Lab:
    """A beat at its ceiling, on a clock that moves by hand, and its connections."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.beat = Beat(clock, ceiling_s=_CEILING_S)
        self.beat.seconds = _CEILING_S
        self.connections: list[_Connection] = []

    def connection(self, *, came: int = 10) -> _Connection:
        return self.several(1, came=came)[0]

    def several(self, count: int, *, came: int = 10) -> list[_Connection]:
        """Return connections that have sent ``came`` bytes in half a second, in several reads."""
        connections = [_Connection(self.beat) for _ in range(count)]
        self.connections += connections
        self.come(*connections, size=came)
        return connections

    def come(self, *connections: _Connection, size: int) -> None:
        """The event loop reads ``size`` bytes of each within half a second, in several reads."""
        for connection in connections:
            for _ in range(READS_MIN):
                connection.pace.came(0)
        self.clock.seconds += WATCHED_S
        for connection in connections:
            connection.pace.came(size)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and look each tick at those that are due."""
        end = self.clock.seconds + seconds
        while self.clock.seconds < end:
            self.clock.seconds += TICK_S
            for pace in self.beat.take_due():
                self.beat.look(pace)


@pytest.fixture
def lab() -> Iterator[_Lab]:
    lab = _Lab(ManualClock())
    yield lab
    for connection in lab.connections:
        connection.close()


@pytest.mark.parametrize("how", ["look", "what is left"])
def test_a_connection_that_fails_ends_and_the_others_are_looked_at(
    lab: _Lab, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(data: bytes) -> bool:
        raise RuntimeError("a fault of ours")

    failing, *others = lab.several(3)
    failing.take = fail  # type: ignore[method-assign]
    for each in lab.connections:
        each.theirs.send(b"more")
    if how == "look":
        lab.pass_time(2 * _CEILING_S)
    else:
        for each in lab.connections:
            each.pace.read_left()
    assert [each.taken for each in others] == [[b"more"], [b"more"]]
    assert cast(Any, failing.transport).is_aborted
    assert not failing.pace.is_on
    assert "socket_crashed" in caplog.text


def test_what_comes_within_a_beat_is_read_together(lab: _Lab) -> None:
    one = lab.connection()
    assert not one.is_read
    for part in (b"a", b"b", b"c", b"d"):
        one.theirs.send(part)
        lab.pass_time(_CEILING_S / 4)
    lab.pass_time(_CEILING_S)
    assert b"".join(one.taken) == b"abcd"
    assert len(one.taken) <= 2
    assert len(lab.beat) == 1
    assert not one.is_read


@given(st.lists(st.floats(0, 3), min_size=1, max_size=30))
def test_nothing_waits_longer_than_a_beat_and_counts_from_the_look_before(pauses: list[float]) -> None:
    lab = _Lab(ManualClock())
    one = _Watching(lab)
    try:
        for number, pause in enumerate(pauses):
            one.sent_at[number] = lab.clock.seconds
            one.theirs.send(bytes([number]))
            if one.is_read:  # Not on the beat: the event loop reads.
                one.read_by_loop()
            lab.pass_time(pause)
        lab.pass_time(2 * _CEILING_S)
        assert b"".join(one.taken) == bytes(range(len(pauses)))
    finally:
        one.close()


class _Watching(_Connection):
    """Checks each time what is taken."""

    def __init__(self, lab: _Lab) -> None:
        super().__init__(lab.beat)
        self.lab = lab
        self.sent_at: dict[int, float] = {}

    def read_by_loop(self) -> None:
        self.pace.came_since = 0.0
        self.taken.append(os.read(self.ours.fileno(), 100))
        self.pace.came(1)

    def take(self, data: bytes) -> bool:
        now = self.lab.clock.seconds
        for number in data:
            assert self.pace.came_since <= self.sent_at[number] <= now
            assert now - self.pace.came_since <= _CEILING_S + 2 * TICK_S
        return super().take(data)


def test_looks_are_spread_over_the_beat_and_stay_so(lab: _Lab) -> None:
    lab.several(90)
    for connection in lab.connections:
        connection.theirs.send(b"x")
    for _ in range(3):
        before = sum(len(each.taken) for each in lab.connections)
        lab.pass_time(_CEILING_S / 3)
        came = sum(len(each.taken) for each in lab.connections) - before
        assert 20 <= came <= 40
        for connection in lab.connections:
            connection.theirs.send(b"x")


def test_who_sends_much_leaves_the_beat(lab: _Lab) -> None:
    one = lab.connection(came=BULK_BYTES)
    assert one.is_read
    two = lab.connection()
    two.theirs.setblocking(False)
    two.theirs.send(b"x" * BULK_BYTES)
    lab.pass_time(_CEILING_S)
    assert two.is_read
    assert len(lab.beat) == 0


def test_who_sends_much_in_small_parts_is_not_on_the_beat(lab: _Lab) -> None:
    one = lab.connection(came=20_000)
    assert one.is_read
    for _ in range(100):
        lab.clock.seconds += 0.1
        one.pace.came(5_000)
        assert one.is_read
    for _ in range(2):
        lab.come(one, size=1)
    assert not one.is_read


def test_who_sends_nothing_leaves_the_beat(lab: _Lab) -> None:
    one = lab.connection()
    lab.pass_time(4 * _CEILING_S)
    assert one.is_read
    assert len(lab.beat) == 0
    lab.pass_time(1)
    lab.come(one, size=1)
    assert not one.is_read
    assert len(lab.beat) == 1


def test_who_sends_seldom_is_not_on_the_beat(lab: _Lab) -> None:
    one = lab.connection()
    one.pace.leave()
    for _ in range(10):
        lab.clock.seconds += 1.0
        one.pace.came(200)
        assert one.is_read


def test_who_comes_to_send_little_leaves_the_beat(lab: _Lab) -> None:
    one, other = lab.several(2, came=200 * (READS_MIN + 1))
    for _ in range(4):
        one.theirs.send(b"x" * 200)
        other.theirs.send(b"x" * 200 * READS_MIN)
        lab.pass_time(_CEILING_S)
    assert one.is_read
    assert not other.is_read


def test_the_end_is_left_to_the_event_loop(lab: _Lab) -> None:
    one = lab.connection()
    one.theirs.send(b"last words")
    one.theirs.close()
    lab.pass_time(2 * _CEILING_S)
    assert one.taken == [b"last words"]
    assert one.is_read


def test_who_is_made_to_wait_by_others_is_not_read(lab: _Lab) -> None:
    one = lab.connection()
    one.is_held_back = True
    one.theirs.send(b"x")
    lab.pass_time(_CEILING_S)
    assert one.taken == []
    assert not one.is_read
    assert len(lab.beat) == 0


def test_who_is_awaited_is_read_at_once(lab: _Lab) -> None:
    one = _Connection(lab.beat)
    lab.connections.append(one)
    one.is_urgent = True
    lab.clock.seconds += WATCHED_S
    one.pace.came(1)
    assert one.is_read


def test_a_connection_that_has_ended_is_never_read(lab: _Lab) -> None:
    one = lab.connection()
    one.close()
    lab.pass_time(2 * _CEILING_S)
    assert len(lab.beat) == 0


def test_who_leaves_and_comes_again_is_looked_at_once(lab: _Lab) -> None:
    one = lab.connection()
    for _ in range(5):
        one.pace.leave()
        lab.come(one, size=1)
    assert len(lab.beat) == 1
    looks = 0
    lab.clock.seconds += _CEILING_S + TICK_S
    for pace in lab.beat.take_due():
        looks += 1
        lab.beat.look(pace)
    assert looks == 1


async def test_a_stop_reads_what_is_left_and_ends_the_beat(lab: _Lab) -> None:
    lab.several(50)
    lab.pass_time(_CEILING_S / 2)
    due = lab.beat.take_due()
    lab.clock.seconds += _CEILING_S / 4
    lab.beat.look(next(due))  # The task that looks is cancelled in the middle of a tick.
    for connection in lab.connections:
        connection.theirs.send(b"x" * 10)
    on_beat = [each for each in lab.connections if each.pace.tick >= 0]
    await lab.beat.stop()
    assert len(on_beat) == 50
    assert all(each.taken[-1] == b"x" * 10 for each in on_beat)
    assert all(each.is_read for each in on_beat)
    on_beat[0].pace.came(1)
    assert on_beat[0].is_read


def test_a_new_ceiling_counts_with_the_next_look(lab: _Lab) -> None:
    one = lab.connection()
    lab.beat.reconfigure(ceiling_s=0.1)
    assert lab.beat.seconds == 0.1
    lab.pass_time(_CEILING_S * 0.62)
    for part in (b"x", b"y"):
        one.theirs.send(part)
        lab.pass_time(0.1 + TICK_S)
    assert one.taken == [b"x", b"y"]
    lab.beat.reconfigure(ceiling_s=0.0)
    lab.pass_time(0.1 + TICK_S)
    assert one.is_read
    assert len(lab.beat) == 0


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 40)), max_size=20), st.floats(0.01, 60))
def test_the_beat_stays_within_its_bounds(loads: list[tuple[float, int]], ceiling_s: float) -> None:
    beat_s = 0.0
    for load, count in loads:
        for _ in range(count):
            beat_s = next_beat_s(beat_s, load, ceiling_s)
            assert 0.0 <= beat_s <= ceiling_s


def test_a_busy_loop_has_the_longest_beat_and_an_idle_one_none() -> None:
    beat_s = 0.0
    for _ in range(20):
        beat_s = next_beat_s(beat_s, 0.9, _CEILING_S)
    assert beat_s == _CEILING_S
    assert next_beat_s(beat_s, 0.1, _CEILING_S) == beat_s
    for _ in range(20):
        beat_s = next_beat_s(beat_s, 0.01, _CEILING_S)
    assert beat_s == 0.0
    assert next_beat_s(beat_s, 0.1, _CEILING_S) == 0.0
    assert next_beat_s(beat_s, 0.9, 0.0) == 0.0


async def test_a_recording_that_is_followed_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Beat, "adapts", False)
    recording_id = new_id()
    async with (
        running(tmp_path, flush_age_ms=500, read_beat_ms=500) as daemon,
        aiohttp.ClientSession() as http,
    ):
        beat, followers = daemon.services.sockets.beat, daemon.services.registry.followers
        url = f"{daemon.url}/recordings/{recording_id}/ingest/ws"
        async with http.ws_connect(url, headers={"Authorization": f"Bearer {daemon.key('all')}"}) as ws:
            count = 0

            async def is_on_beat() -> bool:
                nonlocal count
                await ws.send_bytes(an_event(count := count + 1) + b"\n")
                await asyncio.sleep(0.01)
                return len(beat) == 1

            await eventually(is_on_beat, what="the beat")
            await bring_up_to_date(daemon.services, wait_s=1.0)
            assert metrics.BEAT_LENGTH.value == 0.5
            assert metrics.BEAT_SOCKETS.value == 1
            with followers.follow("acme", recording_id) as follower:
                assert len(beat) == 0
                for _ in range(3):
                    assert not await is_on_beat()
                    await until(lambda: follower.limit_seq >= count, what="all events")
            await eventually(is_on_beat, what="the beat, once nobody looks on")
            await put_into_effect(
                daemon.parts, Fitted(msgspec.structs.replace(daemon.config, read_beat_ms=0), 1000, 100)
            )
            await until(lambda: len(beat) == 0, what="no beat, as the new settings want it")
