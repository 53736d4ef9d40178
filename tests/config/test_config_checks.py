"""What stops ``serve``, and what is odd: ``check-config`` says both, in the same words."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Literal

import orjson
import pytest

from rrd.ceiling import MEMORY_MIN_BYTES
from rrd.config import Config
from rrd.config.checks import is_console_on, warnings
from tests.cli.test_cli_main import command
from tests.harness import DaemonProcess, Launch

# Each stops the daemon, whatever the network does.
STOPPING = [
    {"object_store": "s3"},
    {"object_store": "s3", "s3_bucket": "b", "s3_region": ""},
    {"object_store": "s3", "s3_bucket": "b", "s3_endpoint": "s3.example.net"},
    {"object_store": "s3", "s3_bucket": "b", "s3_kms_key": "k"},
    {"object_store": "s3", "s3_bucket": "b", "s3_prefix": "../x"},
    {"object_store": "s3", "s3_bucket": "b", "s3_credentials_file": "/nonexistent/file"},
    {"object_store": "s3", "s3_bucket": "b", "s3_ca_file": "/nonexistent/file"},
    {"objects_dir": "/dev/null"},
    {"objects_dir": "/dev/null/below"},
    {"data_dir": "/dev/null/below"},
    {"data_dir": ""},
    {"retention_age": "soon"},
    {"retention_age_of_tenant": "shop"},
    {"retention_bytes_max_of_tenant": "shop=much"},
    {"quotas_of_tenant": "shop=5"},
    {"quotas_of_key": "k.events=5"},
    {"memory_max": "1000000"},
    {"trusted_proxies": "everywhere"},
    {"host": "not a host"},
    {"host": "nonexistent.invalid"},
    {"host": "[::1]"},
    {"host": "203.0.113.7"},
    {"host": " 127.0.0.1 "},
    {"host": "x" * 100},
    {"console": "perhaps"},
    {"console_session_s": "0"},
    {"console_assets": "some"},
    {"console_stage_origin": "https://stage.example.com"},
    {"public_url": "https://rrd.example.com:port"},
    {"public_url": "https://rrd.example.com:99999"},
    *(
        {"public_url": "https://rrd.example.com", "console_stage_origin": origin}
        for origin in (
            *("stage.example.com", "https://", "ftp://stage.example.com", "https://stage.example.com/stage"),
            *("https://stage.example.com?x", "https://a@stage.example.com", "https://stage.example.com:port"),
            *("https://rrd.example.com", "https://RRD.example.com/", "https://[::1"),
        )
    ),
    {"objects_dir": "data"},
    {"objects_dir": "data/sealed"},
    {"objects_dir": "data/other/deep"},
]


@pytest.mark.table
@pytest.mark.parametrize("settings", STOPPING, ids="-".join)
def test_what_stops_serve_fails_the_check_in_the_same_words(tmp_path: Path, settings: dict[str, str]) -> None:
    told = []
    for name in ("check-config", "serve"):
        args, environment = command(name)
        environment |= {"RRD_DATA_DIR": str(tmp_path / "data"), "RRD_PORT": "0", "RRD_CONFIG": ""}
        environment |= {f"RRD_{key.upper()}": value for key, value in settings.items()}
        done = subprocess.run(
            args, env=environment, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
        )
        assert done.returncode == 1
        told.append(done.stderr.splitlines()[-1])
    assert told[0] == told[1]
    assert told[0].startswith(f"rrd: {list(settings)[-1]}") or "s3_bucket" in told[0]


def test_the_defaults_go_together() -> None:
    assert list(warnings(Config(), handles_max=None)) == []
    assert list(warnings(Config(), handles_max=2**20)) == []


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"recording_buffer_bytes_max": 64 * 1024}, "flush_bytes"),
        ({"buffer_bytes_max": 2**20}, "recording_buffer_bytes_max"),
        ({"buffer_bytes_max": 2**20}, "message_bytes_max"),
        ({"segment_bytes_max": 2**20, "flush_bytes": 2**21}, "segment_bytes_max"),
        ({"event_bytes_max": 2**27}, "POST"),
        ({"body_bytes_max": 2**20}, "can't come in"),
        ({"sockets_max": 60_000}, "recordings_max"),
        ({"sockets_max": 7_190}, "LimitNOFILE"),
        ({"trusted_proxies": ("::/0",)}, "trusted_proxies"),
        ({"public_url": "rrd.example.com"}, "public_url"),
        ({"console": True, "host": "0.0.0.0"}, "TLS"),
        ({"public_url": "https://example.com/rrd", "console": True}, "host name of its own"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-",
)
def test_settings_that_make_no_sense_together_are_told(settings: dict[str, object], named: str) -> None:
    config = Config(**settings)  # type: ignore[arg-type]
    told = list(warnings(config, handles_max=10_189))
    assert any(named in warning for warning in told)
    assert any(next(iter(settings)) in warning for warning in told)


def test_a_console_behind_tls_or_on_this_machine_alone_is_not_odd() -> None:
    here = Config(console=True, host="127.0.0.1")
    behind = Config(console=True, host="0.0.0.0", public_url="https://rrd.example.com")
    assert [*warnings(here, handles_max=None), *warnings(behind, handles_max=None)] == []


# Each starts the daemon, with a warning about the setting that is named last.
ODD: list[dict[str, object]] = [
    {"recording_buffer_bytes_max": 64 << 10},
    {"event_bytes_max": 128 << 20},
    {"sockets_max": 60_000},
    {"trusted_proxies": "10.0.0.0/8,::/0"},
    {"public_url": "rrd.example.com"},
    {"memory_max": MEMORY_MIN_BYTES},
    {"public_url": 'no "url" = at all', "body_bytes_max": 1 << 20},
]


def logged_warnings(log: str) -> list[str]:
    texts = re.findall(r' warning odd_settings text=("(?:[^"\\]|\\.)*")$', log, re.MULTILINE)
    return [orjson.loads(text) for text in texts]


@pytest.mark.table
@pytest.mark.parametrize("settings", ODD, ids="-".join)
def test_what_is_odd_is_said_by_serve_and_by_the_check_in_the_same_words(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    daemon = DaemonProcess(tmp_path, **settings)
    with daemon:
        logged = logged_warnings(daemon.log())
    args, environment = command("check-config")
    environment |= {"RRD_DATA_DIR": daemon.data_dir, "RRD_CONFIG": "", "RRD_DISK_RESERVE_BYTES": "0"}
    environment |= {f"RRD_{key.upper()}": str(value) for key, value in settings.items()}
    done = subprocess.run(args, env=environment, capture_output=True, text=True, timeout=60, check=True)
    told = [line.removeprefix("rrd: warning: ") for line in done.stderr.splitlines()]
    assert logged == told
    assert any(list(settings)[-1] in warning for warning in told)


def test_few_file_handles_are_said_by_serve_too(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, Launch(handles_max=512))
    with daemon:
        assert any("LimitNOFILE" in warning for warning in logged_warnings(daemon.log()))


@pytest.mark.parametrize(
    ("console", "host", "person_looks_on", "is_on"),
    [
        ("auto", "127.0.0.1", True, True),
        ("auto", "::1", True, True),
        ("auto", "localhost", True, True),
        ("auto", "127.0.0.1", False, False),
        ("auto", "0.0.0.0", True, False),
        ("auto", "::", True, False),
        ("auto", "192.0.2.1", True, False),
        ("auto", "rrd.example.com", True, False),
        (True, "0.0.0.0", False, True),
        (False, "127.0.0.1", True, False),
    ],
)
def test_the_console_is_on_where_it_was_asked_for_or_a_person_tries_rrd_out(
    console: bool | Literal["auto"], host: str, person_looks_on: bool, is_on: bool
) -> None:
    config = Config(console=console, host=host)
    assert is_console_on(config, person_looks_on=person_looks_on) == is_on
