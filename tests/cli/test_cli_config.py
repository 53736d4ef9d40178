"""Which settings a command uses, and whether ``check-config`` knows what stops ``serve``."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rrd.cli import common, main
from tests.cli.test_cli_main import command

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
    {"trusted_proxies": "everywhere"},
    {"host": "not a host"},
    {"host": "nonexistent.invalid"},
    {"host": "[::1]"},
    {"host": "203.0.113.7"},
    {"host": " 127.0.0.1 "},
    {"host": "x" * 100},
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


def test_commands_find_the_settings_of_the_service(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    system, other = tmp_path / "system.toml", tmp_path / "other.toml"
    system.write_text(f'data_dir = "{data_dir}"\n')
    other.write_text('port = 1\ndata_dir = "relative"\n')
    monkeypatch.setattr(common, "SYSTEM_CONFIG", str(system))
    assert main(["keys", "create", "--tenant", "t", "--scope", "all"]) == 0
    assert (data_dir / "keys.sqlite").exists()
    capsys.readouterr()

    def used(*flags: str) -> str:
        assert main(["check-config", *flags]) == 0
        return next(line for line in capsys.readouterr().out.splitlines() if line.startswith("data_dir"))

    assert str(data_dir) in used()
    assert str(system) in used()
    assert "by-flag" in used("--data-dir", "by-flag")
    assert "relative" in used("--config", str(other))
    monkeypatch.setenv("RRD_CONFIG", "")
    assert used() == 'data_dir = "data"'
    monkeypatch.setenv("RRD_CONFIG", str(other))
    assert "relative" in used()


@pytest.mark.parametrize("setting", ["data_dir", "objects_dir"])
def test_the_settings_of_the_service_name_no_directory_that_moves_with_the_caller(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, setting: str
) -> None:
    file = tmp_path / "rrd.toml"
    file.write_text(f'data_dir = "{tmp_path}"\n' * (setting != "data_dir") + f'{setting} = "relative"\n')
    monkeypatch.setattr(common, "SYSTEM_CONFIG", str(file))
    for flags in ([], ["--config", str(file)]):
        assert main(["check-config", *flags]) == 1
        assert f"{setting} = 'relative'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "meant"), [("public", "ingest"), ("private", "read"), ("ingest", "ingest"), ("read", "read")]
)
def test_keys_go_by_the_names_of_the_documents_too(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, said: str, meant: str
) -> None:
    flags = ["--data-dir", str(tmp_path / "data")]
    assert main(["keys", "create", "--tenant", "shop", "--scope", said, *flags]) == 0
    capsys.readouterr()
    assert main(["keys", "list", *flags]) == 0
    assert f" {meant} " in capsys.readouterr().out
