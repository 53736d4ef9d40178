"""What was counted is kept within a bound, and given out as it was."""

from __future__ import annotations

from rrd.playback.recount import KeptSummary, SummaryCache, decode, encode
from rrd.summary.gather import summary_of
from tests.samples import an_event
from tests.summary.events import blocks_of


def kept(limit_seq: int, size: int) -> KeptSummary:
    return KeptSummary(limit_seq, bytes(size))


def test_the_least_recently_used_go_first() -> None:
    cache = SummaryCache(bytes_max=100)
    for number in range(4):
        cache.put(number, 7, kept(1, 30))
        cache.get(0, 7)
    assert cache.held_bytes == 90
    assert [cache.get(number, 7) is not None for number in range(4)] == [True, False, True, True]
    cache.put(5, 7, kept(1, 101))
    assert (cache.held_bytes, cache.get(5, 7)) == (0, None)


def test_more_of_a_recording_takes_the_place_of_less() -> None:
    cache = SummaryCache()
    cache.put(1, 7, kept(5, 10))
    cache.put(1, 7, kept(9, 20))
    cache.put(1, 7, kept(5, 10))
    assert cache.get(1, 7) == kept(9, 20)
    assert cache.held_bytes == 20
    # Erased, and begun anew.
    assert cache.get(1, 8) is None


def test_what_is_kept_is_given_out_as_it_was() -> None:
    found = summary_of(1, lambda: blocks_of([an_event(5, source=5, id=3), an_event(9, source=1)], [2]))
    assert decode(encode(found)) == found
