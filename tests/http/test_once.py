"""An event that is set once: who waits before, and who comes after."""

from __future__ import annotations

import asyncio

import pytest

from rrd.http.once import Once


async def test_all_who_wait_go_on_once_it_is_set_and_whoever_comes_later_does_not_wait() -> None:
    once = Once()
    waiting = [asyncio.create_task(once.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not once.is_set()
    assert not any(task.done() for task in waiting)
    once.set()
    once.set()
    await asyncio.gather(*waiting)
    assert once.is_set()
    await once.wait()


async def test_one_who_gives_up_leaves_the_others_waiting() -> None:
    once = Once()
    impatient, patient = (asyncio.create_task(once.wait()) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    once.set()
    await patient
