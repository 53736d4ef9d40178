"""What sockets hold that opened in a crowd isn't walked while they open, and their cycles go in the end."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rrd.http.garbage import ENDED_MIN, FEW, FEW_INTERVAL_S, Garbage
from tests.harness import running, until
from tests.http.api import visiting
from tests.http.raw_client import Refused
from tests.samples import new_id


class Cycle:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def garbage() -> Iterator[Garbage]:
    gc.collect()
    garbage = Garbage()
    garbage.is_on = True
    yield garbage
    gc.unfreeze()


def test_what_is_there_in_a_crowd_is_put_aside(garbage: Garbage) -> None:
    before = gc.get_freeze_count()
    garbage.crowded()
    assert gc.get_freeze_count() > before


def test_without_a_daemon_of_its_own_nothing_is_put_aside() -> None:
    before = gc.get_freeze_count()
    Garbage().crowded()
    assert gc.get_freeze_count() == before


def test_a_cycle_that_was_put_aside_goes_once_many_sockets_have_ended(garbage: Garbage) -> None:
    gone = weakref.ref(Cycle())
    garbage.crowded()
    gc.collect()
    assert gone() is not None
    for _ in range(ENDED_MIN + FEW):
        assert not garbage.is_due(FEW)
        garbage.socket_ended()
    assert garbage.is_due(FEW)
    assert not garbage.is_due(FEW + 1), "one more is open"
    garbage.collect()
    assert gone() is None
    assert not garbage.is_due(FEW)


def test_with_few_sockets_open_a_single_one_that_ended_is_looked_for_in_time(garbage: Garbage) -> None:
    garbage.crowded()
    for _ in range(FEW_INTERVAL_S):
        assert not garbage.is_due(0)
    garbage.socket_ended()
    assert garbage.is_due(FEW - 1)
    assert not garbage.is_due(FEW)
    garbage.collect()
    garbage.socket_ended()
    assert [garbage.is_due(0) for _ in range(FEW_INTERVAL_S)].index(True) == FEW_INTERVAL_S - 1


def test_a_crowd_puts_it_off_but_not_for_ever(garbage: Garbage) -> None:
    garbage.crowded()
    for _ in range(2 * (ENDED_MIN + FEW)):
        garbage.crowded()
        assert not garbage.is_due(FEW)
        garbage.socket_ended()
    assert garbage.is_due(FEW)


def test_sockets_that_ended_before_any_crowd_do_not_count(garbage: Garbage) -> None:
    for _ in range(2 * ENDED_MIN):
        garbage.socket_ended()
    assert not garbage.is_due(0)
    garbage.crowded()
    assert not garbage.is_due(0)


async def test_the_task_collects_when_it_is_due(garbage: Garbage) -> None:
    gone = weakref.ref(Cycle())
    garbage.crowded()
    for _ in range(2 * ENDED_MIN):
        garbage.socket_ended()
    task = asyncio.create_task(garbage.collect_in_time([]))
    await until(lambda: gone() is None, what="the cycle to go")
    task.cancel()


@pytest.mark.parametrize(
    ("settings", "how"),
    [({"sockets_max": 1}, {}), ({}, {"contentType": "text/none"})],
    ids=["no place", "a bad parameter"],
)
async def test_sockets_that_are_refused_after_they_waited_count_as_ended(
    tmp_path: Path, garbage: Garbage, settings: dict[str, Any], how: dict[str, Any]
) -> None:
    async with running(tmp_path, **settings) as daemon, visiting(daemon) as api:
        first = await api.socket(new_id())
        daemon.services.garbage = garbage
        garbage.crowded()
        garbage.is_due(FEW)
        for _ in range(ENDED_MIN + FEW - 1):
            garbage.socket_ended()
        assert not garbage.is_due(FEW)
        with pytest.raises(Refused):
            await api.socket(new_id(), **how)
        await until(lambda: garbage.is_due(FEW), what="the refused one to count")
        await first.finish()
