"""Sockets that systemd passes on: which are taken, and that a restart refuses no connection."""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from rrd.config import Config
from rrd.daemon.inherited import settings_of, take_passed
from rrd.errors import ConfigError
from tests.harness import PASSED, DaemonProcess, Launch, until
from tests.ports import free_port
from tests.samples import new_id
from tests.senders import PostSender, Sender, SocketSender, check, session_of
from tests.serving import read_until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A socket that listens, which outlives the daemons that it is passed to."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as server:
        yield server


_TAKE = """
import os, sys
from rrd.daemon.inherited import take_passed
from rrd.errors import ConfigError
try:
    taken = take_passed()
except ConfigError as error:
    sys.exit(f"refused: {error}")
left = [name for name in os.environ if name.startswith("LISTEN_")]
print(*(each.getsockname()[1] for each in taken), left, [each.get_inheritable() for each in taken])
"""


def _taken(passed: socket.socket, **changes: str) -> str:
    """Return what a process says that gets ``passed`` as systemd would pass it, with variables changed."""
    changed = PASSED.replace("; os.execv", f"; os.environ.update({changes!r}); os.execv")
    done = subprocess.run(
        [sys.executable, "-c", changed, str(passed.fileno()), sys.executable, "-c", _TAKE],
        cwd=ROOT, pass_fds=(passed.fileno(),), capture_output=True, text=True, check=False,
    )  # fmt: skip
    return (done.stdout + done.stderr).strip()


def test_a_passed_socket_is_taken_once_and_not_by_children(listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    assert _taken(listening, LISTEN_FDNAMES="rrd.socket") == f"{port} [] [False]"


@pytest.mark.parametrize("pid", ["", "1", "none"])
def test_sockets_for_another_process_are_left_alone(listening: socket.socket, pid: str) -> None:
    assert _taken(listening, LISTEN_PID=pid) == "[] []"


def test_variables_of_another_process_are_removed() -> None:
    environment = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x", "HOME": "/"}
    assert take_passed(environment) == []
    assert environment == {"HOME": "/"}


@pytest.mark.parametrize("count", ["", "-1", "many"])
def test_a_count_that_is_none_is_refused(count: str) -> None:
    with pytest.raises(ConfigError, match="LISTEN_FDS"):
        take_passed({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count})


@pytest.mark.parametrize("kind", ["not listening", "datagram", "unix"])
def test_a_socket_that_http_cannot_be_served_on_is_refused(tmp_path: Path, kind: str) -> None:
    family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM) as other:
        if kind == "unix":
            other.bind(str(tmp_path / "socket"))
            other.listen()
        said = _taken(other)
    assert said.startswith("refused: the socket passed as file descriptor 3") and "ListenStream=" in said


def test_a_descriptor_that_is_no_socket_is_refused(listening: socket.socket) -> None:
    said = _taken(listening, LISTEN_FDS="2")
    assert said.startswith("refused: file descriptor 4") and "ListenStream=" in said


@pytest.mark.parametrize(
    ("host", "is_elsewhere"),
    [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True), ("::1", True), ("127.0.0.2", True)],
)
def test_the_socket_counts_and_settings_that_differ_are_told(
    listening: socket.socket, caplog: pytest.LogCaptureFixture, host: str, is_elsewhere: bool
) -> None:
    port = listening.getsockname()[1]
    made = settings_of(Config(host=host, port=port), [listening])
    assert made == Config(host="127.0.0.1", port=port)
    assert ("socket_elsewhere" in caplog.text) == is_elsewhere
    settings_of(Config(port=port + 1), [listening])
    assert "socket_elsewhere" in caplog.text


def test_without_a_passed_socket_the_settings_count() -> None:
    assert settings_of(Config(host="::1", port=1), []) == Config(host="::1", port=1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
async def test_a_restart_under_load_refuses_no_connection_and_stores_each_line_once(
    tmp_path: Path, listening: socket.socket, number: signal.Signals
) -> None:
    rng = random.Random(number)
    recordings = [new_id() for _ in range(4)]
    senders: list[Sender] = [
        SocketSender("socket-0", recordings[0], rng),
        SocketSender("socket-1", recordings[1], rng),
        PostSender("post-0", recordings[1], rng),
        PostSender("post-1", recordings[2], rng),
        PostSender("post-2", recordings[3], rng),
    ]
    for sender in senders:
        sender.may_stop = True
    daemon = DaemonProcess(tmp_path, Launch(passed=listening), flush_age_ms=20)
    key = daemon.key()
    with daemon:
        assert daemon.port == listening.getsockname()[1]
        async with session_of(key) as session, asyncio.TaskGroup() as tasks:

            async def keep_sending(sender: Sender) -> None:
                while not (sender.draining and not sender.unacked):
                    await sender.run(session, daemon.url)

            running = [tasks.create_task(keep_sending(sender)) for sender in senders]
            for goal in (100, 200, 300):

                def reached(goal: int = goal) -> bool:
                    return all(len(sender.acked) >= goal for sender in senders)

                await until(reached, what=f"{goal} lines acked of each sender")
                if number == signal.SIGKILL:
                    daemon.kill()
                else:
                    assert await asyncio.to_thread(daemon.stop) == 0
                await asyncio.to_thread(daemon.start)
            for sender in senders:
                sender.draining = True
            await asyncio.gather(*running)
            stored = await check(session, daemon.url, senders, complete=True)
        assert stored >= 3 * 100 * len(senders)
        assert [sender.refused for sender in senders] == [0] * len(senders)
        assert await asyncio.to_thread(daemon.stop) == 0


async def test_who_connects_between_two_daemons_is_answered_by_the_second(
    tmp_path: Path, listening: socket.socket
) -> None:
    daemon = DaemonProcess(tmp_path, Launch(passed=listening))
    key = daemon.key()
    with daemon:
        assert daemon.stop() == 0
        reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
        writer.write(
            b"GET /recordings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n\r\n" % key.encode()
        )
        await asyncio.to_thread(daemon.start)
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        writer.close()


def test_systemds_own_tool_starts_it_at_the_first_connection(tmp_path: Path) -> None:
    activate = shutil.which("systemd-socket-activate")
    if activate is None:
        assert "TESTS_REQUIRE_TOOLS" not in os.environ
        pytest.skip("systemd-socket-activate is not installed")
    port = free_port()
    passed_on = [f"--setenv={name}" for name in ("RRD_CONFIG", "INVOCATION_ID", "RRD_DISK_RESERVE_BYTES")]
    with subprocess.Popen(
        [
            *(activate, f"--listen=127.0.0.1:{port}", *passed_on),
            *(sys.executable, "-m", "rrd", "serve", "--data-dir", str(tmp_path / "data")),
        ],
        cwd=ROOT,
        env=os.environ | {"RRD_CONFIG": "", "INVOCATION_ID": "tests", "RRD_DISK_RESERVE_BYTES": "0"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            read_until(process, "Listening on")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/healthy") as answer:
                assert answer.status == 200
            assert "next_step" in read_until(process, "socket_elsewhere")
            assert re.search(rf"host=127\.0\.0\.1 port={port} ", read_until(process, " listening "))
            process.terminate()
            assert process.wait(20) == 0
        finally:
            process.kill()
