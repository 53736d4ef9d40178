"""Time with user input: which seconds had any, and how much there was over time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

WORD_SECONDS = 32
"""Seconds in one word of ``Seconds``: a number that every reader of JSON takes exactly."""

WORDS_MAX = 16_384
"""Words in a set of seconds: six days of activity without a pause. What comes later is not counted then."""

SLOTS_MAX = 1_000
"""Slots in an activity line."""

Seconds = dict[int, int]
"""A set of seconds since the epoch: word (second // 32) → its seconds as bits."""


def add_seconds(seconds: Seconds, more: Mapping[int, int]) -> bool:
    """Add seconds to a set; return False if some were left out for want of room."""
    for word, bits in more.items():
        seconds[word] = seconds.get(word, 0) | bits
    if len(seconds) <= WORDS_MAX:
        return True
    # The first ones stay, in whatever order runs are joined.
    for word in sorted(seconds)[WORDS_MAX:]:
        del seconds[word]
    return False


def words_of(seconds: Iterable[int]) -> Seconds:
    """Return seconds as a set."""
    words: Seconds = {}
    for second in seconds:
        word = second // WORD_SECONDS
        words[word] = words.get(word, 0) | 1 << second % WORD_SECONDS
    return words


def active_ms(seconds: Seconds) -> int:
    """Return how long a set of seconds is, in ms."""
    return 1000 * sum(bits.bit_count() for bits in seconds.values())


class ActivityLine(msgspec.Struct, omit_defaults=True):
    """How many events with user input there were in each slot of ``2 ** power`` s.

    A slot begins at a multiple of its width. Slots are as narrow as fits: at most ``SLOTS_MAX`` of them from
    the first with input to the last.
    """

    power: int = 0
    counts: dict[int, int] = msgspec.field(default_factory=dict)
    """Number of the slot (second // 2 ** power) → events."""
    first: int = 0
    """The first slot with any, if there is one."""
    last: int = 0

    def add(self, counts: Mapping[int, int], power: int = 0) -> None:
        """Add events, as the number in each slot of ``2 ** power`` s."""
        if not counts:
            return
        if power > self.power:
            self._widen(power)
        shift, mine = self.power - power, self.counts
        first, last = min(counts) >> shift, max(counts) >> shift
        self.first, self.last = (min(self.first, first), max(self.last, last)) if mine else (first, last)
        for slot, count in counts.items():
            wide = slot >> shift
            mine[wide] = mine.get(wide, 0) + count
        wider = 0
        while (self.last >> wider) - (self.first >> wider) >= SLOTS_MAX:
            wider += 1
        if wider:
            self._widen(self.power + wider)

    def _widen(self, power: int) -> None:
        shift = power - self.power
        self.power = power
        self.first, self.last = self.first >> shift, self.last >> shift
        narrow, self.counts = self.counts, {}
        for slot, count in narrow.items():
            self.counts[slot >> shift] = self.counts.get(slot >> shift, 0) + count

    @property
    def first_ms(self) -> int:
        """Where the first slot begins, ms since the epoch; 0 without any."""
        return (self.first << self.power) * 1000 if self.counts else 0

    @property
    def slot_ms(self) -> int:
        """How wide a slot is, ms."""
        return 1000 << self.power

    def levels(self) -> bytes:
        """Return a byte for each slot from the first with input to the last: its events, 255 at most."""
        if not self.counts:
            return b""
        line = bytearray(self.last - self.first + 1)
        for slot, count in self.counts.items():
            line[slot - self.first] = min(count, 255)
        return bytes(line)

    def sparkline(self, levels_max: int) -> bytes:
        """Return the same line in ``levels_max`` slots at most, each wider by the same power of two."""
        coarse = msgspec.structs.replace(self, counts=dict(self.counts))
        while coarse.last - coarse.first >= levels_max:
            coarse._widen(coarse.power + 1)
        return coarse.levels()
