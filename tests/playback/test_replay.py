"""Composed replays read from disk, against the naive model."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.objects.files import ObjectFiles
from rrd.playback.compose import compose
from rrd.playback.outline import groups_of
from rrd.playback.replay import Tables, replay_in_order
from rrd.playback.splice import JSON_ARRAY, NDJSON, Form
from rrd.playback.table import PlaybackTable, plan
from tests.playback.recordings import DATA, Line, Segment, put
from tests.playback.replays import any_replay, expected, parsed
from tests.simdisk import SimDisk
from tests.thoroughness import examples

PLENTY = 64 << 20


def composed(
    files: ObjectFiles,
    recordings: Mapping[str, Sequence[Segment]],
    form: Form = NDJSON,
    *,
    gap_max: int = 1000,
    bytes_max: int = PLENTY,
    tables_bytes_max: int = PLENTY,
) -> list[bytes]:
    """Return the chunks of a replay."""
    ids = list(recordings)
    disks = [SimDisk() for _ in ids]
    holdings = [put(disk, list(segments)) for disk, segments in zip(disks, recordings.values(), strict=True)]

    def make(number: int) -> PlaybackTable:
        table = plan(disks[number], files, DATA, holdings[number])
        table.recording_id = ids[number]
        return table

    tables = Tables(make, bytes_max=tables_bytes_max)
    groups = [
        group
        for number in range(len(ids))
        for group in groups_of(tables.table(number), number, bytes_max=bytes_max)
        if group is not None
    ]
    placed = compose(groups, ids, gap_max_ms=gap_max)
    return list(replay_in_order(placed, tables, form=form, bytes_max=bytes_max))


@settings(max_examples=examples(600))
@given(any_replay, st.sampled_from([1, 1000, 7]), st.sampled_from([1, 3000, PLENTY]))
def test_a_replay_is_what_the_rules_say(
    files: ObjectFiles, recordings: dict[str, list[Segment]], gap_max: int, bytes_max: int
) -> None:
    chunks = composed(files, recordings, gap_max=gap_max, bytes_max=bytes_max, tables_bytes_max=bytes_max)
    lines = b"".join(chunks).splitlines()
    found = [parsed(line) for line in lines]
    assert found == expected(recordings, gap_max=gap_max)
    times = [json.loads(line)["timestamp"] for line in lines]
    assert times == sorted(times)
    assert times[:1] in ([], [0])


@given(any_replay)
def test_an_array_of_a_replay_holds_what_its_lines_hold(
    files: ObjectFiles, recordings: dict[str, list[Segment]]
) -> None:
    lines = b"".join(composed(files, recordings)).splitlines()
    array = b"".join(composed(files, recordings, JSON_ARRAY))
    assert array == b"[" + b",\n".join(lines) + b"]"


def event(event_type: int, timestamp: float, data: str = "{}") -> Line:
    raw = b'{"type":%d,"data":%b,"timestamp":%r}' % (event_type, data.encode(), timestamp)
    return Line(raw, timestamp)


def test_two_recordings_play_one_after_the_other(files: ObjectFiles) -> None:
    close = '{"tag":"close-permanent"}'
    first = [event(4, 1000), event(2, 1000), event(3, 1100), event(5, 1150, close)]
    second = [event(1, 1049), event(4, 1050), event(2, 1051), event(3, 1400)]
    chunks = composed(files, {"a": [[first]], "b": [[second]]}, JSON_ARRAY)
    found = json.loads(b"".join(chunks))
    told = [(entry["timestamp"], entry["recordingId"], entry["type"]) for entry in found]
    assert told == [
        (0, "a", 4), (0, "a", 2), (100, "a", 3), (150, "a", 5),
        (151, "b", 1), (152, "b", 4), (153, "b", 2), (502, "b", 3),
    ]  # fmt: skip
    assert [entry["originalTimestamp"] for entry in found] == [
        1000, 1000, 1100, 1150, 1049, 1050, 1051, 1400,
    ]  # fmt: skip
    assert [entry["sequenceId"] for entry in found] == [1, 2, 3, 4, 1, 2, 3, 4]


def test_what_is_held_does_not_grow_with_the_number_of_page_views(files: ObjectFiles) -> None:
    """Forty recordings of a megabyte, whose page views take turns."""
    text = json.dumps({"text": "x" * 5000})
    recordings = {
        f"r{number:02}": [
            [
                [event(4, base), event(2, base), *(event(3, base + step, text) for step in range(20))]
                for base in range(1000 * number, 1_000_000, 100_000)
            ]
        ]
        for number in range(40)
    }
    size = 0
    ids = list(recordings)
    disks = [SimDisk() for _ in ids]
    holdings = [put(disk, segments) for disk, segments in zip(disks, recordings.values(), strict=True)]
    del recordings
    tables = Tables(lambda number: plan(disks[number], files, DATA, holdings[number]), bytes_max=4000)
    tracemalloc.start()
    groups = [
        group
        for number in range(len(ids))
        for group in groups_of(tables.table(number), number, bytes_max=1 << 20)
        if group is not None
    ]
    for chunk in replay_in_order(compose(groups, ids), tables, form=NDJSON, bytes_max=1 << 20):
        size += len(chunk)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(groups) == 400
    assert size > 39 << 20
    assert peak < 6 << 20


@pytest.mark.parametrize("form", [NDJSON, JSON_ARRAY])
def test_without_any_group_a_replay_is_empty(files: ObjectFiles, form: Form) -> None:
    lost: dict[str, list[Segment]] = {"a": [[[event(3, 1), event(4, 2), event(7, 3)]]], "b": [[[]]]}
    assert b"".join(composed(files, lost, form)) == form.empty


def test_page_views_of_one_time_are_found_by_their_numbers(files: ObjectFiles) -> None:
    """Each is read from its own block alone: a thousand of them take a thousand loads."""
    disk = SimDisk()
    holdings = put(disk, [[[event(4, 5), event(2, 5)] for _ in range(1000)]])
    tables = Tables(lambda _: plan(disk, files, DATA, holdings))
    groups = [group for group in groups_of(tables.table(0), 0, bytes_max=PLENTY) if group is not None]
    assert len(groups) == 1000
    assert {len(tables.of_group(group)) for group in groups} == {1}
    text = b"".join(replay_in_order(compose(groups, ["r"]), tables, form=NDJSON, bytes_max=PLENTY))
    assert [json.loads(line)["timestamp"] for line in text.splitlines()] == [
        number // 2 for number in range(2000)
    ]
