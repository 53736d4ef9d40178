from __future__ import annotations

import stat
from pathlib import Path

import pytest

from rrd.access import signing
from rrd.access.gate import Gate
from rrd.access.keys import KeyStore
from rrd.cli import main
from rrd.clock import SystemClock
from rrd.errors import Unauthenticated

RECORDING = "3f2b8c1e-5d4a-4f6b-9c7d-1a2b3c4d5e6f"


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RRD_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def out(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Run a command that must do well and say nothing on stderr; return what it printed."""
    code = main(argv)
    captured = capsys.readouterr()
    assert (code, captured.err) == (0, "")
    return captured.out


def error(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 1) -> str:
    """Run a command that must fail with ``code`` and print nothing; return what it said on stderr."""
    got = main(argv)
    captured = capsys.readouterr()
    assert (got, captured.out) == (code, "")
    assert "Traceback" not in captured.err
    if code == 1:
        assert captured.err.startswith("rrd: ")
        assert captured.err.endswith(".\n")
    return captured.err


def make_key(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    return out(capsys, "keys", "create", "--tenant", "acme", "--scope", "all", *flags).strip()


# Keys


def test_keys_create_prints_just_the_key_and_it_works(
    capsys: pytest.CaptureFixture[str], data_dir: Path
) -> None:
    printed = out(
        capsys,
        *("keys", "create", "--tenant", "acme", "--scope", "ingest"),
        *("--origin", "https://A.example", "--origin", "https://b.example", "--label", "my shop"),
    )
    assert printed == printed.strip() + "\n"
    assert stat.S_IMODE((data_dir / "keys.sqlite").stat().st_mode) == 0o600
    with KeyStore(str(data_dir / "keys.sqlite"), create=False) as store:
        (row,) = store.list_keys()
        grant = Gate(store).authorize(
            right="ingest",
            token=printed.strip(),
            query={},
            scope_path="/recordings/x",
            origin="https://a.example",
            now_s=0,
        )
    assert (grant.tenant, grant.label) == ("acme", "my shop")
    assert row.origins == ("https://a.example", "https://b.example")


def test_keys_list_shows_all_but_the_keys(capsys: pytest.CaptureFixture[str]) -> None:
    key = make_key(capsys, "--origin", "https://a.example", "--label", "shop")
    out(capsys, "keys", "create", "--tenant", "other", "--scope", "read")
    listed = out(capsys, "keys", "list")
    head, first, second = listed.splitlines()
    assert head.split() == [
        *("ID", "TENANT", "SCOPE", "STATE", "CREATED", "EXPIRES", "REVOKED", "USED", "ORIGINS", "LABEL")
    ]
    assert first.split()[1:4] == ["acme", "all", "good"]
    assert first.split()[5:] == ["-", "-", "-", "https://a.example", "shop"]
    assert second.split()[1:4] == ["other", "read", "good"]
    assert key not in listed
    assert key.removeprefix("ak_") not in listed
    (row,) = out(capsys, "keys", "list", "--tenant", "other").splitlines()[1:]
    assert row.split() == second.split()


@pytest.mark.parametrize("by", ["id", "key"])
def test_keys_revoke_takes_an_id_or_the_key_and_doesnt_print_it(
    capsys: pytest.CaptureFixture[str], by: str
) -> None:
    key = make_key(capsys)
    key_id = out(capsys, "keys", "list").splitlines()[1].split()[0]
    said = out(capsys, "keys", "revoke", key_id if by == "id" else key)
    assert said == f"revoked {key_id} (tenant acme, scope all)\n"
    row = out(capsys, "keys", "list").splitlines()[1].split()
    assert (row[3], row[6]) != ("good", "-")
    assert "as it was since" in out(capsys, "keys", "revoke", key_id)


def test_keys_revoke_of_an_unknown_key_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    make_key(capsys)
    assert "`rrd keys list`" in error(capsys, "keys", "revoke", "nonsense")


def test_keys_create_refuses_a_bad_origin(capsys: pytest.CaptureFixture[str]) -> None:
    said = error(
        capsys, "keys", "create", "--tenant", "t", "--scope", "all", "--origin", "https://a.example/path"
    )
    assert "https://a.example/path" in said


@pytest.mark.parametrize(
    "argv",
    [
        ["keys"],
        ["keys", "create", "--tenant", "t"],
        ["keys", "create", "--scope", "all"],
        ["keys", "create", "--tenant", "t", "--scope", "write"],
        ["keys", "create", "--tenant", "../t", "--scope", "all"],
        ["keys", "revoke"],
        ["signing-keys"],
        ["signing-keys", "create"],
    ],
)
def test_wrong_usage_of_key_commands_is_2_and_makes_nothing(
    capsys: pytest.CaptureFixture[str], data_dir: Path, argv: list[str]
) -> None:
    assert "usage: rrd" in error(capsys, *argv, code=2)
    assert not data_dir.exists()


@pytest.mark.parametrize(
    "argv",
    [
        ["keys", "list"],
        ["keys", "revoke", "x"],
        ["signing-keys", "list"],
        ["signing-keys", "revoke", "x"],
        ["sign", "--tenant", "t", "--key-id", "k", "--method", "GET", "--path", "/statistics"],
    ],
)
def test_looking_for_keys_in_the_wrong_place_says_so_and_makes_nothing(
    capsys: pytest.CaptureFixture[str], data_dir: Path, argv: list[str]
) -> None:
    said = error(capsys, *argv)
    assert str(data_dir / "keys.sqlite") in said
    assert "--data-dir" in said
    assert not data_dir.exists()


def test_a_damaged_file_of_keys_is_an_error_with_advice(
    capsys: pytest.CaptureFixture[str], data_dir: Path
) -> None:
    data_dir.mkdir()
    (data_dir / "keys.sqlite").write_bytes(b"no database" * 100)
    assert "backup" in error(capsys, "keys", "list")


def test_a_directory_that_cannot_be_made_is_an_error_with_advice(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    said = error(
        capsys, "keys", "create", "--tenant", "t", "--scope", "all", "--data-dir", f"{tmp_path}/file/data"
    )
    assert f"{tmp_path}/file" in said


# Signing keys and signatures


def test_a_signed_url_works_for_what_it_was_signed(
    capsys: pytest.CaptureFixture[str], data_dir: Path
) -> None:
    key_id, secret = out(capsys, "signing-keys", "create", "--tenant", "acme").split()
    before_s = SystemClock().now_ms() // 1000
    query_string = out(
        capsys,
        *("sign", "--tenant", "acme", "--key-id", key_id, "--method", "GET"),
        *("--recording", RECORDING.upper(), "--expires-in", "90"),
    ).strip()
    query = dict(pair.split("=") for pair in query_string.split("&"))
    assert list(query) == ["signature", "expires", "keyId"]
    assert before_s + 90 <= int(query["expires"]) <= SystemClock().now_ms() // 1000 + 90
    assert secret not in query_string
    with KeyStore(str(data_dir / "keys.sqlite"), create=False) as store:
        gate = Gate(store)
    path = signing.recording_path(RECORDING)
    grant = gate.authorize(
        right="read", token=None, query=query, scope_path=path, origin=None, now_s=before_s
    )
    assert grant.tenant == "acme"
    with pytest.raises(Unauthenticated):
        gate.authorize(right="ingest", token=None, query=query, scope_path=path, origin=None, now_s=before_s)


@pytest.mark.parametrize("path", ["/recordings", "/statistics"])
def test_other_paths_are_signed_for_reading_alone(
    capsys: pytest.CaptureFixture[str], data_dir: Path, path: str
) -> None:
    out(capsys, "signing-keys", "create", "--tenant", "acme", "--key-id", "mine")
    flags = ("sign", "--tenant", "acme", "--key-id", "mine", "--path", path)
    query = dict(pair.split("=") for pair in out(capsys, *flags, "--method", "GET").strip().split("&"))
    with KeyStore(str(data_dir / "keys.sqlite"), create=False) as store:
        Gate(store).authorize(right="read", token=None, query=query, scope_path=path, origin=None, now_s=0)
    assert path in error(capsys, *flags, "--method", "POST")


def test_signing_keys_are_listed_without_secrets_and_revoked(capsys: pytest.CaptureFixture[str]) -> None:
    key_id, secret = out(capsys, "signing-keys", "create", "--tenant", "acme").split()
    listed = out(capsys, "signing-keys", "list")
    assert listed.splitlines()[1].split()[:2] == [key_id, "acme"]
    assert secret not in listed
    assert out(capsys, "signing-keys", "list", "--tenant", "other").count("\n") == 1
    assert out(capsys, "signing-keys", "revoke", key_id) == f"revoked {key_id} (tenant acme)\n"
    assert "as it was since" in out(capsys, "signing-keys", "revoke", key_id)
    said = error(
        capsys,
        *("sign", "--tenant", "acme", "--key-id", key_id, "--method", "GET", "--recording", RECORDING),
    )
    assert "revoked" in said


def test_signing_key_errors_say_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    out(capsys, "signing-keys", "create", "--tenant", "acme", "--key-id", "mine")
    assert "taken" in error(capsys, "signing-keys", "create", "--tenant", "b", "--key-id", "mine")
    assert "a b" in error(capsys, "signing-keys", "create", "--tenant", "b", "--key-id", "a b")
    assert "signing-keys list" in error(capsys, "signing-keys", "revoke", "other")
    flags = ("--method", "GET", "--recording", RECORDING)
    # Another tenant's key is as good as none.
    assert "has no signing key" in error(capsys, "sign", "--tenant", "b", "--key-id", "mine", *flags)


def test_a_recording_id_is_checked_before_it_is_signed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out(capsys, "signing-keys", "create", "--tenant", "acme", "--key-id", "mine")
    flags = (
        "sign",
        "--tenant",
        "acme",
        "--key-id",
        "mine",
        "--method",
        "POST",
        "--recording",
        "V1StGXR8_Z5jdHi6",
    )
    assert "recording_ids" in error(capsys, *flags)
    monkeypatch.setenv("RRD_RECORDING_IDS", "any")
    assert "keyId=mine" in out(capsys, *flags)


@pytest.mark.parametrize("lifetime", ["0", "-1", "1h", "", "99999999999"])
def test_an_odd_lifetime_is_wrong_usage(capsys: pytest.CaptureFixture[str], lifetime: str) -> None:
    flags = ("sign", "--tenant", "t", "--key-id", "k", "--method", "GET", "--path", "/statistics")
    assert "--expires-in" in error(capsys, *flags, "--expires-in", lifetime, code=2)
