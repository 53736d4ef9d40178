"""Which settings a command uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from rrd.cli import common, main


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
