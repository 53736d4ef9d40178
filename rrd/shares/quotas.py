"""Quotas of keys, tenants and addresses: what is refused, and what is slowed down.

A recording is refused whole or not at all: the right to begin one (new recordings a minute, bytes a day,
sockets, requests) is asked before anything of it is stored, and one that is there goes on. Rates of what is
under way never refuse, since rrweb's client stops for good at any error or close. They make its sender wait,
and those first that send more than their part: a sender that takes less than an equal part of a party's
rate, or little in all, is never slowed by others of that party.

State is bounded: a party is forgotten when its buckets are full again and nothing of it is under way, and
beyond ``_ADDRESSES_MAX`` the address that was seen longest ago is forgotten in any case.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Literal

from rrd import metrics
from rrd.errors import RefusedError
from rrd.shares.bucket import Bucket
from rrd.shares.limits import SCOPES, Quota, QuotaLimits, Scope, setting_of
from rrd.shares.queue import Who
from rrd.wire.events import Batch

_ADDRESSES_MAX = 50_000
"""Some 1 kB each."""

_ACCOUNTS_A_TURN = 1_000
"""Some milliseconds; others get their turn then."""

_DAY_S = 86_400
_BURST_S = 10.0
"""Rates are averages over so long."""

_PAUSE_S_MAX = 2.0
"""A sender is never kept waiting longer for its next batch: what quotas cost an ack stays within seconds."""

_OVERDRAFT = 0.1
"""What is under way when a day's bytes are used up goes on; from this part of a day more on, it is slowed."""

_OWN_EVENTS, _OWN_BYTES = 8_000.0, float(4 << 20)
"""What a sender may have in any case before it is slowed: a page's first snapshot is in it.

More than is put on accounts at once, so that what is added up slows no sender that is within its part.
"""

_COUNTED_EVENTS, _COUNTED_BYTES = 4_000, 1 << 20
"""So much is put on accounts at once."""

_FULL_RETRY_S = 30
"""When to try again where nobody knows when a socket or request will end."""

Kind = Literal["sockets", "requests"]


class OverQuota(RefusedError):
    """A quota is used up (RFC 6585, 4)."""

    status = 429

    def __init__(self, quantity: str, scope: Scope, retry_after_s: float) -> None:
        setting = setting_of(quantity, scope)
        super().__init__(f"the quota {setting} of this {scope} is used up; try again later")
        self.code = f"over_{setting}"
        self.retry_after_s = max(1, round(retry_after_s + 0.5))


class QuotaAccount:
    """What one party has used."""

    __slots__ = ("bytes", "day", "events", "most", "recordings", "senders", "under_way")

    def __init__(self, quota: Quota) -> None:
        self.most: dict[Kind, int] = {}
        """How many may be under way; 0: no limit."""
        self.under_way: dict[Kind, int] = {"sockets": 0, "requests": 0}
        self.senders = 0
        self.recordings, self.events, self.bytes, self.day = (Bucket(0, 0) for _ in range(4))
        self.grant(quota, 0.0)

    def grant(self, quota: Quota, now: float) -> None:
        """Let the party have this quota from now on; what it has used counts on."""
        self.most = {"sockets": quota.sockets, "requests": quota.requests}
        self.recordings.resize(quota.recordings_per_min / 60, quota.recordings_per_min, now)
        self.events.resize(quota.events_per_s, quota.events_per_s * _BURST_S, now)
        self.bytes.resize(quota.bytes_per_s, quota.bytes_per_s * _BURST_S, now)
        self.day.resize(quota.bytes_per_day / _DAY_S, quota.bytes_per_day, now)

    def is_in_use(self) -> bool:
        return bool(self.senders or any(self.under_way.values()))

    def is_idle(self, now: float) -> bool:
        buckets = (self.recordings, self.events, self.bytes, self.day)
        return not self.is_in_use() and not any(bucket.spent(now) for bucket in buckets)


class Quotas:
    """The accounts of all parties. ``monotonic`` tells the time in seconds."""

    def __init__(self, limits: QuotaLimits, monotonic: Callable[[], float]) -> None:
        self._limits = limits
        self._monotonic = monotonic
        self._accounts: dict[Scope, OrderedDict[str, QuotaAccount]] = {
            scope: OrderedDict() for scope in SCOPES
        }

    def __len__(self) -> int:
        """How many parties are remembered."""
        return sum(map(len, self._accounts.values()))

    async def change(self, limits: QuotaLimits) -> None:
        """Put other quotas into effect, for all who have an account already, too."""
        former, self._limits = self._limits, limits
        for scope, accounts in self._accounts.items():
            # A party that comes in between has the new quota from the start.
            for number, (name, account) in enumerate(list(accounts.items())):
                if (quota := limits.of(scope, name)) != former.of(scope, name):
                    account.grant(quota, self._monotonic())
                if number % _ACCOUNTS_A_TURN == _ACCOUNTS_A_TURN - 1:
                    await asyncio.sleep(0)

    def refusal_of_new(self, who: Who) -> OverQuota | None:
        """Return why a new recording would be refused now; None if it would not."""
        return self._refusal_of_new(self._of(who), self._monotonic())

    def _refusal_of_new(self, accounts: Sequence[tuple[Scope, QuotaAccount]], now: float) -> OverQuota | None:
        for scope, account in accounts:
            if wait_s := account.recordings.wait_s(1, now):
                return OverQuota("recordings_per_min", scope, wait_s)
            if wait_s := account.day.wait_s(1, now):
                return OverQuota("bytes_per_day", scope, wait_s)
        return None

    def begin_recording(self, who: Who) -> None:
        """Count a new recording. Raises ``OverQuota``, and has counted nothing."""
        accounts, now = self._of(who), self._monotonic()
        if (refusal := self._refusal_of_new(accounts, now)) is not None:
            raise refusal
        for _, account in accounts:
            account.recordings.take(1, now)

    def enter(self, who: Who, kind: Kind) -> list[tuple[Scope, QuotaAccount]]:
        """Count a socket or request that begins. Raises ``OverQuota``, and has not.

        Returns the accounts that it counts on, with which ``leave`` is owed.
        """
        accounts = self._of(who)
        for scope, account in accounts:
            most = account.most[kind]
            if most and account.under_way[kind] >= most:
                raise OverQuota(kind, scope, _FULL_RETRY_S)
        for _, account in accounts:
            account.under_way[kind] += 1
        return accounts

    def leave(self, accounts: Sequence[tuple[Scope, QuotaAccount]], kind: Kind) -> None:
        """Count its end."""
        for _, account in accounts:
            account.under_way[kind] -= 1

    def pacer(self, who: Who) -> Pacer:
        """Return what a sender's batches are counted with. ``close`` is owed."""
        return Pacer([account for _, account in self._of(who)], self._monotonic)

    def days(self) -> dict[str, dict[str, float]]:
        """Return the bytes of the day that each key and tenant has spent."""
        now = self._monotonic()
        return {
            scope: {name: spent for name, account in accounts.items() if (spent := account.day.spent(now))}
            for scope, accounts in self._accounts.items()
            if scope != "address"  # An address is kept nowhere.
        }

    def take_up(self, days: dict[str, dict[str, float]], *, ago_s: float) -> None:
        """Take in what ``days`` returned so long ago."""
        for scope in SCOPES:
            for name, spent in days.get(scope, {}).items():
                account = self._accounts[scope].get(name) or self._new(scope, name)
                if (left := spent - account.day.rate * ago_s) > 0:
                    account.day.take(left, self._monotonic())

    def _of(self, who: Who) -> list[tuple[Scope, QuotaAccount]]:
        found = []
        for scope, name in zip(SCOPES, who, strict=True):
            if name:
                accounts = self._accounts[scope]
                account = accounts.get(name)
                if account is None:
                    account = self._new(scope, name)
                else:
                    accounts.move_to_end(name)
                found.append((scope, account))
        return found

    def _new(self, scope: Scope, name: str) -> QuotaAccount:
        accounts = self._accounts[scope]
        self._forget(accounts)
        account = accounts[name] = QuotaAccount(self._limits.of(scope, name))
        return account

    def _forget(self, accounts: OrderedDict[str, QuotaAccount]) -> None:
        """Forget the two that were seen longest ago, if there is nothing to remember: more than come anew."""
        now = self._monotonic()
        for _ in range(2):
            name, account = next(iter(accounts.items()), ("", None))
            if account is None:
                return
            if account.is_idle(now):
                del accounts[name]
            elif len(accounts) < _ADDRESSES_MAX:
                return
            elif account.is_in_use():
                accounts.move_to_end(name)
            else:
                del accounts[name]


class Pacer:
    """One sender, a body or a socket: its batches are counted, and it is told how long to wait.

    Small batches are added up first: thousands of sockets send one a second each.
    """

    __slots__ = (
        "_accounts",
        "_bytes",
        "_events",
        "_free_at",
        "_monotonic",
        "_uncounted_bytes",
        "_uncounted_events",
    )

    def __init__(self, accounts: list[QuotaAccount], monotonic: Callable[[], float]) -> None:
        self._accounts = accounts
        self._monotonic = monotonic
        self._events = Bucket(0, _OWN_EVENTS)
        self._bytes = Bucket(0, _OWN_BYTES)
        self._uncounted_events = self._uncounted_bytes = 0
        self._free_at = 0.0
        """Until when the sender is to wait; 0.0: it needn't."""
        for account in accounts:
            account.senders += 1

    def close(self) -> None:
        """The sender is gone."""
        self._settle()
        for account in self._accounts:
            account.senders -= 1
        self._accounts = []

    @property
    def is_in_debt(self) -> bool:
        return self._free_at > 0 and self.wait_s() > 0

    def count(self, batch: Batch) -> None:
        """Count a batch: its events, and its bytes, decoded. What is no event counts as one."""
        self._uncounted_events += batch.event_count
        self._uncounted_bytes += len(batch.payload)
        if batch.metadata or batch.rejected:
            others = [*(event.raw for event in batch.metadata), *(bad.raw for bad in batch.rejected)]
            self._uncounted_events += len(others)
            self._uncounted_bytes += sum(map(len, others))
        if self._uncounted_bytes >= _COUNTED_BYTES or self._uncounted_events >= _COUNTED_EVENTS:
            self._settle()

    def wait_s(self) -> float:
        """Return how long the sender is to wait before its next batch is taken, at most some seconds."""
        if not self._free_at:
            return 0.0
        wait_s = self._free_at - self._monotonic()
        if wait_s <= 0:
            self._free_at = 0.0
        return min(max(0.0, wait_s), _PAUSE_S_MAX)

    def _settle(self) -> None:
        """Put on the accounts what was added up, and see whether the sender has to wait."""
        now, events, size = self._monotonic(), self._uncounted_events, self._uncounted_bytes
        self._uncounted_events = self._uncounted_bytes = 0
        metrics.LINES_DECODED.add(events)
        metrics.BYTES_DECODED.add(size)
        # An equal part of the rates of its parties, of each the least.
        self._events.rate = self._bytes.rate = 0.0
        for account in self._accounts:
            for own, shared in ((self._events, account.events), (self._bytes, account.bytes)):
                part = shared.rate / account.senders
                own.rate = min(own.rate, part) if own.rate and part else own.rate or part
        self._events.take(events, now)
        self._bytes.take(size, now)
        pause_s = 0.0
        for account in self._accounts:
            account.events.take(events, now)
            account.bytes.take(size, now)
            account.day.take(size, now)
            pause_s = max(pause_s, self._pause_s(account, now))
        self._free_at = now + min(pause_s, _PAUSE_S_MAX) if pause_s else 0.0

    def _pause_s(self, account: QuotaAccount, now: float) -> float:
        """Return how long one of its parties makes the sender wait."""
        day = account.day
        if day.rate and day.spent(now) > day.depth * (1 + _OVERDRAFT):
            return _PAUSE_S_MAX
        pause_s = 0.0
        if debt_s := account.events.debt_s(now):
            pause_s = min(debt_s, self._events.debt_s(now))
        if debt_s := account.bytes.debt_s(now):
            pause_s = max(pause_s, min(debt_s, self._bytes.debt_s(now)))
        return pause_s
