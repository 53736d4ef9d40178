"""The hub of those who follow: who is told of what, and how much is kept for them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.config import Config
from rrd.errors import ShuttingDown
from rrd.extent import Extent
from rrd.index.rows import Commit
from rrd.recordings.followers import Followers, TooManyWatchers
from rrd.segment.format import BlockDraft

_ROOM = 1000


class _Part(NamedTuple):
    data: bytes


def _draft(first_seq: int, count: int, size: int = 10) -> BlockDraft:
    return BlockDraft(first_seq, count, b"x" * size if count else b"", 1.0, 2.0, True, False, 1, 0)


def _store(hub: Followers, recording_id: str, draft: BlockDraft) -> None:
    extent = Extent(draft.first_seq, draft.event_count, 1.0, 2.0, len(draft.payload), 0, 0, 0)
    hub.indexed([Commit(1, "t", recording_id, 0, 1, 1, 0, 1, extent, ())])
    hub.keep("t", recording_id, draft)


async def test_only_those_who_follow_a_recording_are_woken() -> None:
    hub = Followers(Config())
    _store(hub, "a", _draft(1, 3))
    with hub.follow("t", "a") as one, hub.follow("t", "a") as two, hub.follow("t", "b") as other:
        assert one.limit_seq == 0
        _store(hub, "a", _draft(4, 2))
        assert one.woken.is_set()
        assert two.woken.is_set()
        assert not other.woken.is_set()
        assert one.limit_seq == 6
        block = one.recent(5)
        assert block is not None
        assert block is two.recent(4)
        assert one.recent(3) is None
        assert one.recent(6) is None
        # Metadata alone is nothing to follow.
        one.woken.clear()
        _store(hub, "a", _draft(6, 0))
        assert not one.woken.is_set()
    assert hub.recent_bytes == 0
    assert not hub._followed


async def test_many_followers_are_woken_by_turns_so_that_others_have_theirs() -> None:
    hub = Followers(Config())
    with contextlib.ExitStack() as stack:
        followers = [stack.enter_context(hub.follow("t", f"r{number % 3}")) for number in range(90)]
        for number in range(3):
            _store(hub, f"r{number}", _draft(1, 3))
        woken = []
        for _ in range(20):
            woken.append(sum(follower.woken.is_set() for follower in followers))
            await asyncio.sleep(0)
        steps = [after - before for before, after in itertools.pairwise([0, *woken])]
        assert max(steps) <= 16
        assert woken[-1] == 90


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["come", "go", "store", "made", "jump"]), st.integers(0, 2), st.integers(0, 700)
        ),
        max_size=60,
    )
)
async def test_what_is_kept_has_a_bound_and_is_never_wrong(steps: list[tuple[str, int, int]]) -> None:
    hub = Followers(Config(), recent_bytes_max=_ROOM)
    next_seq = [1, 1, 1]
    with contextlib.ExitStack() as all_stacks:
        stacks: list[tuple[contextlib.ExitStack, Any]] = []
        followers: list[list[Any]] = [[], [], []]
        for kind, recording, number in steps:
            name = "abc"[recording]
            if kind == "come":
                stack = all_stacks.enter_context(contextlib.ExitStack())
                follower = stack.enter_context(hub.follow("t", name))
                stacks.append((stack, (recording, follower)))
                followers[recording].append(follower)
            elif kind == "go" and stacks:
                stack, (theirs, follower) = stacks.pop(number % len(stacks))
                followers[theirs].remove(follower)
                stack.close()
            elif kind in {"store", "jump"}:
                # A block that only the index knew of before leaves a gap.
                next_seq[recording] += kind == "jump"
                _store(hub, name, _draft(next_seq[recording], 2, number))
                next_seq[recording] += 2
            elif kind == "made" and followers[recording]:
                block = followers[recording][0].recent(next_seq[recording] - 1)
                if block is not None:
                    hub.keep_made(block, "sse", [_Part(b"y" * number)])
            assert 0 <= hub.recent_bytes <= _ROOM
            for number_, each in enumerate(followers):
                for follower in each:
                    for seq in range(1, next_seq[number_] + 1):
                        found = follower.recent(seq)
                        assert found is None or found.draft.first_seq <= seq < found.limit_seq
        assert len(hub) == len(stacks)
    assert hub.recent_bytes == 0
    assert len(hub) == 0


async def test_a_large_block_is_not_kept() -> None:
    hub = Followers(Config())
    with hub.follow("t", "a") as follower:
        _store(hub, "a", _draft(1, 1))
        _store(hub, "a", _draft(2, 1, 1 << 20))
        assert follower.recent(1) is None
        assert follower.recent(2) is None
        assert follower.limit_seq == 3
        assert hub.recent_bytes == 0


async def test_an_end_is_told_once_and_to_all() -> None:
    hub = Followers(Config())
    with hub.follow("t", "a") as one, hub.follow("t", "b") as other:
        called: list[str] = []
        one.on_end = lambda: called.append("one")
        hub.end("t", "a", "erased")
        assert (one.end, other.end) == ("erased", None)
        hub.stop()
        assert (one.end, other.end) == ("erased", "shutdown")
        assert called == ["one"]
    with pytest.raises(ShuttingDown), hub.follow("t", "a"):
        pass


async def test_a_place_that_is_refused_is_not_counted() -> None:
    hub = Followers(Config(recording_watchers_max=1, tenant_watchers_max=0, watchers_max=2))
    with hub.follow("t", "a"):
        with pytest.raises(TooManyWatchers), hub.follow("t", "a"):
            pass
        with hub.follow("t", "b"):
            with pytest.raises(TooManyWatchers), hub.follow("u", "c"):
                pass
            assert len(hub) == 2
    assert len(hub) == 0
