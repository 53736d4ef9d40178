"""A summary says what happened, wherever a recording was cut and in whatever order it arrived."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.corpus import NAMES, lines_of
from rrd.summary.activity import WORD_SECONDS, Seconds
from rrd.summary.gather import summary_of
from rrd.summary.row import row_of, totals_of
from rrd.summary.summary import Summary, decode_note, encode_note
from tests.summary.events import blocks_of, recordings
from tests.summary.reference import told
from tests.thoroughness import examples

SIZES = st.lists(st.integers(1, 7), min_size=1, max_size=5)


def seconds_of(seconds: Seconds) -> set[int]:
    return {
        word * WORD_SECONDS + bit
        for word, bits in seconds.items()
        for bit in range(WORD_SECONDS)
        if bits >> bit & 1
    }


def plain(found: Summary) -> dict[str, Any]:
    """A summary in the words of the reference."""
    totals = found.totals
    return {
        "clicks": totals.clicks,
        "inputs": totals.inputs,
        "errors": totals.errors,
        "bursts": totals.chained_clicks.bursts,
        "seconds": seconds_of(totals.seconds),
        "urls": sorted(totals.urls, key=totals.urls.__getitem__),
        "urls_cut": totals.urls_cut,
        "line": (totals.line.first_ms, totals.line.slot_ms, totals.line.levels()),
        "pieces": [
            {
                "start": piece.start,
                "url": piece.url,
                "snapshot": piece.snapshot,
                "events": piece.events,
                "bytes": piece.bytes,
                "clicks": piece.clicks,
                "inputs": piece.inputs,
                "errors": piece.errors,
                "seconds": seconds_of(piece.seconds),
                "marked": piece.is_marked,
                "joined": piece.joined,
            }
            for piece in found.pieces
        ],
    }


def summarised(lines: list[bytes], sizes: list[int], first_seq: int = 1) -> Summary:
    return summary_of(first_seq, lambda: blocks_of(lines, sizes, first_seq))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sizes", [[1], [7, 1, 40], [100_000]], ids=["one", "some", "all"])
def test_real_recordings_are_summed_up_as_by_looking_at_each_event(name: str, sizes: list[int]) -> None:
    lines = lines_of(name)
    # As it was, with two events late, and backwards.
    for ordered in (lines, [*lines[3:], *lines[:3]], lines[::-1]):
        assert plain(summarised(ordered, sizes)) == told(ordered)


@settings(deadline=None, max_examples=examples(400))
@given(recordings(), SIZES)
def test_a_summary_says_what_looking_at_each_event_says(lines: list[bytes], sizes: list[int]) -> None:
    found = summarised(lines, sizes)
    assert not found.tangled
    assert plain(found) == told(lines)
    assert found.totals.limit_seq == len(lines) + 1
    note = encode_note(found)
    assert note.endswith(b"\n")
    assert b"\n" not in note[:-1]
    again = decode_note(note)
    assert again is not None
    assert plain(again) == plain(found)
    assert encode_note(again) == note


@settings(deadline=None, max_examples=examples(400))
@given(recordings(), SIZES, st.lists(st.integers(0, 40), max_size=4))
def test_runs_add_up_wherever_they_were_cut(lines: list[bytes], sizes: list[int], cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(lines)) for cut in cuts), len(lines)]
    whole = summarised([], sizes)
    for start, limit in pairwise(edges):
        part = summarised(lines[start:limit], sizes, start + 1)
        note = decode_note(encode_note(part))
        assert note is not None
        whole.join(note)
    expected, found = told(lines), plain(whole)
    pieces, others = found.pop("pieces"), expected.pop("pieces")
    # What lists need adds up always; the numbers of pieces do, or the sum says that they don't.
    assert found == expected
    if not whole.tangled:
        assert pieces == others


@settings(deadline=None, max_examples=examples(200))
@given(recordings(), SIZES, st.lists(st.integers(0, 40), max_size=4))
def test_runs_that_follow_one_another_in_time_are_never_tangled(
    lines: list[bytes], sizes: list[int], cuts: list[int]
) -> None:
    lines = sorted(lines, key=lambda line: float(json.loads(line)["timestamp"]))
    edges = [0, *sorted(min(cut, len(lines)) for cut in cuts), len(lines)]
    whole = summarised([], sizes)
    for start, limit in pairwise(edges):
        whole.join(summarised(lines[start:limit], sizes, start + 1))
    assert not whole.tangled
    assert plain(whole) == told(lines)


@pytest.mark.parametrize("count", [999, 1000, 1001, 1500])
def test_pieces_beyond_the_limit_count_for_the_last_one(count: int) -> None:
    lines = [
        line
        for number in range(count)
        for line in (
            b'{"type":4,"timestamp":%d,"data":{"href":"https://x.example/%d"}}' % (number * 10, number),
            b'{"type":2,"timestamp":%d,"data":{}}' % (number * 10 + 1),
            b'{"type":3,"timestamp":%d,"data":{"source":1}}' % (number * 10 + 2),
        )
    ]
    assert plain(summarised(lines, [7])) == told(lines)
    whole = summarised(lines[:700], [64])
    whole.join(summarised(lines[700:], [64], 701))
    assert plain(whole) == told(lines)


@settings(deadline=None, max_examples=examples(100))
@given(recordings(), SIZES)
def test_totals_come_back_from_the_index_as_they_were(lines: list[bytes], sizes: list[int]) -> None:
    totals = summarised(lines, sizes).totals
    row = row_of(totals)
    assert totals_of(row) == totals
    assert totals_of(row._replace(state=b"\x01")) is None
    assert (row.first_url, len(row.urls)) == (row.urls[0] if row.urls else None, len(set(row.urls)))
    assert not any("?" in url or "#" in url for url in row.urls)
    assert len(row.activity) <= 64
