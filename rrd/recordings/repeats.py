"""Exact de-duplication: which lines of a batch are stored already, sent by somebody else.

Senders re-send. The rrweb client posts its whole list again with each request; others send what was
not acked over a new socket. Events carry no id, so the key is the exact line. Equal lines from one
sender are *not* repeats of each other, hence the rule:

    a recording holds each line as often as the one sender that sent it most often.

What makes this cheap is that equal lines have equal timestamps. While a sender's events are younger
than everything that others have stored, nothing can be a repeat and nothing is looked up. Otherwise only
blocks whose time range meets the batch's are read, straight from the segment files, so it works
over the whole length of a recording and across restarts, with no window to fall out of.

Memory: the batch's hashes and one block's lines at a time, and ``RECOGNISED_MAX`` hashes at most for
each sender; ``history`` adds a cache with a bound of its own.

Lines are compared by their 64-bit SipHash with a key that is random for each process (PEP 456): for
a batch of a thousand lines against a million stored ones, the odds that any differing pair collides are
1 in 10^10.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence

RECOGNISED_MAX = 65_536


class Recognised:
    """How often a sender has sent lines that were repeats; the oldest are forgotten beyond a bound.

    It matters only when a sender repeats a line that others had stored before *and* means it
    as a second event: it would have to come back more than ``RECOGNISED_MAX`` lines later.
    """

    def __init__(self) -> None:
        self._counts: OrderedDict[int, int] = OrderedDict()

    def add(self, key: int) -> None:
        self._counts[key] = self._counts.pop(key, 0) + 1
        if len(self._counts) > RECOGNISED_MAX:
            self._counts.popitem(last=False)

    def count(self, key: int) -> int:
        return self._counts.get(key, 0)


def find_new(
    keys: Sequence[int], stored: Iterable[tuple[int, Sequence[int]]], *, source: int, recognised: Recognised
) -> list[bool]:
    """Tell for each line, by its key, whether it is to be stored.

    ``stored`` yields the blocks that may hold equal lines: who sent each, and its lines' keys.
    ``recognised`` is the sender's memory, and is added to.
    """
    wanted = set(keys)
    stored_counts: Counter[int] = Counter()
    own_counts: Counter[int] = Counter()
    for sender, block in stored:
        hits = wanted.intersection(block)
        if not hits:
            continue
        for key in block:
            if key in hits:
                stored_counts[key] += 1
                own_counts[key] += sender == source
    verdicts: list[bool] = []
    for key in keys:
        is_new = own_counts[key] + recognised.count(key) >= stored_counts[key]
        if is_new:
            stored_counts[key] += 1
            own_counts[key] += 1
        else:
            recognised.add(key)
        verdicts.append(is_new)
    return verdicts
