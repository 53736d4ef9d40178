"""Keys that are edited and rotated, keys of older files, and the gate's answers beside a simple model's."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.access.gate import Gate, Grant
from rrd.access.keys import KeyEdit, KeyStore
from rrd.access.lifetime import DAY_MS
from rrd.access.schema import MIGRATIONS, SCHEMA_VERSION
from rrd.errors import BadRequest, Forbidden, NotFound, Unauthenticated
from tests.access.test_keys import NOVEMBER_MS, SetClock

A, B = "https://a.example", "https://b.example"


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def store(tmp_path: Path, clock: SetClock) -> Iterator[KeyStore]:
    with KeyStore(str(tmp_path / "keys.sqlite"), clock=clock) as store:
        yield store


def authorize(gate: Gate, key: str, clock: SetClock, origin: str | None = None) -> Grant:
    return gate.authorize(
        right="ingest", token=key, query={}, scope_path="/recordings/x", origin=origin,
        now_s=clock.ms // 1000,
    )  # fmt: skip


# Editing


def test_an_edit_changes_what_it_names_and_nothing_else(store: KeyStore) -> None:
    key_id, key = store.create_key(tenant="t", scope="ingest", origins=[A], label="old")
    other = store.create_key(tenant="t", scope="ingest", origins=[A])[0]
    before, row = store.edit_key(key_id, KeyEdit(label="new"))
    assert row == replace(before, label="new")
    row = store.edit_key(key, KeyEdit(expires_ms=NOVEMBER_MS + 5, add_origins=["https://B.example/"]))[1]
    assert row == replace(before, label="new", expires_ms=NOVEMBER_MS + 5, origins=(A, B))
    row = store.edit_key(key_id, KeyEdit(expires_ms=inf, remove_origins=[A]))[1]
    assert row == replace(before, label="new", origins=(B,))
    assert store.edit_key(key_id, KeyEdit())[1] == row
    assert {row.id: row.origins for row in store.list_keys()} == {key_id: (B,), other: (A,)}


@pytest.mark.parametrize(
    ("edit", "left"),
    [
        (KeyEdit(any_origin=True), ()),
        (KeyEdit(any_origin=True, add_origins=[B]), (B,)),
        (KeyEdit(add_origins=[A, A]), (A,)),
        (KeyEdit(add_origins=[B], remove_origins=[A]), (B,)),
    ],
)
def test_a_key_is_bound_to_what_an_edit_leaves(store: KeyStore, edit: KeyEdit, left: tuple[str, ...]) -> None:
    key_id, _ = store.create_key(tenant="t", scope="ingest", origins=[A])
    assert store.edit_key(key_id, edit)[1].origins == left


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (KeyEdit(remove_origins=[A]), "--any-origin"),
        (KeyEdit(remove_origins=[B]), "isn't bound"),
        (KeyEdit(any_origin=True, remove_origins=[A]), "isn't bound"),
        (KeyEdit(add_origins=["*"]), "origin"),
    ],
)
def test_an_edit_that_would_open_a_key_or_is_mistaken_changes_nothing(
    store: KeyStore, edit: KeyEdit, says: str
) -> None:
    key_id, _ = store.create_key(tenant="t", scope="ingest", origins=[A])
    before = store.list_keys()
    with pytest.raises(BadRequest, match=says):
        store.edit_key(key_id, replace(edit, label="changed"))
    assert store.list_keys() == before


def test_what_was_revoked_stays_as_it_is(store: KeyStore) -> None:
    key_id, _ = store.create_key(tenant="t", scope="ingest")
    signer = store.create_signing_key(tenant="t").key_id
    store.revoke_key(key_id)
    store.revoke_signing_key(signer)
    before = store.load()
    with pytest.raises(BadRequest, match="revoked"):
        store.edit_key(key_id, KeyEdit(label="x"))
    with pytest.raises(BadRequest, match="revoked"):
        store.rotate_key(key_id)
    with pytest.raises(BadRequest, match="revoked"):
        store.edit_signing_key(signer, KeyEdit(label="x"))
    with pytest.raises(BadRequest, match="revoked"):
        store.rotate_signing_key(signer)
    for missing in (store.edit_key, store.edit_signing_key):
        with pytest.raises(NotFound):
            missing("none", KeyEdit(label="x"))
    assert store.load() == before


def test_a_key_that_expired_by_mistake_lives_again(store: KeyStore, clock: SetClock) -> None:
    key_id, key = store.create_key(tenant="t", scope="ingest", expires_ms=NOVEMBER_MS + DAY_MS)
    gate = Gate(store, clock)
    clock.ms += DAY_MS
    with pytest.raises(Unauthenticated, match=f"expired at 2026-11-24T02:13:20Z \\(id {key_id}\\)"):
        authorize(gate, key, clock)
    store.edit_key(key_id, KeyEdit(expires_ms=clock.ms + DAY_MS))
    assert gate.refresh()
    assert gate.is_live(authorize(gate, key, clock))


# Rotating


def test_a_rotated_key_stays_good_for_the_overlap_beside_the_new_one(
    store: KeyStore, clock: SetClock
) -> None:
    key_id, key = store.create_key(tenant="t", scope="ingest", origins=[A], label="shop")
    gate = Gate(store, clock)
    old, new_id, new = store.rotate_key(key_id, overlap_ms=DAY_MS)
    assert (old.id, old.successor, old.expires_ms) == (key_id, new_id, NOVEMBER_MS + DAY_MS)
    fresh = next(row for row in store.list_keys() if row.id == new_id)
    assert fresh == replace(old, id=new_id, successor=None, expires_ms=None)
    gate.refresh()
    assert [authorize(gate, shown, clock, A).key_id for shown in (key, new)] == [key_id, new_id]
    clock.ms += DAY_MS
    with pytest.raises(Unauthenticated, match="expired"):
        authorize(gate, key, clock, A)
    assert authorize(gate, new, clock, A).key_id == new_id
    with pytest.raises(BadRequest, match=f"{new_id} took its place"):
        store.rotate_key(key_id)


def test_without_an_overlap_the_old_key_is_revoked(store: KeyStore) -> None:
    key_id, _ = store.create_key(tenant="t", scope="ingest")
    assert store.rotate_key(key_id, overlap_ms=0)[0].revoked_ms == NOVEMBER_MS
    signer = store.create_signing_key(tenant="t")
    assert store.rotate_signing_key(signer.key_id, overlap_ms=0)[0].revoked_ms == NOVEMBER_MS


@pytest.mark.parametrize(("wanted", "ends"), [(None, 100 * DAY_MS), (5.0 * DAY_MS, 5 * DAY_MS), (inf, None)])
def test_the_new_key_lives_as_long_as_the_old_one_was_given_unless_told(
    store: KeyStore, clock: SetClock, wanted: float | None, ends: int | None
) -> None:
    limit_ms = NOVEMBER_MS + 100 * DAY_MS
    key_id, _ = store.create_key(tenant="t", scope="ingest", expires_ms=limit_ms)
    signer = store.create_signing_key(tenant="t", label="web", expires_ms=limit_ms).key_id
    clock.ms += 97 * DAY_MS
    expires_ms = None if wanted is None else clock.ms + wanted
    expected = None if ends is None else clock.ms + ends
    old, new_id, _ = store.rotate_key(key_id, expires_ms=expires_ms)
    assert old.expires_ms == limit_ms  # Sooner than the overlap.
    assert store.load().rows[new_id].expires_ms == expected
    before, new = store.rotate_signing_key(signer, new_key_id="next", expires_ms=expires_ms)
    assert (before.expires_ms, before.successor) == (limit_ms, "next")
    assert (new.key_id, new.label, new.expires_ms) == ("next", "web", expected)
    assert new.secret != before.secret


def test_a_rotated_signing_key_makes_no_more_urls(store: KeyStore, clock: SetClock) -> None:
    old = store.create_signing_key(tenant="t", key_id="zzz")
    new = store.rotate_signing_key("zzz", new_key_id="aaa")[1]
    gate = Gate(store, clock)
    assert gate.signing_key("t") == new
    assert gate.is_live(Grant("t", frozenset({"read"}), "signing_key", old.key_id, ""))
    clock.ms += 8 * DAY_MS
    assert gate.refresh()
    assert not gate.is_live(Grant("t", frozenset({"read"}), "signing_key", old.key_id, ""))


def test_urls_are_signed_by_a_key_that_lives_as_long(store: KeyStore, clock: SetClock) -> None:
    long = store.create_signing_key(tenant="t", key_id="long")
    clock.ms += 1
    short = store.create_signing_key(tenant="t", key_id="short", expires_ms=clock.ms + DAY_MS)
    gate = Gate(store, clock)
    assert gate.signing_key("t") == short
    assert gate.signing_key("t", until_ms=clock.ms + DAY_MS + 1) == long
    store.revoke_signing_key("long")
    gate.refresh()
    assert gate.signing_key("t", until_ms=clock.ms + DAY_MS + 1) is None


# Older files


def older(path: Path) -> None:
    """Write a file as rrd 0.1.0 did, before keys had a lifetime."""
    with sqlite3.connect(path) as old:
        for statement in MIGRATIONS[0][:2]:
            old.execute(statement)
        old.execute("INSERT INTO keys VALUES ('ab12cd34', x'00', 't', 'all', '[]', 'shop', 1, NULL)")
        old.execute("INSERT INTO signing_keys VALUES ('web', 't', 'secret', 1, 2)")
        old.execute("PRAGMA user_version = 2")
    old.close()


def test_a_file_of_an_older_rrd_is_read_as_it_was(tmp_path: Path) -> None:
    older(tmp_path / "keys.sqlite")
    with KeyStore(str(tmp_path / "keys.sqlite")) as store:
        (row,), (signer,) = store.list_keys(), store.list_signing_keys()
        assert (row.id, row.label, row.expires_ms, row.successor) == ("ab12cd34", "shop", None, None)
        assert (signer.key_id, signer.revoked_ms, signer.label, signer.expires_ms) == ("web", 2, "", None)
        store.rotate_key("ab12cd34")
        fresh = sqlite3.connect(tmp_path / "keys.sqlite")
        migrated = fresh.execute("SELECT sql FROM sqlite_schema ORDER BY name").fetchall()
        fresh.close()
    with KeyStore(str(tmp_path / "new.sqlite")):
        new = sqlite3.connect(tmp_path / "new.sqlite")
        assert new.execute("SELECT sql FROM sqlite_schema ORDER BY name").fetchall() == migrated
        assert new.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        new.close()


# Beside a model


@dataclass
class Known:
    """What the model knows of a key."""

    key_id: str
    key: str
    origins: set[str]
    ends_ms: float = inf
    is_revoked: bool = False


_STEPS = st.one_of(
    st.tuples(st.just("make"), st.sampled_from([0, 1, 2]), st.integers(1, 6)),
    st.tuples(st.just("expire"), st.integers(0, 3), st.integers(1, 6)),
    st.tuples(st.just("bind"), st.integers(0, 3), st.sampled_from([0, 1, 2])),
    st.tuples(st.just("rotate"), st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.just("revoke"), st.integers(0, 3), st.just(0)),
    st.tuples(st.just("wait"), st.integers(-2, 4), st.just(0)),
)
_BOUND: list[list[str]] = [[], [A], [A, B]]


def _step(
    store: KeyStore, clock: SetClock, known: list[Known], rotated: set[str], step: tuple[str, int, int]
) -> None:
    what, which, how = step
    if what == "wait":
        clock.ms += which * 1000
    elif what == "make":
        ends_ms = clock.ms + how * 1000
        made = store.create_key(tenant="t", scope="ingest", origins=_BOUND[which], expires_ms=ends_ms)
        known.append(Known(*made, set(_BOUND[which]), ends_ms))
    elif known and not (one := known[which % len(known)]).is_revoked:
        if what == "expire":
            one.ends_ms = clock.ms + how * 1000
            store.edit_key(one.key_id, KeyEdit(expires_ms=one.ends_ms))
        elif what == "bind":
            one.origins = set(_BOUND[how])
            store.edit_key(one.key_id, KeyEdit(any_origin=True, add_origins=_BOUND[how]))
        elif what == "revoke":
            one.is_revoked = True
            store.revoke_key(one.key_id)
        elif one.key_id not in rotated:
            rotated.add(one.key_id)
            _, new_id, new = store.rotate_key(one.key_id, overlap_ms=how * 1000, expires_ms=inf)
            one.is_revoked = how == 0
            one.ends_ms = min(one.ends_ms, clock.ms + how * 1000) if how else one.ends_ms
            known.append(Known(new_id, new, set(one.origins)))


@settings(max_examples=60, deadline=None)
@given(st.lists(_STEPS, max_size=14))
def test_the_gate_answers_as_a_simple_model_does(steps: list[tuple[str, int, int]]) -> None:
    clock, known, rotated = SetClock(), list[Known](), set[str]()
    with (
        tempfile.TemporaryDirectory() as directory,
        KeyStore(f"{directory}/keys.sqlite", clock=clock) as store,
    ):
        gate = Gate(store, clock)
        for step in steps:
            _step(store, clock, known, rotated, step)
            gate.refresh()
            for one in known:
                is_good = not one.is_revoked and clock.ms < one.ends_ms
                grant = Grant("t", frozenset({"ingest"}), "key", one.key_id, "")
                assert gate.is_live(grant) == gate.is_live_key(one.key_id) == is_good
                for origin in (None, A, B):
                    try:
                        answer = authorize(gate, one.key, clock, origin) == grant
                    except Unauthenticated:
                        answer = None
                    except Forbidden:
                        answer = False
                    fits = not one.origins or origin in one.origins
                    assert answer == (fits if is_good else None)
