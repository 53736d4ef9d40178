"""The unit files: valid, locked down, installed as README says, with numbers that fit the settings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.daemon import AS_INSTALLED
from rrd.config import Config, load_config
from rrd.config.credentials import PREFIX
from rrd.handles import share_out
from rrd.http.services import Bounds

ROOT = Path(__file__).parents[1]
UNITS = sorted(path.name for path in (ROOT / "systemd").iterdir())
SERVICES = [name for name in UNITS if name.endswith(".service")]

EXPOSURE_MAX = {"rrd.service": 1.2, "rrd-backup.service": 0.5}
"""Of 10, by `systemd-analyze security`."""


def values(unit: str, key: str) -> list[str]:
    """Return what a unit sets a key to, each time that it does."""
    return re.findall(rf"^{key}=(.*)$", (ROOT / "systemd" / unit).read_text(), re.MULTILINE)


def value(unit: str, key: str) -> str:
    (found,) = values(unit, key)
    return found


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        assert "TESTS_REQUIRE_TOOLS" not in os.environ
        pytest.skip("systemd-analyze is not installed")
    return found


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """All units as they are, but for the command, which must exist for systemd-analyze."""
    for name in UNITS:
        text = (ROOT / "systemd" / name).read_text()
        (tmp_path / name).write_text(text.replace("/usr/bin/rrd", "/bin/true"))
    return tmp_path


def test_benches_start_the_daemon_in_the_environment_that_the_unit_gives_it() -> None:
    given = dict(pair.split("=", 1) for line in values("rrd.service", "Environment") for pair in line.split())
    assert given == AS_INSTALLED
    assert all(f"{name}={value}" in (ROOT / "Containerfile").read_text() for name, value in given.items())


def test_the_units_are_valid(analyze: str, units: Path) -> None:
    argv = [analyze, "verify", "--man=no", *(str(units / name) for name in UNITS)]
    told = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (0, "")
    assert "rrd" not in told.stderr, told.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_the_services_are_locked_down(analyze: str, units: Path, name: str) -> None:
    threshold = f"--threshold={EXPOSURE_MAX[name] * 10:.0f}"
    argv = [analyze, "security", "--offline=true", "--no-pager", threshold, str(units / name)]
    told = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    assert f"exposure level for {name}" in told.stdout


def test_the_readme_installs_each_unit_with_the_command_that_it_installs(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    (line,) = re.findall(r"^for unit in systemd/\*.*$", readme, re.MULTILINE)
    target = "/etc/systemd/system"
    assert target in line
    subprocess.run(["sh", "-c", line.replace(target, str(tmp_path))], cwd=ROOT, check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == UNITS
    for name in SERVICES:
        command = re.search(r"^ExecStart=(\S+)", (tmp_path / name).read_text(), re.MULTILINE)
        assert command is not None and command[1] == "/opt/rrd/bin/rrd"
    assert "python3 -m venv /opt/rrd\n" in readme
    for name in re.findall(r"rrd[\w.-]*\.(?:service|socket|timer)", readme):
        assert name in UNITS


def test_there_are_handles_for_the_default_settings() -> None:
    config = Config()
    shares = share_out(config, int(value("rrd.service", "LimitNOFILE")), in_use=64)
    assert shares.sockets_max == config.sockets_max
    assert shares.open_segments_max == config.open_segments_max
    wanted = config.sockets_max + config.requests_max + config.watchers_max
    assert shares.connections_max > wanted


def test_a_stop_has_time_for_the_requests_under_way() -> None:
    bounds = Bounds()
    stop_s = int(value("rrd.service", "TimeoutStopSec"))
    assert stop_s > 2 * (bounds.stop_wait_s + bounds.cut_off_wait_s)


def test_the_watchdog_is_no_shorter_way_than_the_setting_that_bounds_a_write() -> None:
    assert int(value("rrd.service", "WatchdogSec")) < Config().commit_stall_max_s


def test_the_socket_is_where_the_settings_say() -> None:
    config = load_config(file=str(ROOT / "config" / "rrd.toml"), environment={})
    assert value("rrd.socket", "ListenStream") == f"{config.host}:{config.port}"


def test_the_backup_unit_is_the_services_in_all_that_locks_it_down() -> None:
    differ = {"SystemCallFilter", "RestrictAddressFamilies"}
    text = (ROOT / "systemd" / "rrd.service").read_text().partition("# The sandbox.")[2]
    keys = re.findall(r"^(\w+)=", text.partition("[Install]")[0], re.MULTILINE)
    assert "ProtectSystem" in keys and "SystemCallArchitectures" in keys
    for key in sorted(set(keys) - differ):
        assert values("rrd-backup.service", key) == values("rrd.service", key), key


def test_the_commented_credentials_are_those_that_the_settings_and_the_page_name() -> None:
    page = (ROOT / "docs" / "systemd.md").read_text()
    names = re.findall(
        r"^#LoadCredential=([\w-]+):", (ROOT / "systemd" / "rrd.service").read_text(), re.MULTILINE
    )
    assert {"s3", "s3-ca"} <= set(names)
    for name in names:
        assert f'"{PREFIX}{name}"' in page


def test_a_removal_stops_what_would_start_a_command_that_is_gone() -> None:
    removal = (ROOT / "debian/rrd.prerm").read_text("utf-8")
    starters = [path.name for path in (ROOT / "systemd").iterdir() if path.suffix in {".socket", ".timer"}]
    assert starters
    assert [name for name in starters if name not in removal.partition("deb-systemd-invoke stop ")[2]] == []
