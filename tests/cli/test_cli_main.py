from __future__ import annotations

import os
import pty
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rrd
from rrd.cli import check_config, main
from rrd.config import Config, load_config

ROOT = str(Path(rrd.__file__).parents[1])


def command(*argv: str) -> tuple[Sequence[str], dict[str, str]]:
    return [sys.executable, "-m", "rrd", *argv], {**os.environ, "PYTHONPATH": ROOT}


def rrd_process(*argv: str) -> subprocess.CompletedProcess[str]:
    args, environment = command(*argv)
    return subprocess.run(args, env=environment, capture_output=True, text=True, timeout=60, check=False)


# The program


def test_the_program_exits_with_the_documented_codes(tmp_path: Path) -> None:
    data = ("--data-dir", str(tmp_path / "data"))
    good = rrd_process("keys", "create", "--tenant", "t", "--scope", "all", *data)
    assert (good.returncode, good.stderr) == (0, "")
    bad = rrd_process("keys", "revoke", "nonsense", *data)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert bad.stderr == "rrd: there is no such key. `rrd keys list` shows the ids.\n"
    wrong = rrd_process("keys", "revoke", *data)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("usage: rrd keys revoke")


def test_a_terminal_gets_a_hint_and_a_script_gets_none(tmp_path: Path) -> None:
    args, environment = command(
        "keys", "create", "--tenant", "t", "--scope", "all", "--data-dir", str(tmp_path / "data")
    )
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            args, env=environment, stdout=subprocess.PIPE, stderr=theirs, timeout=60, check=True
        )
        hint = os.read(ours, 10_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    key = done.stdout.decode()
    assert key.startswith("ak_")
    assert key.count("\n") == 1
    assert "rrd keys revoke" in hint
    assert key.strip() not in hint


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    args, environment = command("check-config")
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            args, env=environment, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["keys", "--help"], ["sign", "--help"]])
def test_help_is_on_stdout_and_0(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    assert main(argv) == 0
    captured = capsys.readouterr()
    assert "rrd" in captured.out
    assert captured.err == ""


@pytest.mark.parametrize("argv", [[], ["dance"], ["serve", "--port", "x"], ["inspect"], ["--confi", "x"]])
def test_wrong_usage_is_2(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    assert main(argv) == 2
    assert "usage: rrd" in capsys.readouterr().err


COMMANDS = [
    ["serve"],
    ["keys", "list"],
    ["signing-keys", "list"],
    ["sign", "--tenant", "t", "--key-id", "k", "--method", "GET", "--path", "/statistics"],
    ["check-config"],
    ["reindex"],
    ["quarantine", "list"],
    ["quarantine", "show", "x"],
]


@pytest.mark.parametrize("argv", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("place", ["before", "after", "environment"])
def test_every_command_takes_its_settings_file_and_names_what_is_wrong_in_it(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    argv: list[str],
    place: str,
) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("flush_agems = 1\n")
    flags = ["--config", str(file)]
    if place == "environment":
        monkeypatch.setenv("RRD_CONFIG", str(file))
        flags = []
    code = main([*flags, *argv] if place == "before" else [*argv, *flags])
    captured = capsys.readouterr()
    assert (code, captured.out) == (1, "")
    assert "flush_agems" in captured.err
    assert "bad.toml" in captured.err
    assert "config/rrd.toml" in captured.err


@pytest.mark.parametrize("place", ["before", "after"])
def test_the_data_directory_may_be_named_before_or_after_the_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, place: str
) -> None:
    argv, flags = ["keys", "create", "--tenant", "t", "--scope", "all"], ["--data-dir", str(tmp_path / "d")]
    assert main([*flags, *argv] if place == "before" else [*argv, *flags]) == 0
    assert (tmp_path / "d" / "keys.sqlite").exists()


def test_flags_beat_the_environment_which_beats_the_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def used(*flags: str) -> str:
        assert main(["check-config", *flags]) == 0
        return str(tomllib.loads(capsys.readouterr().out)["data_dir"])

    file = tmp_path / "rrd.toml"
    file.write_text('data_dir = "by-file"\n')
    assert used() == "data"
    assert used("--config", str(file)) == "by-file"
    monkeypatch.setenv("RRD_DATA_DIR", "by-environment")
    assert used("--config", str(file)) == "by-environment"
    assert used("--config", str(file), "--data-dir", "by-flag") == "by-flag"


# check-config


def test_check_config_prints_settings_that_load_again_and_where_they_came_from(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "rrd.toml"
    file.write_text('port = 9000\nflush_age_ms = 500\nhost = "127.0.0.1"\n')
    monkeypatch.setenv("RRD_FLUSH_AGE_MS", "250")
    monkeypatch.setenv("RRD_TRUSTED_PROXIES", "10.0.0.0/8")
    assert main(["check-config", "--config", str(file), "--data-dir", "elsewhere"]) == 0
    text = capsys.readouterr().out
    lines = {line.split(" = ")[0]: line for line in text.splitlines()}
    assert lines["port"] == f"port = 9000  # from '{file}'"
    assert lines["flush_age_ms"] == "flush_age_ms = 250  # from the environment, RRD_FLUSH_AGE_MS"
    assert lines["data_dir"] == 'data_dir = "elsewhere"  # from the command line'
    assert "#" not in lines["host"]
    printed = tmp_path / "printed.toml"
    printed.write_text(text)
    assert load_config(file=str(printed), environment={}) == load_config(
        file=str(file), flags={"data_dir": "elsewhere"}
    )


@given(
    data_dir=st.text(st.characters(exclude_categories=["Cs"])),
    proxies=st.lists(st.sampled_from(["10.0.0.0/8", "::1/128"])),
)
def test_whatever_the_settings_they_are_printed_as_toml(data_dir: str, proxies: list[str]) -> None:
    config = Config(data_dir=data_dir, trusted_proxies=tuple(proxies), port=1)
    text = "\n".join(check_config.as_toml(config, flags={}, environment={}, file="f\n'\""))
    assert load_config_text(text) == config


def load_config_text(text: str) -> Config:
    return load_config(environment={}, flags=tomllib.loads(text))


def test_check_config_explains_a_bad_setting(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RRD_PORT", "70000")
    assert main(["check-config"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "port" in captured.err
    assert "65535" in captured.err
    assert "environment" in captured.err


def test_warnings_go_to_stderr_and_dont_fail_the_check(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RRD_PUBLIC_URL", "rrd.example.com")
    assert main(["check-config"]) == 0
    captured = capsys.readouterr()
    assert "rrd: warning: public_url" in captured.err
    assert "warning" not in captured.out


# A data directory that is not there


@pytest.mark.parametrize("command_name", ["doctor", "reindex", "adopt-store"])
def test_a_misspelt_data_directory_is_told_and_not_made(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command_name: str
) -> None:
    missing = tmp_path / "missing"
    assert main([command_name, "--data-dir", str(missing)]) == 1
    assert f"{missing}: there is no data directory here. Check --data-dir" in capsys.readouterr().err
    assert not missing.exists()


def test_a_lost_data_directory_is_made_again_from_a_store_outside_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RRD_OBJECTS_DIR", str(tmp_path / "objects"))
    assert main(["adopt-store", "--data-dir", str(tmp_path / "new")]) == 0
    assert main(["reindex", "--data-dir", str(tmp_path / "new")]) == 0
    assert "0 recordings" in capsys.readouterr().out
