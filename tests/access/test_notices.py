"""Keys that are about to expire are told of: in sentences, and in the log once a day."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rrd.access.gate import Gate
from rrd.access.keys import KeyStore
from rrd.access.lifetime import DAY_MS
from rrd.access.notices import Notices, notices
from tests.access.test_keys import NOVEMBER_MS, SetClock


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def store(tmp_path: Path, clock: SetClock) -> Iterator[KeyStore]:
    with KeyStore(str(tmp_path / "keys.sqlite"), clock=clock) as store:
        yield store


def test_a_notice_says_what_happens_and_what_to_do(store: KeyStore, clock: SetClock) -> None:
    soon = NOVEMBER_MS + 3 * DAY_MS
    key_id, key = store.create_key(tenant="acme", scope="ingest", label="shop", expires_ms=soon)
    store.create_key(tenant="acme", scope="ingest", expires_ms=NOVEMBER_MS + 300 * DAY_MS)
    store.create_signing_key(tenant="acme", key_id="web", expires_ms=soon + DAY_MS)
    told = [(notice.sentence(), notice.next_step) for notice in Gate(store, clock).notices()]
    assert told == [
        (
            f"Key {key_id} (tenant acme, 'shop') expires at 2026-11-26T02:13:20Z",
            f"rrd keys rotate {key_id}, or edit its --expires",
        ),
        (
            "Signing key web (tenant acme) expires at 2026-11-27T02:13:20Z",
            "rrd signing-keys rotate web, or edit its --expires",
        ),
    ]
    assert key not in str(told)
    assert [notice.days for notice in notices(store.load(), clock.ms)] == [3, 4]


def test_the_log_tells_once_a_day(store: KeyStore, clock: SetClock, caplog: pytest.LogCaptureFixture) -> None:
    key_id, _ = store.create_key(tenant="acme", scope="ingest", expires_ms=NOVEMBER_MS + 2 * DAY_MS)
    noticing = Notices(clock)
    counts = []
    for _ in range(6):
        noticing.tell_in_time(store.load())
        counts.append(len(caplog.records))
        clock.ms += DAY_MS // 2
    # On the third day it has expired.
    assert counts == [1, 1, 2, 2, 2, 2]
    assert f"key={key_id}" in caplog.records[0].getMessage()
