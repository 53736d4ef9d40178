"""``rrd console``: an address for a daemon that runs or will run, or why there is no console."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from rrd.cli import common, main
from rrd.console.sessions import SessionStore


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "data"
    directory.mkdir()
    monkeypatch.setenv("RRD_DATA_DIR", str(directory))
    return directory


@pytest.mark.parametrize(
    ("settings", "base"),
    [
        ({}, "http://127.0.0.1:8787"),
        ({"CONSOLE": "true", "HOST": "0.0.0.0", "PORT": "9000"}, "http://127.0.0.1:9000"),
        ({"PUBLIC_URL": "https://rrd.example.com", "PORT": "0"}, "https://rrd.example.com"),
    ],
)
def test_it_prints_an_address_that_works_once(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    data_dir: Path,
    settings: dict[str, str],
    base: str,
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"RRD_{name}", value)
    assert main(["console"]) == 0
    printed = capsys.readouterr().out
    found = re.fullmatch(rf"{re.escape(base)}/console/#/sign-in/([\w-]{{43}})\n", printed)
    assert found is not None, printed
    path = data_dir / "console.sqlite"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with SessionStore(str(path)) as sessions:
        assert [sessions.use_sign_in(found[1]) for _ in range(2)] == [True, False]


@pytest.mark.parametrize(
    ("settings", "is_service", "said"),
    [
        ({"CONSOLE": "false"}, False, "console = true"),
        ({"HOST": "0.0.0.0"}, False, "console = true"),
        ({}, True, "console = true"),
        ({"PORT": "0"}, False, "--port"),
        ({"DATA_DIR": "/nonexistent"}, False, "data_dir"),
    ],
)
def test_where_there_is_no_console_it_says_what_to_do(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    settings: dict[str, str],
    is_service: bool,
    said: str,
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"RRD_{name}", value)
    if is_service:
        file = tmp_path / "rrd.toml"
        file.write_text(f'data_dir = "{tmp_path}/data"\n')
        monkeypatch.setattr(common, "SYSTEM_CONFIG", str(file))
    assert main(["console"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert not (tmp_path / "data/console.sqlite").exists()


def test_a_port_can_be_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RRD_PORT", "0")
    assert main(["console", "--port", "4711"]) == 0
    assert "http://127.0.0.1:4711/console/" in capsys.readouterr().out
