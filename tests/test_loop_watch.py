"""The watch on the event loop sees what it is for, in both forms of the daemon, and nothing else."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.harness import DaemonProcess, running
from tests.loop_watch import MARK, TURN_MAX_S, TURN_ONCE_MAX_S, as_daemon, long_turns_of

BUSY_IN_A_PROTOCOL = f"""
import runpy, time
from rrd.http.connection import Connection
plain = Connection.data_received
def data_received(self, data):
    began = time.thread_time()
    while time.thread_time() - began < {2 * TURN_ONCE_MAX_S}:
        pass
    plain(self, data)
Connection.data_received = data_received
runpy.run_module('tests.watched_daemon', run_name='__main__', alter_sys=True)
"""
BUSY_IN_A_TASK = f"""
import runpy, time
from rrd.http.connection import Connection
plain = Connection.start
async def start(self):
    began = time.thread_time()
    while time.thread_time() - began < {2 * TURN_ONCE_MAX_S}:
        pass
    await plain(self)
Connection.start = start
runpy.run_module('tests.watched_daemon', run_name='__main__', alter_sys=True)
"""


def spin(seconds: float = 2 * TURN_MAX_S) -> None:
    began = time.thread_time()
    while time.thread_time() - began < seconds:
        pass


async def spin_in_a_task() -> None:
    await asyncio.sleep(0)
    spin()


async def test_a_long_turn_of_the_daemon_fails_a_test(tmp_path: Path) -> None:
    async def spin_in_the_daemon() -> None:
        async with running(tmp_path):
            with as_daemon():
                task = asyncio.create_task(spin_in_a_task())
            await task

    with pytest.raises(AssertionError, match="spin_in_a_task"):
        await spin_in_the_daemon()


async def test_a_long_turn_of_the_test_itself_does_not(tmp_path: Path) -> None:
    async with running(tmp_path):
        spin()
        await asyncio.create_task(spin_in_a_task())


async def test_what_runs_in_a_thread_does_not(tmp_path: Path) -> None:
    async with running(tmp_path):
        with as_daemon():
            await asyncio.create_task(asyncio.to_thread(spin))


@pytest.mark.parametrize("program", [BUSY_IN_A_PROTOCOL, BUSY_IN_A_TASK], ids=["protocol", "task"])
async def test_a_long_turn_of_a_process_fails_a_test(program: str, tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path)
    daemon.program = ["-c", program]
    daemon.start()
    async with aiohttp.ClientSession() as session, session.get(f"{daemon.url}/-/ready") as answer:
        assert answer.status == 200
    with pytest.raises(AssertionError, match=MARK):
        daemon.stop()


@pytest.mark.parametrize(
    ("took_ms", "told"), [([], 0), ([51], 0), ([100], 0), ([101], 1), ([51, 51], 2), ([60, 300], 2)]
)
def test_one_turn_may_be_the_machines(took_ms: list[int], told: int) -> None:
    log = "".join(f"{MARK} {ms} ms of processor time: task serve\nanother line\n" for ms in took_ms)
    assert len(long_turns_of(log)) == told


async def test_a_callback_keeps_its_arguments_context_and_end(tmp_path: Path) -> None:
    """The watched loop is uvloop's: what is cancelled isn't called."""
    from tests.loop_watch import Watch, WatchedLoop

    def run() -> list[Any]:
        loop = WatchedLoop()
        loop.watch = Watch(print)
        heard: list[Any] = []
        loop.call_soon(heard.append, "soon")
        loop.call_soon(heard.append, "cancelled").cancel()
        loop.call_later(0, heard.append, "later")
        loop.call_at(loop.time(), heard.append, "at")
        loop.call_later(0.01, loop.stop)
        loop.run_forever()
        loop.close()
        return heard

    assert sorted(await asyncio.to_thread(run)) == ["at", "later", "soon"]
