from __future__ import annotations

import asyncio
import contextlib
import errno
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from rrd.config import Config
from rrd.errors import DiskFull, Gone, NotFound, ObjectMissing, RefusedError, StoreAway
from rrd.lifecycle.holds import Holds
from rrd.lifecycle.removal import Receipt
from rrd.lifecycle.rounds import Retention
from rrd.recordings.source import Source
from rrd.wire.metadata import Metadata
from tests.harness import until
from tests.lifecycle.removal_lab import METADATA, RemovalLab, lab, prepared, said
from tests.rollup.rollup_lab import DATA, TENANT, A, B, C, D, check_batch, event, settings
from tests.sources import close_source, open_source

pytestmark = pytest.mark.table

DAY_S = 86_400


async def rolled_up(life: RemovalLab, *recordings: str, count: int = 3) -> None:
    await life.fill(*recordings, count=count)
    await life.rollup.drain()


async def put(source: Source, line: bytes) -> None:
    source.put(check_batch(line))
    await source.flush()


async def tell_late(life: RemovalLab) -> None:
    """What the daemon does every few seconds."""
    for key, lines in life.registry.take_late_lines().items():
        await asyncio.to_thread(life.tombstones.count_late, *key, lines)


async def test_a_receipt_tells_what_the_index_and_the_store_had(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        await rolled_up(life, A, B)
        await life.send(A, [event(600), event(601)])
        row = await life.row(A)
        stored = sum(each.size for each in row.objects) + sum(each.size for each in row.segments)
        before = await life.index.statistics(TENANT, month_start_ms=0)
        receipt = await life.remover.erase(TENANT, A)
        after = await life.index.statistics(TENANT, month_start_ms=0)
        assert receipt == Receipt(recordings=1, events=5, bytes=stored, objects=1, pending=0)
        assert before.storage_bytes - after.storage_bytes == stored
        life.forget_acked()
        await life.check(rolled_up=False)


async def test_what_is_not_there_cannot_be_erased_once_or_twice(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        with pytest.raises(NotFound):
            await life.remover.erase(TENANT, A)
        await life.fill(A)
        with pytest.raises(NotFound):
            await life.remover.erase("other", A)
        await life.remover.erase(TENANT, A)
        with pytest.raises(NotFound):
            await life.remover.erase(TENANT, A)
        assert await life.find_traces() == []


async def test_a_recording_of_quarantined_lines_alone_can_be_erased(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        await life.send(A, [b"no json"])
        assert not (await life.row(A)).visible
        assert (await life.remover.erase(TENANT, A))[:2] == (1, 0)
        assert await life.find_traces() == []


async def test_senders_of_an_erased_recording_are_told_and_bring_nothing_back(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        sources = [await open_source(life.registry, TENANT, A) for _ in range(3)]
        await put(sources[0], said(1))
        told: list[int] = []

        async def go_on_sending(number: int, source: Source) -> None:
            with contextlib.suppress(Gone):
                for count in range(10_000):
                    source.put(check_batch(said(10_000 * number + count)))
                    await asyncio.sleep(0)
                    if count % 20 == 0:
                        await source.flush()
                pytest.fail("it was never told")
            told.append(number)

        sending = [asyncio.create_task(go_on_sending(*each)) for each in enumerate(sources)]
        await asyncio.sleep(0.05)
        await life.remover.erase(TENANT, A)
        await asyncio.gather(*sending)
        assert sorted(told) == [0, 1, 2]
        with pytest.raises(Gone):
            await open_source(life.registry, TENANT, A, lines=5)
        for source in sources:
            await close_source(source)
        await life.rest()
        await life.rollup.drain()
        assert await life.find_traces() == []
        await tell_late(life)
        stone = life.tombstones.erased(TENANT, A)
        assert stone is not None
        # Five at the door, and of each sender the one line at which it was told, at least where it put it.
        assert 5 <= stone.late_lines <= 8


async def test_blocks_that_the_index_would_not_take_do_not_bring_it_back(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        await life.send(A, [said(1)])
        source = await open_source(life.registry, TENANT, A)
        # A full disk, as SQLite sees it.
        await life.index._db.writer.execute("PRAGMA max_page_count = 1")
        source.put_metadata(Metadata({f"key{number}": "x" * 4000 for number in range(20)}))
        with pytest.raises(DiskFull):
            await source.flush()
        await life.index._db.writer.execute("PRAGMA max_page_count = 1000000")
        await close_source(source)
        await life.remover.erase(TENANT, A)
        await life.send(B, [event(1)])
        assert await life.find_traces() == []


async def test_a_removal_waits_for_an_object_that_is_on_its_way(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        await life.fill(A)
        life.store.hang("put")
        rolling = asyncio.create_task(life.rollup.drain())
        await until(lambda: life.store.waiting, what="the store to be asked")
        erasing = asyncio.create_task(life.remover.erase(TENANT, A))
        await until(lambda: life.tombstones.lives(TENANT, A), what="the removal to begin")
        # Nothing more is taken at once, though it can't go yet.
        with pytest.raises(Gone):
            await open_source(life.registry, TENANT, A)
        life.store.heal()
        receipt = await erasing
        await asyncio.gather(rolling, return_exceptions=True)
        assert receipt.objects == 1
        assert await life.find_traces() == []


async def test_while_the_store_is_away_the_rest_goes_at_once(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        await rolled_up(life, A, B)
        key = next(key for key in life.store.objects if A in key)
        assert await asyncio.to_thread(life.files.read, key, 0, 4)
        life.store.fail("delete_prefix")
        receipt = await life.remover.erase(TENANT, A)
        assert (receipt.recordings, receipt.events, receipt.objects, receipt.pending) == (1, 3, 0, 1)
        assert (await life.remover.erase(TENANT, B)).pending == 1
        # Who has just been told that it is away need not be asked for each recording.
        assert life.store.calls["delete_prefix"] == 1
        for recording_id in (A, B):
            assert await life.index.recording(TENANT, recording_id) is None
            assert all(recording_id in trace for trace in await life.find_traces(recording_id))
            with pytest.raises(Gone):
                await open_source(life.registry, TENANT, recording_id)
        # Asked for again, it is tried again, and what had gone is not told twice.
        assert await life.remover.erase(TENANT, A) == Receipt(pending=1)
        assert await life.remover.finish() == 2
        life.store.heal()
        assert await life.remover.finish() == 0
        assert life.store.objects == {}
        with pytest.raises(ObjectMissing):
            await asyncio.to_thread(life.files.read, key, 0, 4)
        with pytest.raises(NotFound):
            await life.remover.erase(TENANT, A)


async def test_what_is_pending_goes_by_itself_when_the_store_is_back(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        await rolled_up(life, A)
        life.store.fail("delete_prefix", times=2)
        running = asyncio.create_task(life.remover.run())
        await life.remover.erase(TENANT, A)
        await until(lambda: not life.tombstones.pending(), what="the removal to be done")
        assert life.store.objects == {}
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_an_expired_recording_begins_anew_and_keeps_what_is_new(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        await rolled_up(life, A)
        life.store.fail("delete_prefix")
        life.clock.seconds += 2 * DAY_S
        assert (await life.remove("expired")).pending == 1
        life.forget_acked()
        await life.fill(A, count=2)
        await life.rollup.drain()
        assert (await life.row(A)).next_seq == 3
        life.store.heal()
        assert await life.remover.finish() == 0
        await life.check(rolled_up=True)
        first, *rest = life.tombstones.lives(TENANT, A)
        assert (first.reason, first.state, rest) == ("expired", "done", [])


async def test_a_new_life_never_shares_a_prefix_with_one_that_is_still_to_go(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        await rolled_up(life, A)
        life.store.fail("delete_prefix")
        life.clock.seconds += 3600
        await life.remove("expired")
        life.forget_acked()
        with pytest.raises(StoreAway):
            await open_source(life.registry, TENANT, A)
        life.store.heal()
        await life.remover.finish()
        await life.fill(A, count=2)
        await life.rollup.drain()
        await life.check(rolled_up=True)


async def test_what_was_written_to_in_the_meantime_does_not_expire(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        await life.fill(A)
        seen = (await life.row(A)).extent.stored_ms
        source = await open_source(life.registry, TENANT, A)
        await put(source, event(500))
        life.acked[A].append(event(500))
        with pytest.raises(NotFound):
            await life.remover.expire(TENANT, A, last_stored_ms=seen)
        # Its sender has not noticed.
        await put(source, event(501))
        life.acked[A].append(event(501))
        await close_source(source)
        assert life.tombstones.lives(TENANT, A) == []
        await life.check(rolled_up=False)


async def test_what_expired_can_be_erased_when_it_has_begun_anew(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        await rolled_up(life, A)
        life.store.fail("delete_prefix")
        life.clock.seconds += 2 * DAY_S
        await life.remove("expired")
        await rolled_up(life, A)
        assert (await life.remover.erase(TENANT, A)).pending == 1
        with pytest.raises(Gone):
            await open_source(life.registry, TENANT, A)
        life.store.heal()
        assert await life.remover.finish() == 0
        assert await life.find_traces() == []
        assert [stone.reason for stone in life.tombstones.lives(TENANT, A)] == ["expired", "erased"]


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES])
async def test_a_file_that_cannot_be_removed_is_tried_again(tmp_path: Path, code: int) -> None:
    async with lab(tmp_path) as life:
        await life.fill(A, B)
        life.disk.fail_at(life.disk.operations, code)
        with pytest.raises(OSError, match=r"\[Errno"):
            await life.remove("expired")
        # Neither old nor new: what comes now would be taken for what is still to go.
        with pytest.raises(RefusedError):
            await open_source(life.registry, TENANT, A)
        assert await life.remover.finish() == 0
        assert await life.find_traces() == []
        life.forget_acked()
        await life.fill(A, count=2)
        await life.check(rolled_up=False)


async def test_a_caller_who_goes_away_does_not_stop_what_was_begun(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        await rolled_up(life, A)
        life.store.hang("delete_prefix")
        erasing = asyncio.create_task(life.remover.erase(TENANT, A))
        await until(lambda: life.store.waiting, what="the store to be asked")
        erasing.cancel()
        await asyncio.gather(erasing, return_exceptions=True)
        life.store.heal()
        assert await life.remover.finish() == 0
        assert await life.find_traces() == []


async def test_two_who_erase_the_same_count_it_once(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        await rolled_up(life, A)
        receipts = await asyncio.gather(*(life.remover.erase(TENANT, A) for _ in range(3)))
        assert sorted(receipt.recordings for receipt in receipts) == [0, 0, 1]
        assert sum(receipt.objects for receipt in receipts) == 1
        assert await life.find_traces() == []


@pytest.mark.parametrize(("reason", "stays"), [("erased", False), ("expired", True)])
async def test_an_erasure_takes_old_copies_of_the_index_along(
    tmp_path: Path, reason: str, stays: bool
) -> None:
    async with lab(tmp_path) as life:
        await life.fill(A)
        for name in ("index.sqlite.damaged-1795400000000", "index.sqlite.damaged-1795400000000-wal"):
            life.disk.put(f"{DATA}/{name}", b"everybody's metadata")
        life.disk.put(f"{DATA}/index.sqlite.rebuilding", b"")
        await life.remove("erased" if reason == "erased" else "expired")
        names = life.disk.list_dir(DATA)
        assert any("damaged" in name for name in names) is stays
        assert "index.sqlite.rebuilding" in names


# Many at once


async def test_all_that_match_are_erased_and_nothing_else(tmp_path: Path) -> None:
    other = b'{"type":5,"timestamp":1,"data":{"tag":"recording-meta","payload":{"mail":"else","k":"1"}}}'
    async with lab(tmp_path) as life:
        for recording_id in (A, B):
            await life.note(recording_id, METADATA)
        await life.note(C, other)
        await rolled_up(life, A, B, C, D)
        mail = METADATA.split(b'"')[-2].decode()
        receipt = await life.remover.erase_matching(TENANT, [("mail", mail)])
        assert (receipt.recordings, receipt.events, receipt.objects) == (2, 6, 2)
        for recording_id in (A, B):
            life.forget_acked(recording_id)
            assert await life.find_traces(recording_id) == []
        await life.check(rolled_up=True)
        for filters in ([("mail", mail)], [("mail", "else"), ("k", "2")], [("nobody", "x")]):
            assert await life.remover.erase_matching(TENANT, filters) == Receipt()
        assert await life.remover.erase_matching("other", [("k", "1")]) == Receipt()
        assert (await life.remover.erase_matching(TENANT, [("mail", "else"), ("k", "1")])).recordings == 1


async def test_more_than_a_page_of_matches_is_erased_to_the_last(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        names = [f"00000000-0000-4000-9000-{number:012d}" for number in range(130)]
        await asyncio.gather(*(life.note(name, METADATA) for name in names))
        mail = METADATA.split(b'"')[-2].decode()
        receipt = await life.remover.erase_matching(TENANT, [("mail", mail)])
        assert receipt[:2] == (130, 0)
        assert life.disk.list_dir(f"{DATA}/active") == []
        with contextlib.closing(sqlite3.connect(life.index.path)) as index:
            assert index.execute("SELECT count(*) FROM recording").fetchone() == (0,)


# Retention


def retention_of(life: RemovalLab, tmp_path: Path, **values: Any) -> Retention:
    """One that asks no person, however much goes."""
    config = settings(retention_hold_percent=100, **values)
    holds = Holds(Config(data_dir=str(tmp_path)))
    return Retention(config, life.index, life.remover, life.clock, holds, life.tombstones)


async def test_a_round_of_retention_removes_what_is_too_old_and_spares_the_rest(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        await rolled_up(life, A, B)
        life.clock.seconds += 3600
        await life.fill(C, count=2)
        life.clock.seconds += 24 * 3600
        await life.send(B, [event(900)])
        retention = retention_of(life, tmp_path, retention_age="25h")
        assert await retention.round() == 1
        assert await life.find_traces(A) == []
        life.forget_acked()
        await life.check(rolled_up=False)
        assert await retention.round() == 0
        # It was told to go, not to stay away.
        await life.fill(A, count=1)
        assert life.tombstones.erased(TENANT, A) is None
        await life.check(rolled_up=False)


async def test_retention_by_bytes_takes_the_oldest_until_the_rest_fits(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        for recording_id in (A, B, C, D):
            await rolled_up(life, recording_id, count=6)
        life.clock.seconds += 3600
        (tenant,) = await life.index.tenants()
        most = (f"{TENANT}={tenant.storage_bytes * 6 // 10}",)
        assert await retention_of(life, tmp_path, retention_bytes_max_of_tenant=most).round() == 2
        for recording_id in (A, B):
            life.forget_acked(recording_id)
        await life.check(rolled_up=True)
        (tenant,) = await life.index.tenants()
        assert tenant.recordings == 2


async def test_one_that_cannot_be_removed_does_not_keep_the_others(tmp_path: Path) -> None:
    async with lab(tmp_path) as life:
        await life.fill(A, B)
        retention = retention_of(life, tmp_path, retention_age="24h")
        for _ in range(24):
            assert await retention.round() == 0
            life.clock.seconds += 3600
        life.disk.fail_at(life.disk.operations, errno.EIO)
        assert await retention.round() == 1
        assert await life.index.recording(TENANT, B) is None
        assert await life.remover.finish() == 0
        assert await life.find_traces(A) == []


async def test_the_prepared_world_is_whole(tmp_path: Path) -> None:
    remains = await prepared(tmp_path)
    async with lab(tmp_path, None, remains) as life:
        await life.check(rolled_up=False)
