"""Signing keys in a file of their own: its form, and what the gate makes of them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.access.gate import Gate
from rrd.access.keys import KeyStore, Snapshot
from rrd.access.signing_file import FILE_BYTES_MAX, parse_signing_keys, read_signing_keys
from rrd.errors import ConfigError, RrdError

SECRET = "5e" * 32
LINE = f"web-2027 acme {SECRET}"


def test_each_line_is_a_key_and_others_say_nothing(tmp_path: Path) -> None:
    path = tmp_path / "signing"
    path.write_text(f"# for the shop\n\n{LINE}\r\n  web-2026\tother  {SECRET[::-1]}\n   # the end")
    rows = read_signing_keys(str(path))
    assert [(row.key_id, row.tenant, row.secret) for row in rows] == [
        ("web-2027", "acme", SECRET),
        ("web-2026", "other", SECRET[::-1]),
    ]
    assert all(row.is_from_file and row.revoked_ms is None and row.expires_ms is None for row in rows)


def test_no_file_means_no_keys() -> None:
    assert read_signing_keys("") == ()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("web-2026 acme", "2 words"),
        (f"web-2026 acme {SECRET} more", "4 words"),
        (f"-web acme {SECRET}", "key id"),
        (f"web Acme {SECRET}", "tenant"),
        (f"web acme {SECRET[:31]}", "31 bytes"),
        (LINE, "above"),
        (b"web acme \xff" + SECRET.encode(), "UTF-8"),
    ],
)
def test_a_bad_line_is_told_by_its_number_and_never_shown(line: str | bytes, says: str) -> None:
    more = line if isinstance(line, bytes) else line.encode()
    with pytest.raises(ConfigError) as caught:
        parse_signing_keys("/etc/rrd/signing", LINE.encode() + b"\n\n" + more + b"\n")
    assert "/etc/rrd/signing, line 3: " in str(caught.value)
    assert says in str(caught.value)
    assert SECRET[:20] not in str(caught.value)


@given(st.binary(max_size=200))
def test_junk_is_refused_and_makes_no_short_secret(data: bytes) -> None:
    with contextlib.suppress(ConfigError):
        assert all(len(row.secret.encode()) >= 32 for row in parse_signing_keys("signing", data))


def test_a_file_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_signing_keys(str(tmp_path / "none"))
    huge = tmp_path / "huge"
    huge.write_bytes(b"\n" * (FILE_BYTES_MAX + 1))
    with pytest.raises(ConfigError, match="bytes"):
        read_signing_keys(str(huge))


def test_the_file_comes_before_the_store_and_is_taken_anew_at_a_reload(tmp_path: Path) -> None:
    with KeyStore(str(tmp_path / "keys.sqlite")) as store:
        store.create_signing_key(tenant="acme", key_id="web-2027")
        stored = store.create_signing_key(tenant="acme", key_id="zzz")
        gate = Gate(store, from_file=parse_signing_keys("", LINE.encode()))
        assert gate.signing_key_rows()["web-2027"].secret == SECRET
        assert [gate.signing_key(tenant) for tenant in ("acme", "other")] == [
            gate.signing_key_rows()["web-2027"],
            None,
        ]
        gate.take_from_file([])
        assert gate.refresh()
        assert gate.signing_key("acme") == stored
        assert gate.signing_key_rows()["web-2027"].secret != SECRET
        assert not gate.refresh()


class SickStore(KeyStore):
    """A store on a disk that fails at times."""

    fails = False

    def load(self) -> Snapshot:
        if self.fails:
            raise RrdError("disk I/O error")
        return super().load()


def test_a_key_that_left_the_file_goes_even_where_the_store_cannot_be_read_just_then(tmp_path: Path) -> None:
    with SickStore(str(tmp_path / "keys.sqlite")) as store:
        gate = Gate(store, from_file=parse_signing_keys("", LINE.encode()))
        gate.take_from_file([])
        store.fails = True
        with pytest.raises(RrdError):
            gate.refresh()
        store.fails = False
        assert gate.refresh()
        assert gate.signing_key("acme") is None
