"""Sessions and one-time tokens: once, for a while, so many, and kept over a restart without their tokens."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.console.sessions import SESSIONS_MAX, SIGN_IN_AGE_MS, SIGN_INS_MAX, SessionStore
from rrd.errors import Unauthenticated
from tests.wired import ManualClock

AGE_MS = 60_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[SessionStore]:
    with SessionStore(str(tmp_path / "console.sqlite"), clock) as opened:
        yield opened


def test_a_session_that_was_signed_out_does_not_come_back_by_another_key(store: SessionStore) -> None:
    token, session = store.begin(key_ids=["k1"], is_operator=False, age_ms=AGE_MS)
    store.end(session)
    with pytest.raises(Unauthenticated):
        store.extend(session, key_ids=["k2"], is_operator=True)
    assert store.get(session.id) is store.find(token) is None


def test_a_session_is_found_by_its_token_until_it_expires(store: SessionStore, clock: ManualClock) -> None:
    token, session = store.begin(key_ids=["k1"], is_operator=False, age_ms=AGE_MS)
    assert store.find(token) == store.get(session.id) == session
    assert (session.key_ids, session.expires_ms - session.created_ms) == (("k1",), AGE_MS)
    clock.seconds += AGE_MS / 1000 - 0.001
    assert store.find(token) == session
    clock.seconds += 0.001
    assert store.find(token) is None
    assert store.get(session.id) is None


def test_a_wider_session_has_another_token_and_ends_no_later(store: SessionStore, clock: ManualClock) -> None:
    token, session = store.begin(key_ids=["k1"], is_operator=False, age_ms=AGE_MS)
    clock.seconds += 10
    newer, wider = store.extend(session, key_ids=["k2", "k1"], is_operator=True)
    assert store.find(token) is None
    assert store.find(newer) == wider == store.get(session.id)
    assert (wider.id, wider.key_ids, wider.is_operator) == (session.id, ("k1", "k2"), True)
    assert wider.expires_ms == session.expires_ms
    # What is an operator's stays so.
    _, widest = store.extend(wider, key_ids=["k3"], is_operator=False)
    assert widest.is_operator


def test_a_session_that_is_signed_out_is_gone(store: SessionStore) -> None:
    token, session = store.begin(key_ids=["k1"], is_operator=False, age_ms=AGE_MS)
    other, _ = store.begin(key_ids=["k1"], is_operator=False, age_ms=AGE_MS)
    for _ in range(2):
        store.end(session)
        assert store.find(token) is None
        assert store.get(session.id) is None
    assert store.find(other) is not None


def test_the_oldest_sessions_make_room(store: SessionStore) -> None:
    begun = [store.begin(key_ids=[], is_operator=True, age_ms=AGE_MS)[0] for _ in range(SESSIONS_MAX + 2)]
    assert [store.find(token) is None for token in begun] == [True, True] + SESSIONS_MAX * [False]


def test_a_token_signs_in_once_and_for_a_while(store: SessionStore, clock: ManualClock) -> None:
    first, second, late = (store.new_sign_in() for _ in range(3))
    assert [store.use_sign_in(first), store.use_sign_in(first), store.use_sign_in("x")] == [
        True,
        False,
        False,
    ]
    clock.seconds += SIGN_IN_AGE_MS / 1000 - 0.001
    assert store.use_sign_in(second)
    clock.seconds += 0.001
    assert not store.use_sign_in(late)


def test_the_oldest_tokens_make_room(store: SessionStore) -> None:
    tokens = [store.new_sign_in() for _ in range(SIGN_INS_MAX + 1)]
    assert [store.use_sign_in(token) for token in tokens] == [False] + SIGN_INS_MAX * [True]


def test_a_token_of_another_process_counts(store: SessionStore, tmp_path: Path, clock: ManualClock) -> None:
    with SessionStore(str(tmp_path / "console.sqlite"), clock) as command:
        token = command.new_sign_in()
    assert store.use_sign_in(token)


def test_sessions_outlive_the_process_and_their_tokens_are_in_no_file(
    tmp_path: Path, clock: ManualClock
) -> None:
    path = tmp_path / "deep/console.sqlite"
    with SessionStore(str(path), clock) as store:
        token, session = store.begin(key_ids=["k1", "k2"], is_operator=True, age_ms=AGE_MS)
        one_time = store.new_sign_in()
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert token.encode() not in file.read_bytes()
            assert one_time.encode() not in file.read_bytes()
    with SessionStore(str(path), clock) as store:
        assert store.find(token) == session
        assert store.use_sign_in(one_time)


@given(token=st.text(max_size=60))
def test_what_was_never_handed_out_is_nobodys(token: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    with SessionStore(str(tmp_path_factory.mktemp("any") / "console.sqlite")) as store:
        store.begin(key_ids=[], is_operator=True, age_ms=AGE_MS)
        assert store.find(token) is None
        assert not store.use_sign_in(token)
    lone = token + "\udc80"
    with SessionStore(str(tmp_path_factory.mktemp("any") / "console.sqlite")) as store:
        assert store.find(lone) is None
