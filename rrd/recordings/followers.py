"""Who follows recordings as they grow: told of each block once it is synced and in the index.

A follower is told that there is more, and reads it as any reader does. So one that is slow costs no memory,
it only falls behind. The newest blocks of recordings that are followed are kept for a moment, all together
within ``RECENT_BYTES_MAX``, since all followers of one want the same and want it now.

Nothing here holds a recording open or keeps its files: it may be sealed, rolled up, evicted and opened anew
while it is followed. All on one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Protocol

from rrd import metrics
from rrd.config import Config
from rrd.errors import RefusedError, ShuttingDown
from rrd.index.rows import Commit
from rrd.segment.format import BlockDraft

RECENT_BYTES_MAX = 8 << 20
"""What the newest blocks take, and what was made of them, of all recordings together."""

_WOKEN_IN_A_TURN = 16
"""Followers that are woken in one turn of the event loop: each takes some 50 µs to send what is new."""

_BLOCK_BYTES_MAX = 128 << 10
"""A larger block is not kept: each follower reads it from the disk."""

EndReason = Literal["erased", "shutdown"]
"""Why there is nothing more to follow, told from outside."""

_Key = tuple[str, str]


class TooManyWatchers(RefusedError):
    """A recording, a tenant or the daemon has as many followers as it may have."""

    code = "too_many_watchers"
    retry_after_s = 10


class Made(Protocol):
    """What is made of some events of a block."""

    @property
    def data(self) -> bytes: ...


class RecentBlock:
    """A block that was stored just now."""

    __slots__ = ("draft", "is_kept", "made")

    def __init__(self, draft: BlockDraft) -> None:
        self.draft = draft
        self.is_kept = True
        """It still counts; what is made of it may be kept with it."""
        self.made: dict[str, list[Made]] = {}
        """What followers have made of it, by the name of its form."""

    @property
    def limit_seq(self) -> int:
        """sequenceId after its last event."""
        return self.draft.first_seq + self.draft.event_count

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return len(self.draft.payload) + sum(map(_size_of, self.made.values()))


class Follower:
    """One that follows one recording. Use ``Followers.follow``."""

    def __init__(self, followed: _Followed) -> None:
        self._followed = followed
        self.woken = asyncio.Event()
        """Set when there is more, when it is over, or to have it look at its own state; it clears it."""
        self.end: EndReason | None = None
        self.on_end: Callable[[], None] = lambda: None
        """Called once when ``end`` is set, for what must happen at once."""
        self.on_keys: Callable[[], None] = lambda: None
        """Called when keys have changed."""

    @property
    def limit_seq(self) -> int:
        """sequenceId after the last event that was stored since it follows; 0 if none was."""
        return self._followed.limit_seq

    def recent(self, next_seq: int) -> RecentBlock | None:
        """Return the block with event ``next_seq``; None if that is not kept."""
        for block in self._followed.blocks:
            if block.limit_seq > next_seq:
                return block if block.is_kept and block.draft.first_seq <= next_seq else None
        return None

    def end_with(self, reason: EndReason) -> None:
        """Let it know that it is over."""
        if self.end is None:
            self.end = reason
            self.woken.set()
            self.on_end()


class _Followed:
    """One recording that is followed."""

    __slots__ = ("blocks", "followers", "limit_seq")

    def __init__(self) -> None:
        self.followers: dict[Follower, None] = {}
        self.limit_seq = 0
        self.blocks: deque[RecentBlock] = deque()
        """The newest ones, without a gap between them."""


class Followers:
    """All followers of all recordings."""

    def __init__(self, config: Config, *, recent_bytes_max: int = RECENT_BYTES_MAX) -> None:
        self._config = config
        self._recent_bytes_max = recent_bytes_max
        self._followed: dict[_Key, _Followed] = {}
        self._of_tenant: Counter[str] = Counter()
        self._recent: deque[RecentBlock] = deque()
        """Kept blocks of all recordings, the oldest first; some of them may be let go already."""
        self.recent_bytes = 0
        self._to_wake: dict[Follower, None] = {}
        """Those that are to be woken, the first one first."""
        self._stopped = False
        self.on_follow: Callable[[], None] = lambda: None
        """Called when a recording has its first follower."""

    def __len__(self) -> int:
        return self._of_tenant.total()

    def reconfigure(self, config: Config) -> None:
        """Take new settings: they count for the next to come. No follower is sent away."""
        self._config = config

    def has_any(self) -> bool:
        """Tell whether any recording is followed."""
        return bool(self._followed)

    def has(self, tenant: str, recording_id: str) -> bool:
        """Tell whether a recording is followed."""
        return bool(self._followed) and (tenant, recording_id) in self._followed

    @contextlib.contextmanager
    def follow(self, tenant: str, recording_id: str) -> Iterator[Follower]:
        """Follow a recording until the block ends. Look for what is stored already *after* this.

        Raises ``TooManyWatchers``, and ``ShuttingDown``.
        """
        key = (tenant, recording_id)
        self._check_places(key)
        followed = self._followed.setdefault(key, _Followed())
        follower = Follower(followed)
        followed.followers[follower] = None
        self._of_tenant[tenant] += 1
        metrics.WATCHERS_OPEN.add(1)
        if len(followed.followers) == 1:
            self.on_follow()
        try:
            yield follower
        finally:
            metrics.WATCHERS_OPEN.add(-1)
            self._of_tenant[tenant] -= 1
            if not self._of_tenant[tenant]:
                del self._of_tenant[tenant]
            del followed.followers[follower]
            if not followed.followers and self._followed.get(key) is followed:
                del self._followed[key]
                self._let_go(followed)

    def _check_places(self, key: _Key) -> None:
        if self._stopped:
            raise ShuttingDown("the daemon is stopping; try again in a moment")
        config = self._config
        followed = self._followed.get(key)
        if followed is not None and len(followed.followers) >= config.recording_watchers_max:
            raise TooManyWatchers(f"{config.recording_watchers_max} watch this recording; try again later")
        if self._of_tenant[key[0]] >= min(config.tenant_watchers_max or len(self) + 1, config.watchers_max):
            raise TooManyWatchers("this tenant's share of the watchers is in use; try again later")
        if len(self) >= config.watchers_max:
            raise TooManyWatchers(f"{config.watchers_max} are watching; try again later")

    @property
    def is_any_followed(self) -> bool:
        """Whether any recording is followed."""
        return bool(self._followed)

    def indexed(self, commits: Sequence[Commit]) -> None:
        """Blocks are where readers find them: wake those who follow their recordings."""
        if not self._followed:
            return
        for commit in commits:
            followed = self._followed.get((commit.tenant, commit.recording_id))
            if followed is not None and commit.extent.event_count:
                followed.limit_seq = max(followed.limit_seq, commit.extent.limit_seq)
                is_waking = bool(self._to_wake)
                self._to_wake.update(followed.followers)
                if not is_waking:
                    self._wake_some()

    def _wake_some(self) -> None:
        """Wake a few now, and others in the next turn: those who write have their turns in between."""
        for follower in list(itertools.islice(self._to_wake, _WOKEN_IN_A_TURN)):
            del self._to_wake[follower]
            follower.woken.set()
        if self._to_wake:
            asyncio.get_running_loop().call_soon(self._wake_some)

    def keep(self, tenant: str, recording_id: str, draft: BlockDraft) -> None:
        """Keep a block that was just ``indexed`` for a moment, if its recording is followed."""
        followed = self._followed.get((tenant, recording_id))
        if followed is None or not draft.event_count:
            return
        if followed.blocks and followed.blocks[-1].limit_seq != draft.first_seq:
            self._let_go(followed)
        if len(draft.payload) > _BLOCK_BYTES_MAX:
            self._let_go(followed)
            return
        block = RecentBlock(draft)
        followed.blocks.append(block)
        self._recent.append(block)
        self.recent_bytes += block.size
        self._make_room()
        # What is no longer kept stands first, since the oldest go first.
        while followed.blocks and not followed.blocks[0].is_kept:
            followed.blocks.popleft()

    def keep_made(self, block: RecentBlock, form: str, parts: list[Made]) -> None:
        """Keep what was made of a block for its other followers."""
        if block.is_kept and form not in block.made:
            block.made[form] = parts
            self.recent_bytes += _size_of(parts)
            self._make_room()

    def end(self, tenant: str, recording_id: str, reason: EndReason) -> None:
        """Let all who follow a recording know that it is over."""
        followed = self._followed.get((tenant, recording_id))
        for follower in list(followed.followers) if followed is not None else ():
            follower.end_with(reason)

    def keys_changed(self) -> None:
        """Have all look whether they may still follow: keys were revoked, perhaps."""
        for followed in self._followed.values():
            for follower in followed.followers:
                follower.woken.set()
                follower.on_keys()

    def stop(self) -> None:
        """Let all know that the daemon stops; there is no following from here on."""
        self._stopped = True
        for tenant, recording_id in list(self._followed):
            self.end(tenant, recording_id, "shutdown")

    def _make_room(self) -> None:
        while self._recent and (self.recent_bytes > self._recent_bytes_max or not self._recent[0].is_kept):
            self._drop(self._recent.popleft())

    def _let_go(self, followed: _Followed) -> None:
        for block in followed.blocks:
            self._drop(block)
        followed.blocks.clear()
        while self._recent and not self._recent[0].is_kept:
            self._recent.popleft()

    def _drop(self, block: RecentBlock) -> None:
        if block.is_kept:
            self.recent_bytes -= block.size
            block.is_kept = False


def _size_of(parts: Sequence[Made]) -> int:
    return sum(len(part.data) for part in parts)
