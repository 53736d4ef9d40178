from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rrd.errors import RrdError
from rrd.tombstones import Reason, Tombstone, Tombstones

A, B = "0b9f6a1e-52f7-4b8e-9d57-00000000000a", "0b9f6a1e-52f7-4b8e-9d57-00000000000b"
BEGAN_MS = 1_795_400_000_000


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "data" / "tombstones.sqlite")


@pytest.fixture
def stones(path: str) -> Iterator[Tombstones]:
    with Tombstones(path) as stones:
        yield stones


def bury(
    stones: Tombstones,
    reason: Reason = "erased",
    *,
    recording_id: str = A,
    created_ms: int = BEGAN_MS,
    at_ms: int = BEGAN_MS + 1000,
) -> Tombstone:
    return stones.bury(
        "acme", recording_id, created_ms=created_ms, reason=reason, at_ms=at_ms, events=7, size=70, objects=1
    )


def end(stones: Tombstones, stone: Tombstone) -> None:
    stones.done(stone, events=stone.events, size=stone.size, objects=stone.objects)


def test_a_tombstone_outlives_the_process_that_laid_it(path: str) -> None:
    with Tombstones(path) as stones:
        laid = bury(stones)
    assert laid == Tombstone("acme", A, BEGAN_MS, "erased", "begun", BEGAN_MS + 1000, 7, 70, 1, 0)
    with Tombstones(path) as stones:
        assert stones.get("acme", A) == laid
        assert stones.pending() == [laid]


def test_an_erased_recording_stays_out_and_an_expired_one_does_not(stones: Tombstones) -> None:
    erased, expired = bury(stones), bury(stones, "expired", recording_id=B)
    for state in ("begun", "done"):
        found = stones.erased("acme", A)
        assert found is not None
        assert found.state == state
        assert stones.erased("acme", B) is None
        assert stones.erased("other", A) is None
        end(stones, erased)
        end(stones, expired)
    # What is asked by whoever tells a recording's story.
    told = stones.get("acme", B)
    assert told is not None
    assert (told.reason, told.state) == ("expired", "done")


def test_many_are_looked_up_at_once(stones: Tombstones) -> None:
    bury(stones), bury(stones, "expired", recording_id=B)
    names = [("acme", A), ("other", A), ("acme", B), ("acme", "c"), ("acme", A)]
    assert stones.lives_of(names) == {("acme", each): stones.lives("acme", each) for each in (A, B)}
    assert stones.lives_of([]) == {}


def test_erased_beats_expired_and_is_never_lowered(stones: Tombstones) -> None:
    bury(stones, "expired")
    assert bury(stones, "erased").reason == "erased"
    assert bury(stones, "expired").reason == "erased"
    assert len(stones.lives("acme", A)) == 1


def test_burying_again_begins_the_removal_again_and_keeps_the_counts(stones: Tombstones) -> None:
    stone = bury(stones)
    stones.count_late("acme", A, 3)
    end(stones, stone)
    again = stones.bury("acme", A, created_ms=BEGAN_MS, reason="erased", at_ms=BEGAN_MS + 5)
    assert (again.state, again.events, again.size, again.late_lines) == ("begun", 7, 70, 3)
    assert stones.pending() == [again]


def test_a_tombstone_goes_from_begun_to_gone_here_to_done_and_not_back(stones: Tombstones) -> None:
    stone = bury(stones)
    stones.gone_here(stone, events=8, size=80)
    (found,) = stones.pending()
    assert (found.state, found.events, found.size) == ("gone_here", 8, 80)
    stones.done(stone, events=8, size=80, objects=2)
    stones.gone_here(stone, events=0, size=0)
    assert stones.pending() == []
    assert stones.get("acme", A) == found._replace(state="done", objects=2)


def test_each_life_of_a_recording_has_its_own_tombstone(stones: Tombstones) -> None:
    first = bury(stones, "expired")
    second = bury(stones, "expired", created_ms=BEGAN_MS + 100)
    assert stones.lives("acme", A) == [first, second]
    assert stones.get("acme", A) == second
    end(stones, second)
    assert stones.pending() == [first]
    # What one expired life left behind must not be here; what a third one stores may.
    assert stones.covers("acme", A, BEGAN_MS)
    assert not stones.covers("acme", A, BEGAN_MS + 200)
    bury(stones, "erased", created_ms=BEGAN_MS + 100)
    assert stones.covers("acme", A, BEGAN_MS + 200)
    assert not stones.covers("acme", B, BEGAN_MS)


def test_pending_ones_come_in_the_order_in_which_they_were_begun(stones: Tombstones) -> None:
    late = bury(stones, recording_id=A, at_ms=9)
    early = bury(stones, recording_id=B, at_ms=8)
    assert stones.pending() == [early, late]


def test_late_lines_are_counted_on_what_keeps_them_out(stones: Tombstones) -> None:
    bury(stones, "expired")
    stones.count_late("acme", A, 2)
    bury(stones, "erased", created_ms=BEGAN_MS + 100)
    stones.count_late("acme", A, 3)
    stones.count_late("acme", A, 4)
    stones.count_late("acme", B, 5)
    assert [stone.late_lines for stone in stones.lives("acme", A)] == [0, 7]
    assert stones.lives("acme", B) == []


def test_only_what_is_done_and_old_is_forgotten(stones: Tombstones) -> None:
    old, young, unfinished = (
        bury(stones, recording_id=f"{A}{number}", at_ms=at_ms) for number, at_ms in enumerate((10, 20, 10))
    )
    end(stones, old)
    end(stones, young)
    assert stones.forget(20) == 1
    assert stones.get("acme", old.recording_id) is None
    assert stones.get("acme", young.recording_id) is not None
    assert stones.pending() == [unfinished]


def test_a_write_that_is_being_synced_keeps_nobody_from_asking(path: str, stones: Tombstones) -> None:
    bury(stones)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("UPDATE tombstones SET events = 0")
    found = stones.erased("acme", A)
    other.execute("ROLLBACK")
    other.close()
    assert found is not None
    assert found.events == 7


def test_the_file_may_be_used_from_many_threads_and_made_by_several_at_once(path: str) -> None:
    together = threading.Barrier(4)

    def work(number: int) -> None:
        together.wait()
        with Tombstones(path) as stones:
            for count in range(20):
                bury(stones, recording_id=f"{A}-{number}-{count}")
                assert stones.erased("acme", f"{A}-{number}-{count}") is not None

    with ThreadPoolExecutor(4) as pool:
        for task in [pool.submit(work, number) for number in range(4)]:
            task.result()
    with Tombstones(path) as stones:
        assert len(stones.pending()) == 80


def test_the_file_is_its_owners_alone(path: str, stones: Tombstones) -> None:
    bury(stones)
    for name in ("", "-wal", "-shm"):
        assert stat.S_IMODE(Path(path + name).stat().st_mode) == 0o600


def test_a_file_that_is_no_database_is_refused_by_name_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "tombstones.sqlite"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(RrdError, match=r"tombstones\.sqlite: .*backup"):
        Tombstones(str(path))
    assert path.read_bytes() == b"this is no database" * 100


def test_a_file_of_a_newer_rrd_is_refused(path: str) -> None:
    with Tombstones(path) as stones:
        bury(stones)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(RrdError, match="newer rrd"):
        Tombstones(path)


def test_a_failed_write_changes_nothing(path: str, stones: Tombstones) -> None:
    stone = bury(stones)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("CREATE TRIGGER no BEFORE UPDATE ON tombstones BEGIN SELECT RAISE(FAIL, 'no'); END")
    with pytest.raises(RrdError, match="no"):
        end(stones, stone)
    other.execute("DROP TRIGGER no")
    other.close()
    assert stones.pending() == [stone]
    end(stones, stone)
    assert stones.pending() == []
