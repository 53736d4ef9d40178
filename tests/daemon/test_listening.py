"""What is said where rrd can't listen."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.serving import failed_start


def test_a_port_that_is_taken_is_told_in_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = failed_start(tmp_path, "--port", str(port))
    assert f"can't listen on 127.0.0.1:{port}" in said and "choose another port" in said


@pytest.mark.parametrize("host", ["192.0.2.1", "host.invalid"])  # RFC 5737, RFC 6761: never this machine's.
def test_an_address_that_is_not_of_this_machine_is_told_with_the_next_step(tmp_path: Path, host: str) -> None:
    said = failed_start(tmp_path, "--host", host, "--port", "0")
    assert f"can't listen on {host}: " in said and "Set it to an address" in said


def test_metrics_at_the_same_address_are_told_as_that_and_not_as_another_program(tmp_path: Path) -> None:
    port = str(free_port())
    file = tmp_path / "rrd.toml"
    file.write_text(f'metrics_listen = "127.0.0.1:{port}"\n')
    said = failed_start(tmp_path / "data", "--config", str(file), "--port", port)
    assert "metrics_listen says the same address" in said
