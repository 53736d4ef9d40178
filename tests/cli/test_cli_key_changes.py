"""``rrd keys`` and ``rrd signing-keys``: expiry, edits, rotation, lists for programs, and the audit log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rrd.access.keys import KeyStore
from rrd.access.lifetime import DAY_MS
from rrd.cli import main
from rrd.clock import SystemClock
from tests.audit_log import audited
from tests.cli.test_cli_keys import data_dir, error, make_key, out

__all__ = ["data_dir"]  # The fixture.

RECORDING = "3f2b8c1e-5d4a-4f6b-9c7d-1a2b3c4d5e6f"


def listed(capsys: pytest.CaptureFixture[str], family: str = "keys") -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(out(capsys, family, "list", "--json"))
    return rows


def test_a_key_with_an_expiry_says_so_in_both_lists(capsys: pytest.CaptureFixture[str]) -> None:
    before_ms = SystemClock().now_ms()
    make_key(capsys, "--expires", "90d")
    make_key(capsys, "--expires", "10d")
    make_key(capsys, "--expires", "never")
    rows = listed(capsys)
    assert [row["state"] for row in rows] == ["good", "expiring", "good"]
    ends = [row["expiresMs"] for row in rows]
    assert ends[2] is None
    assert isinstance(ends[0], int)
    assert before_ms - 1000 + 90 * DAY_MS <= ends[0] <= SystemClock().now_ms() + 90 * DAY_MS
    assert set(rows[0]) == {
        *("id", "tenant", "scope", "state", "label", "origins"),
        *("createdMs", "expiresMs", "revokedMs", "usedMs", "successor"),
    }
    table = [line.split() for line in out(capsys, "keys", "list").splitlines()[1:]]
    assert [row[3] for row in table] == ["good", "expiring", "good"]
    assert [row[5] == "-" for row in table] == [False, False, True]


def test_an_edit_prints_what_the_key_is_now(capsys: pytest.CaptureFixture[str], data_dir: Path) -> None:
    key = make_key(capsys, "--origin", "https://a.example", "--label", "shop")
    key_id = str(listed(capsys)[0]["id"])
    said = out(
        capsys,
        *("keys", "edit", key_id, "--add-origin", "https://B.example/", "--remove-origin"),
        *("https://a.example", "--label", "new shop", "--expires", "2099-01-31"),
    )
    assert said == (
        f"{key_id} (tenant acme, scope all): origins https://b.example;"
        " expires 2099-01-31T00:00:00Z; label new shop\n"
    )
    assert "expires never" in out(capsys, "keys", "edit", key, "--expires", "never", "--any-origin")
    assert "say what to change" in error(capsys, "keys", "edit", key_id)
    assert [line["event"] for line in audited(data_dir)] == ["key_made", "key_edited", "key_edited"]
    assert audited(data_dir)[1] == {
        "event": "key_edited",
        "key": key_id,
        "tenant": "acme",
        "origins": ["https://b.example"],
        "expires": "2099-01-31T00:00:00Z",
        "label": "new shop",
    }


def test_a_key_keeps_its_last_origin_unless_any_is_meant(capsys: pytest.CaptureFixture[str]) -> None:
    make_key(capsys, "--origin", "https://a.example")
    key_id = str(listed(capsys)[0]["id"])
    assert "--any-origin" in error(capsys, "keys", "edit", key_id, "--remove-origin", "https://a.example")
    assert listed(capsys)[0]["origins"] == ["https://a.example"]


def test_a_rotation_prints_just_the_new_key(
    capsys: pytest.CaptureFixture[str], data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make_key(capsys, "--origin", "https://a.example", "--label", "shop")
    new = out(capsys, "keys", "rotate", key).strip()
    assert new != key
    old, fresh = listed(capsys)
    assert (old["state"], fresh["state"], old["successor"]) == ("rotated", "good", fresh["id"])
    assert (fresh["origins"], fresh["label"], fresh["expiresMs"]) == (["https://a.example"], "shop", None)
    assert isinstance(old["expiresMs"], int)
    assert abs(old["expiresMs"] - SystemClock().now_ms() - 7 * DAY_MS) < 60_000
    assert "rotated already" in error(capsys, "keys", "rotate", key)
    # Quotas go by the key's id: a person must move them.
    monkeypatch.setenv("RRD_QUOTAS_OF_KEY", f"{fresh['id']}.sockets=5")
    assert main(["keys", "rotate", str(fresh["id"]), "--overlap", "0"]) == 0
    said = capsys.readouterr()
    last = listed(capsys)[2]
    assert f"Add to quotas_of_key: {last['id']}.sockets=5" in said.err
    assert [row["state"] for row in listed(capsys)] == ["rotated", "revoked", "good"]
    events = audited(data_dir)
    assert [line["event"] for line in events] == ["key_made", "key_rotated", "key_rotated"]
    assert (events[2]["key"], events[2]["successor"]) == (fresh["id"], last["id"])
    assert not [
        secret for secret in (key, new, said.out.strip()) if secret in (data_dir / "audit.ndjson").read_text()
    ]


def test_last_uses_are_listed_to_the_minute(capsys: pytest.CaptureFixture[str], data_dir: Path) -> None:
    make_key(capsys)
    key_id = str(listed(capsys)[0]["id"])
    with KeyStore(str(data_dir / "keys.sqlite")) as store:
        store.note_uses({("keys", key_id): 1_795_399_980_000})
    assert listed(capsys)[0]["usedMs"] == 1_795_399_980_000
    assert "2026-11-23T02:13Z" in out(capsys, "keys", "list")


def test_signing_keys_expire_and_are_edited_and_rotated(
    capsys: pytest.CaptureFixture[str], data_dir: Path
) -> None:
    secrets = []
    create = ("signing-keys", "create", "--tenant", "acme")
    secrets += out(capsys, *create, "--key-id", "web", "--expires", "1d", "--label", "links").split()[1:]
    sign = ("sign", "--tenant", "acme", "--method", "GET", "--recording", RECORDING)
    assert "keyId=web" in out(capsys, *sign, "--key-id", "web", "--expires-in", "3600")
    assert "before the URL would" in error(capsys, *sign, "--key-id", "web", "--expires-in", "90000")
    assert "expires never; label x" in out(
        capsys, "signing-keys", "edit", "web", "--expires", "never", "--label", "x"
    )
    new_id, secret = out(capsys, "signing-keys", "rotate", "web", "--key-id", "web-2").split()
    secrets.append(secret)
    assert new_id == "web-2"
    old, new = listed(capsys, "signing-keys")
    assert (old["state"], old["successor"], new["state"], new["label"]) == ("rotated", "web-2", "good", "x")
    assert not [each for each in secrets if each in json.dumps([old, new])]
    assert "say what to change" in error(capsys, "signing-keys", "edit", "web")
    out(capsys, "signing-keys", "revoke", "web")
    out(capsys, "signing-keys", "revoke", "web")
    assert [line["event"] for line in audited(data_dir)] == [
        *("signing_key_made", "signing_key_edited", "signing_key_rotated", "signing_key_revoked")
    ]
    assert not [each for each in secrets if each in (data_dir / "audit.ndjson").read_text()]


def test_keys_of_a_file_sign_and_are_listed_and_changed_there_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_key(capsys)
    path, secret = tmp_path / "signing", "5e" * 32
    path.write_text(f"web-2027 acme {secret}\n")
    monkeypatch.setenv("RRD_SIGNING_KEYS_FILE", str(path))
    (row,) = listed(capsys, "signing-keys")
    assert (row["keyId"], row["isFromFile"], row["createdMs"]) == ("web-2027", True, None)
    assert secret not in out(capsys, "signing-keys", "list")
    sign = ("sign", "--tenant", "acme", "--method", "GET", "--recording", RECORDING)
    assert "keyId=web-2027" in out(capsys, *sign, "--key-id", "web-2027")
    assert "signing_keys_file" in error(capsys, "signing-keys", "revoke", "web-2027")
    assert main(["check-config"]) == 0
    assert f'signing_keys_file = "{path}"' in capsys.readouterr().out
    path.write_text(f"web-2027 acme {secret[:20]}\n")
    assert listed(capsys, "signing-keys") == []
    assert main(["check-config"]) == 1
    said = capsys.readouterr().err
    assert "line 1" in said
    assert secret[:20] not in said


@pytest.mark.parametrize(
    "argv",
    [
        ["keys", "create", "--tenant", "t", "--scope", "all", "--expires", "yesterday"],
        ["keys", "create", "--tenant", "t", "--scope", "all", "--expires", "2020-01-01"],
        ["keys", "rotate", "x", "--overlap", "7"],
        ["keys", "edit", "x", "--label", "rrd import"],
        ["keys", "edit"],
        ["signing-keys", "rotate"],
        ["signing-keys", "create", "--tenant", "t", "--expires", ""],
    ],
)
def test_wrong_usage_is_told_as_such_and_makes_nothing(
    capsys: pytest.CaptureFixture[str], data_dir: Path, argv: list[str]
) -> None:
    assert "usage: rrd" in error(capsys, *argv, code=2)
    assert not data_dir.exists()
