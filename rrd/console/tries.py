"""How often a wrong key may be tried: by each address, and by all together. Pure.

A key has 256 random bits, so this keeps no one from guessing one. It keeps tries from costing much, and a log
from filling up. What is tried with a good key costs nothing.
"""

from __future__ import annotations

import math
from collections import OrderedDict

from rrd.errors import RefusedError
from rrd.shares.bucket import Bucket

ADDRESS_TRIES_MAX = 10
"""Wrong ones at once, by one address; a person mistypes two or three."""
ADDRESS_TRY_S = 6.0
"""After which time it may try another."""

ALL_TRIES_MAX = 300
ALL_TRY_S = 0.2

ADDRESSES_MAX = 4_096
"""Addresses that are remembered; beyond that the one that tried longest ago is forgotten."""


class TooManyTries(RefusedError):
    """Too many wrong keys were tried."""

    code = "too_many_tries"
    status = 429

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too many sign-ins failed. Try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class Tries:
    """Counts wrong tries. ``now`` is in monotonic seconds; an address is empty where it is not known."""

    def __init__(self) -> None:
        self._all = Bucket(1 / ALL_TRY_S, ALL_TRIES_MAX)
        self._of_address: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, address: str, now: float) -> None:
        """Count a try before it is known to be wrong. Raises ``TooManyTries``, and counts nothing then."""
        mine = self._of_address.setdefault(address, Bucket(1 / ADDRESS_TRY_S, ADDRESS_TRIES_MAX))
        self._of_address.move_to_end(address)
        if len(self._of_address) > ADDRESSES_MAX:
            self._of_address.popitem(last=False)
        wait_s = max(mine.wait_s(1, now), self._all.wait_s(1, now))
        if wait_s > 0:
            raise TooManyTries(math.ceil(wait_s))
        mine.take(1, now)
        self._all.take(1, now)

    def give_back(self, address: str, now: float) -> None:
        """Take a try out of the count: the key was good."""
        for bucket in (self._all, self._of_address.get(address)):
            if bucket is not None:
                bucket.take(-min(1.0, bucket.spent(now)), now)
