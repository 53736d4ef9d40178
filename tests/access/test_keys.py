from __future__ import annotations

import os
import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rrd.access.keys import PREFIXES, KeyStore, Scope, key_hash
from rrd.errors import BadRequest, NotFound, RrdError

NOVEMBER_MS = 1_795_400_000_000  # 2026-11-23


class SetClock:
    """A wall clock that stands still until it is set."""

    def __init__(self, ms: int = NOVEMBER_MS) -> None:
        self.ms = ms

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


def files_in(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize("scope", ["ingest", "read", "all", "erase"])
def test_a_minted_key_has_the_form_of_its_scope_and_256_random_bits(tmp_path: Path, scope: Scope) -> None:
    with KeyStore(str(tmp_path / "keys.sqlite")) as store:
        minted = [store.create_key(tenant="t", scope=scope)[1] for _ in range(20)]
    forms = {
        "ingest": "public_key_rr_",
        "read": "secret_key_rr_",
        "all": "ak_",
        "erase": "erase_key_rr_",
    }
    assert len(set(minted)) == 20
    for key in minted:
        assert key.startswith(forms[scope])
        assert len(key.removeprefix(PREFIXES[scope])) == 43


def test_a_key_is_kept_as_its_hash_alone(tmp_path: Path) -> None:
    store = KeyStore(str(tmp_path / "keys.sqlite"))
    key_id, key = store.create_key(tenant="acme", scope="all", origins=["https://a.example"], label="web")
    store.revoke_key(key)
    while_open = files_in(tmp_path)
    store.close()
    assert "keys.sqlite-wal" in while_open
    for name, data in [*while_open.items(), *files_in(tmp_path).items()]:
        for secret in (key, key.removeprefix("ak_"), key[-20:]):
            assert secret.encode() not in data, name
    # The look is at the right files: what isn't secret is in there.
    assert b"acme" in files_in(tmp_path)["keys.sqlite"]
    assert key_id.encode() in files_in(tmp_path)["keys.sqlite"]


def test_the_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = KeyStore(str(tmp_path / "data" / "keys.sqlite"))
        store.create_signing_key(tenant="t")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
    store.close()
    assert modes == dict.fromkeys(["keys.sqlite", "keys.sqlite-wal", "keys.sqlite-shm"], 0o600)
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for others")
def test_a_file_that_root_makes_belongs_to_the_directorys_owner(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 54321)
    with KeyStore(str(tmp_path / "keys.sqlite")) as store:
        store.create_key(tenant="t", scope="all")
        for path in tmp_path.iterdir():
            assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321), path.name


def test_keys_are_listed_with_all_but_the_key(tmp_path: Path) -> None:
    with KeyStore(str(tmp_path / "keys.sqlite"), clock=SetClock()) as store:
        first, _ = store.create_key(
            tenant="a", scope="ingest", origins=["https://A.example/", "https://a.example"], label="shop"
        )
        second, _ = store.create_key(tenant="b", scope="read")
        rows = store.list_keys()
        assert [row.id for row in rows] == [first, second]
        assert rows[0].origins == ("https://a.example",)
        assert (rows[0].tenant, rows[0].scope, rows[0].label) == ("a", "ingest", "shop")
        assert (rows[0].created_ms, rows[0].revoked_ms) == (NOVEMBER_MS, None)
        assert [row.id for row in store.list_keys("b")] == [second]
        assert store.list_keys("c") == []


@pytest.mark.parametrize("by", ["id", "key"])
def test_a_key_is_revoked_by_its_id_or_by_itself_and_once_only(tmp_path: Path, by: str) -> None:
    clock = SetClock()
    with KeyStore(str(tmp_path / "keys.sqlite"), clock=clock) as store:
        key_id, key = store.create_key(tenant="t", scope="all")
        other, _ = store.create_key(tenant="t", scope="all")
        clock.ms += 1
        assert store.revoke_key(key_id if by == "id" else key).revoked_ms is None
        clock.ms += 1
        assert store.revoke_key(key_id if by == "id" else key).revoked_ms == NOVEMBER_MS + 1
        assert {row.id: row.revoked_ms for row in store.list_keys()} == {key_id: NOVEMBER_MS + 1, other: None}


def test_an_unknown_key_is_not_revoked_and_not_told(tmp_path: Path) -> None:
    with KeyStore(str(tmp_path / "keys.sqlite")) as store:
        with pytest.raises(NotFound) as caught:
            store.revoke_key("public_key_rr_mistyped")
        assert "mistyped" not in str(caught.value)
        with pytest.raises(NotFound, match="key-x"):
            store.revoke_signing_key("key-x")


def test_signing_keys_are_called_by_their_month_then_numbered(tmp_path: Path) -> None:
    clock = SetClock()
    with KeyStore(str(tmp_path / "keys.sqlite"), clock=clock) as store:
        made = [store.create_signing_key(tenant=tenant) for tenant in ("a", "b", "a")]
        store.revoke_signing_key("key-2026-11-3")
        made.append(store.create_signing_key(tenant="a"))
        clock.ms += 30 * 86_400_000
        made.append(store.create_signing_key(tenant="a"))
        assert [row.key_id for row in made] == [
            "key-2026-11",
            "key-2026-11-2",
            "key-2026-11-3",
            "key-2026-11-4",
            "key-2026-12",
        ]
        assert len({row.secret for row in made}) == 5
        assert all(len(row.secret) == 64 for row in made)
        listed = store.list_signing_keys("a")
        assert [row.key_id for row in listed] == [row.key_id for row in made if row.tenant == "a"]


def test_a_key_id_is_one_tenants_even_after_it_was_revoked(tmp_path: Path) -> None:
    with KeyStore(str(tmp_path / "keys.sqlite")) as store:
        store.create_signing_key(tenant="a", key_id="mine")
        with pytest.raises(BadRequest, match="taken"):
            store.create_signing_key(tenant="b", key_id="mine")
        store.revoke_signing_key("mine")
        with pytest.raises(BadRequest, match="taken"):
            store.create_signing_key(tenant="a", key_id="mine")


def test_a_signing_keys_secret_is_not_in_its_repr(tmp_path: Path) -> None:
    with KeyStore(str(tmp_path / "keys.sqlite")) as store:
        row = store.create_signing_key(tenant="t")
        assert row.secret not in repr(row)
        assert row.secret not in repr(store.load())


def test_bad_names_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    with KeyStore(str(tmp_path / "keys.sqlite")) as store:
        for tenant in ("", "A", "a/b", "../x", "a b", "-a"):
            with pytest.raises(BadRequest, match="tenant"):
                store.create_key(tenant=tenant, scope="all")
            with pytest.raises(BadRequest, match="tenant"):
                store.create_signing_key(tenant=tenant)
        for key_id in ("", "a b", "a&b", "-x", "x" * 65, "é"):
            with pytest.raises(BadRequest, match="key id"):
                store.create_signing_key(tenant="t", key_id=key_id)
        with pytest.raises(BadRequest, match="origin"):
            store.create_key(tenant="t", scope="all", origins=["https://good.example", "bad"])
        assert store.list_keys() == []
        assert store.list_signing_keys() == []
        # An aborted transaction doesn't stay open.
        store.create_key(tenant="t", scope="all")


def test_keys_outlive_the_process_that_made_them(tmp_path: Path) -> None:
    path = str(tmp_path / "keys.sqlite")
    with KeyStore(path) as store:
        key_id, key = store.create_key(tenant="t", scope="read", origins=["https://a.example"])
        signing_key = store.create_signing_key(tenant="t")
    with KeyStore(path, create=False) as store:
        snapshot = store.load()
    assert snapshot.keys[key_hash(key)].id == key_id
    assert snapshot.signing_keys == {signing_key.key_id: signing_key}
    assert set(snapshot.rows) == {key_id}


def test_the_data_version_changes_when_keys_do_and_only_then(tmp_path: Path) -> None:
    path = str(tmp_path / "keys.sqlite")
    with KeyStore(path) as store, KeyStore(path) as other:
        versions = [store.data_version()]
        assert store.data_version() == versions[-1]
        key_id, _ = other.create_key(tenant="t", scope="all")
        versions.append(store.data_version())
        store.list_keys()
        other.list_keys()
        assert store.data_version() == versions[-1]
        other.revoke_key(key_id)
        versions.append(store.data_version())
        store.create_key(tenant="t", scope="all")
        versions.append(store.data_version())
    assert len(set(versions)) == 4


def test_an_absent_file_is_not_made_by_looking(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="keys create"):
        KeyStore(str(tmp_path / "none" / "keys.sqlite"), create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_refused_by_name_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(RrdError, match=r"keys\.sqlite.*backup"):
        KeyStore(str(path))
    assert path.read_bytes() == b"this is no database" * 100


def test_a_file_of_a_newer_rrd_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "keys.sqlite")
    with KeyStore(path) as store:
        store.create_key(tenant="t", scope="all")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(RrdError, match="newer rrd"):
        KeyStore(path)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM keys").fetchone() == (1,)
    connection.close()


def test_many_may_make_the_file_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "keys.sqlite")
    together = threading.Barrier(8)

    def make(_: int) -> str:
        together.wait()
        with KeyStore(path) as store:
            return store.create_key(tenant="t", scope="all")[0]

    with ThreadPoolExecutor(8) as threads:
        ids = list(threads.map(make, range(8)))
    with KeyStore(path) as store:
        assert {row.id for row in store.list_keys()} == set(ids)


def test_one_store_may_be_used_from_many_threads(tmp_path: Path) -> None:
    with KeyStore(str(tmp_path / "keys.sqlite")) as store, ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: store.create_key(tenant="t", scope="all")[0], range(40)))
        assert len(set(made)) == 40
        assert len(store.load().keys) == 40


def test_the_store_closes_twice(tmp_path: Path) -> None:
    path = str(tmp_path / "keys.sqlite")
    store = KeyStore(path)
    made = store.create_key(tenant="t", scope="all")[0]
    store.close()
    store.close()
    with KeyStore(path) as again:
        assert [row.id for row in again.list_keys()] == [made]
