"""The process as its supervisor and its owner see it: signals, damage, the unit file."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

from rrd.cli.common import SYSTEM_CONFIG
from rrd.config import Config, load_config
from tests.harness import DaemonProcess, Launch, copy_data
from tests.serving import read_until, serve
from tests.thoroughness import some

ROOT = Path(__file__).parents[1]


def test_two_daemons_never_serve_one_data_directory(tmp_path: Path) -> None:
    with serve(tmp_path) as first:
        read_until(first, "listening")
        with serve(tmp_path) as second:
            _, told = second.communicate(timeout=20)
    assert second.returncode == 1
    assert "is served by a running rrd already" in told and "Traceback" not in told


def test_an_index_that_is_damaged_anywhere_is_rebuilt_at_the_next_start(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with serve(tmp_path / "first") as process:
        read_until(process, "listening")
        process.terminate()
        process.communicate(timeout=20)
    whole = (tmp_path / "first" / "index.sqlite").read_bytes()
    page = int.from_bytes(whole[16:18], "big")
    for start in some(range(page, len(whole), page)):
        copy_data(tmp_path / "first", data_dir)
        damaged = whole[:start] + b"\xff" * page + whole[start + page :]
        (data_dir / "index.sqlite").write_bytes(damaged)
        with serve(data_dir) as process:
            read_until(process, "listening")
            process.terminate()
            process.communicate(timeout=20)
        if process.returncode != 0:
            # The damage showed only while it served: it has ended, and its supervisor starts it again.
            with serve(data_dir) as process:
                read_until(process, "listening")
                process.terminate()
                process.communicate(timeout=20)
        assert process.returncode == 0
        shutil.rmtree(data_dir)


def test_the_data_directory_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    with serve(tmp_path / "data") as process:
        read_until(process, "listening")
        process.terminate()
        process.communicate(timeout=20)
    files = list((tmp_path / "data").rglob("*"))
    assert files
    for path in files:
        assert path.stat().st_mode & 0o077 == 0, path


def _installed_config(tmp_path: Path) -> Path:
    """Return the settings file that README's install lines make."""
    line = re.search(
        r"^(sed .*) \| install -D -m 644 /dev/stdin (\S+)$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert line is not None
    assert line[2] == SYSTEM_CONFIG
    made = subprocess.run(["sh", "-c", line[1]], cwd=ROOT, capture_output=True, check=True).stdout
    (tmp_path / "rrd.toml").write_bytes(made)
    return tmp_path / "rrd.toml"


def test_the_installed_settings_name_the_directory_that_the_unit_makes(tmp_path: Path) -> None:
    unit = (ROOT / "systemd" / "rrd.service").read_text()
    state = re.search(r"^StateDirectory=(\S+)$", unit, re.MULTILINE)
    assert state is not None
    config = load_config(file=str(_installed_config(tmp_path)), environment={})
    assert config == Config(data_dir=f"/var/lib/{state[1]}")
    assert f"--config {SYSTEM_CONFIG}\n" in unit  # and no flag that commands would have to repeat


def test_a_daemon_whose_terminal_closes_stops_cleanly(tmp_path: Path) -> None:
    master, terminal = os.openpty()
    with DaemonProcess(tmp_path, Launch(stdin=terminal)) as rrd:
        os.close(terminal)
        os.close(master)
        os.kill(rrd.pid, signal.SIGHUP)
        assert rrd.wait() == 0
    assert " stopped" in rrd.log()
