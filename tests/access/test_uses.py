"""When keys were used last: to the minute, kept seldom, and never a reason to load all keys anew."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from rrd.access import signing
from rrd.access.gate import Gate
from rrd.access.keys import KeyStore
from rrd.access.uses import INTERVAL_S
from rrd.errors import RrdError, Unauthenticated
from tests.access.test_keys import NOVEMBER_MS, SetClock

MINUTE_MS = NOVEMBER_MS - NOVEMBER_MS % 60_000
PATH = "/recordings/x"


@pytest.fixture
def clock() -> SetClock:
    return SetClock(MINUTE_MS + 59_999)


@pytest.fixture
def store(tmp_path: Path, clock: SetClock) -> Iterator[KeyStore]:
    with KeyStore(str(tmp_path / "keys.sqlite"), clock=clock) as store:
        yield store


def use(gate: Gate, key: str, clock: SetClock) -> None:
    gate.authorize(right="ingest", token=key, query={}, scope_path=PATH, origin=None, now_s=clock.ms // 1000)


def test_each_kind_of_key_is_noted_when_it_lets_in_and_not_when_it_is_refused(
    store: KeyStore, clock: SetClock
) -> None:
    used, key = store.create_key(tenant="t", scope="ingest")
    idle, _ = store.create_key(tenant="t", scope="ingest")
    bound, bound_key = store.create_key(tenant="t", scope="ingest", origins=["https://a.example"])
    signer = store.create_signing_key(tenant="t")
    gate = Gate(store, clock)
    query = signing.sign(
        secret=signer.secret, key_id=signer.key_id, tenant="t", method="POST", scope_path=PATH,
        expires_s=clock.ms // 1000 + 60,
    )  # fmt: skip
    pairs = dict(pair.split("=") for pair in query.split("&"))
    for shown in (pairs | {"signature": "0" * 64}, pairs):
        try:
            gate.authorize(
                right="ingest", token=None, query=shown, scope_path=PATH, origin=None,
                now_s=clock.ms // 1000,
            )  # fmt: skip
        except Unauthenticated:
            gate.uses.keep()
            assert store.uses() == {}
    use(gate, key, clock)
    with pytest.raises(RrdError):
        use(gate, bound_key, clock)
    gate.uses.keep()
    assert store.uses() == {("keys", used): MINUTE_MS, ("signing_keys", signer.key_id): MINUTE_MS}
    assert {idle, bound} & {key_id for _, key_id in store.uses()} == set()


def test_times_are_kept_every_few_minutes_and_only_if_there_are_new_ones(
    store: KeyStore, clock: SetClock
) -> None:
    _, key = store.create_key(tenant="t", scope="ingest")
    gate = Gate(store, clock)
    use(gate, key, clock)
    version = store.data_version()
    gate.uses.keep_in_time()
    assert store.data_version() == version
    clock.ms += int(INTERVAL_S * 1000)
    gate.uses.keep_in_time()
    kept = store.data_version()
    assert kept != version
    clock.ms += int(INTERVAL_S * 1000)
    gate.uses.keep_in_time()
    assert store.data_version() == kept


def test_keeping_them_changes_nothing_for_the_gate(store: KeyStore, clock: SetClock) -> None:
    _, key = store.create_key(tenant="t", scope="ingest")
    gate = Gate(store, clock)
    for _ in range(3):
        clock.ms += 60_000
        use(gate, key, clock)
        gate.uses.keep()
        assert [gate.refresh(), gate.refresh()] == [False, False]


def test_a_key_of_an_open_socket_counts_as_used(store: KeyStore, clock: SetClock) -> None:
    gate = Gate(store, clock)
    gate.uses.in_use = lambda: {("keys", "ab12cd34")}
    gate.uses.keep()
    assert store.uses() == {("keys", "ab12cd34"): MINUTE_MS}


def test_a_clock_that_is_set_back_makes_no_key_look_unused(store: KeyStore, clock: SetClock) -> None:
    gate = Gate(store, clock)
    for ms in (MINUTE_MS, MINUTE_MS - 3_600_000):
        gate.uses.note("keys", "ab12cd34", ms // 1000)
        gate.uses.keep()
    assert store.uses() == {("keys", "ab12cd34"): MINUTE_MS}


def test_where_they_cant_be_kept_it_is_told_once_and_tried_again(
    store: KeyStore, clock: SetClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate(store, clock)
    gate.uses.note("keys", "ab12cd34", clock.ms // 1000)
    with sqlite3.connect(tmp_path / "keys.sqlite", isolation_level=None) as other:
        other.execute("ALTER TABLE uses RENAME TO lost")
        gate.uses.keep()
        gate.uses.keep()
        other.execute("ALTER TABLE lost RENAME TO uses")
    other.close()
    assert [record.getMessage().split()[0] for record in caplog.records] == ["key_uses_not_kept"]
    gate.uses.keep()
    assert store.uses() == {("keys", "ab12cd34"): MINUTE_MS}
