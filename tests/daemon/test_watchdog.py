"""systemd's watchdog: what stops the pings, and what doesn't."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from rrd.daemon.assembly import Seams
from rrd.daemon.watchdog import gets_on, interval_s, show_life, start_life
from rrd.disk.disk import OsDisk
from tests.harness import DEADLINE_S, DaemonProcess, Launch, eventually, running, until
from tests.samples import event, new_id
from tests.wired import ManualClock


class Supervisor:
    """The end of systemd: reads what it is told, and knows how long it waits for a ping."""

    def __init__(self, path: Path, *, patience_s: float) -> None:
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": str(int(patience_s * 1e6))}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(patience_s)

    def hears_of_life(self, count: int = 5) -> bool:
        """Tell whether so many pings came; False once none has come for as long as systemd waits."""
        try:
            while count:
                count -= self.socket.recv(200) == b"WATCHDOG=1"
        except TimeoutError:
            return False
        return True

    def drain(self) -> None:
        """Forget what was told so far."""
        self.socket.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while self.socket.recv(200):
                pass


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path / "notify", patience_s=2)
    with made.socket:
        yield made


@pytest.mark.parametrize(
    ("variables", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_interval_is_what_systemd_waits_for_this_process(
    variables: dict[str, str], interval: float | None
) -> None:
    assert interval_s(variables) == interval


@pytest.mark.parametrize(
    ("stalled_s", "stall_max_s", "watchdog_s", "expected"),
    [
        (0, 300, 60, True),
        (240, 300, 60, True),  # systemd's patience ends at 300 s, when rrd would end by itself
        (241, 300, 60, False),
        (30, 30, 60, True),
        (31, 30, 60, False),  # half an interval at least
        (100_000, 0, 60, True),  # the settings say that a write may take for ever
    ],
)
def test_pings_stop_an_interval_before_a_write_has_taken_too_long(
    stalled_s: float, stall_max_s: float, watchdog_s: float, expected: bool
) -> None:
    assert gets_on(stalled_s, stall_max_s, watchdog_s) == expected


def test_nothing_is_shown_to_a_supervisor_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert start_life(None) == []  # type: ignore[arg-type]


_BLOCKS = """
import runpy, signal, threading
# The handler runs on the main thread, in a turn of the loop, which then never ends.
signal.signal(signal.SIGUSR1, lambda *_: threading.Event().wait())
runpy.run_module("rrd", run_name="__main__", alter_sys=True)
"""


def test_a_loop_that_hangs_stops_the_pings_and_is_not_ready(tmp_path: Path, supervisor: Supervisor) -> None:
    daemon = DaemonProcess(tmp_path, Launch(environment=supervisor.environment))
    daemon.program = ["-c", _BLOCKS]
    with daemon:
        assert supervisor.hears_of_life()
        os.kill(daemon.pid, signal.SIGUSR1)
        assert not supervisor.hears_of_life(1_000_000)
        with pytest.raises(TimeoutError):
            urllib.request.urlopen(f"{daemon.url}/-/ready", timeout=1)
        with pytest.raises(TimeoutError):
            urllib.request.urlopen(f"{daemon.url}/-/healthy", timeout=1)
        # What systemd does next: by its signal rrd says where it hangs.
        assert daemon.stop(number=signal.SIGABRT) == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in daemon.log() and "in wait" in daemon.log()


class HangingDisk(OsDisk):
    """A disk whose syncs end when ``works`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.works = threading.Event()
        self.works.set()

    def sync(self, handle: int) -> None:
        assert self.works.wait(DEADLINE_S)
        super().sync(handle)


async def test_a_commit_that_hangs_stops_the_pings_and_is_not_ready_until_it_ends(
    tmp_path: Path, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in supervisor.environment.items():
        monkeypatch.setenv(name, value)
    disk, clock = HangingDisk(), ManualClock()
    async with (
        running(tmp_path / "data", seams=Seams(disk=disk, clock=clock)) as daemon,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {daemon.key()}"}) as session,
    ):

        async def status() -> int:
            async with session.get(f"{daemon.url}/-/ready") as answer:
                return answer.status

        async def post(line: bytes) -> int:
            url = f"{daemon.url}/recordings/{new_id()}/ingest"
            async with session.post(
                url, data=line, headers={"Content-Type": "application/x-ndjson"}
            ) as answer:
                return answer.status

        life = asyncio.create_task(show_life(daemon.services))
        assert await post(event(1)) == 200
        assert await asyncio.to_thread(supervisor.hears_of_life)
        assert await status() == 200
        disk.works.clear()
        sending = asyncio.create_task(post(event(2)))
        await until(lambda: daemon.services.registry.committer.group_began_at, what="a group under way")
        clock.seconds += daemon.config.commit_stall_max_s - 1
        await until(lambda: "commit_stalls" in caplog.text, what="the pings to stop")
        supervisor.drain()
        supervisor.socket.settimeout(2)
        assert not await asyncio.to_thread(supervisor.hears_of_life, 1)
        assert await status() == 503
        disk.works.set()
        assert await sending == 200
        assert await asyncio.to_thread(supervisor.hears_of_life)

        async def is_ready() -> bool:
            return await status() == 200

        await eventually(is_ready, what="ready again")
        life.cancel()
