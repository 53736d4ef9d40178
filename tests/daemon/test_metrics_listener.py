"""Where the metrics are listened for: what is in the way is told; a Unix socket is for rrd's group."""

from __future__ import annotations

import socket
import stat
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from rrd.daemon.metrics_listener import listen_for_scrapes
from rrd.errors import ConfigError
from tests.harness import DaemonProcess, running
from tests.serving import failed_start


async def told_by(path: Path) -> str:
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
        session.get("http://rrd/metrics") as reply,
    ):
        return await reply.text()


def test_a_port_that_is_taken_is_told_with_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("RRD_METRICS_LISTEN", address)
        said = failed_start(tmp_path, "--port", "0")
    assert f'metrics_listen = "{address}": can\'t listen there: Address already in use' in said
    assert "choose another" in said


@pytest.mark.parametrize("address", ["192.0.2.1:0", "host.invalid:0", "unix:/nowhere/metrics.sock"])
def test_an_address_that_can_not_be_is_told_with_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("RRD_METRICS_LISTEN", address)
    assert f'metrics_listen = "{address}": can\'t listen there: ' in failed_start(tmp_path, "--port", "0")


async def test_a_socket_is_for_the_group_and_goes_with_the_daemon(tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    async with running(tmp_path / "data", metrics_listen=f"unix:{path}") as daemon:
        async with AsyncExitStack() as stack:
            await listen_for_scrapes(daemon.config, daemon.services, stack)
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            assert "rrd_ready 1.0" in await told_by(path)
            async with AsyncExitStack() as other:
                with pytest.raises(ConfigError, match="another program listens there"):
                    await listen_for_scrapes(daemon.config, daemon.services, other)
            assert "rrd_ready 1.0" in await told_by(path)  # The first one has kept its place.
        assert not path.exists()


async def test_what_a_killed_daemon_left_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    daemon = DaemonProcess(tmp_path, metrics_listen=f"unix:{path}")
    daemon.start()
    daemon.kill()
    assert path.is_socket()
    daemon.start()
    assert "rrd_ready" in await told_by(path)
    assert daemon.stop() == 0
    assert not path.exists()
    path.write_text("mine")
    with pytest.raises(RuntimeError, match="a file that is no socket is there"):
        daemon.start()
    assert path.read_text() == "mine"
