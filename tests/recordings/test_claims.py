from __future__ import annotations

import asyncio

import pytest

from rrd.recordings.claims import Claims


async def test_those_who_claim_the_same_recording_take_turns() -> None:
    claims = Claims()
    inside = 0
    most = 0

    async def work() -> None:
        nonlocal inside, most
        async with claims.exclusive("t", "r"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(10)))
    assert most == 1


async def test_claims_of_different_recordings_do_not_meet() -> None:
    claims = Claims()
    async with asyncio.timeout(20):
        async with claims.exclusive("t", "a"), claims.exclusive("t", "b"), claims.exclusive("u", "a"):
            assert len(claims._locks) == 3
    assert not claims._locks


async def test_a_failure_or_a_cancelled_wait_gives_the_claim_back() -> None:
    claims = Claims()
    with pytest.raises(RuntimeError):
        await _fail_while_another_waits(claims)
    async with asyncio.timeout(5):
        await _claim(claims)
    assert not claims._locks


async def _fail_while_another_waits(claims: Claims) -> None:
    async with claims.exclusive("t", "r"):
        waiting = asyncio.create_task(_claim(claims))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        raise RuntimeError


async def _claim(claims: Claims) -> None:
    async with claims.exclusive("t", "r"):
        pass


def test_readers_share_and_are_seen_until_the_last_has_left() -> None:
    claims = Claims()
    with claims.reading("t", "r"):
        with claims.reading("t", "r"):
            pass
        assert claims.has_readers("t", "r")
        assert not claims.has_readers("u", "r")
    assert not claims.has_readers("t", "r")
