"""One open recording without disk and loop: what a block is made of, what waits, who is refused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rrd.extent import Extent
from rrd.index.rows import RecordingRow
from rrd.recordings.recording import BLOCK_BYTES_MAX, Recording
from rrd.recordings.source import Source, Waiting, Work
from rrd.segment.format import BlockDraft
from rrd.wire.events import check_lines
from rrd.wire.limits import Limits
from rrd.wire.metadata import Metadata
from tests.samples import LIMITS, batch, event, meta_event


async def _no_wait() -> None: ...


class Woken:
    """A recording, and how often it asked to be woken."""

    def __init__(self, *, row: RecordingRow | None = None, limits: Limits = LIMITS) -> None:
        self.count = 0
        self.waiting = Waiting()
        self.recording = Recording(
            tenant="t",
            recording_id="r",
            created_ms=5,
            used_at=0.0,
            row=row,
            limits=limits,
            waiting=self.waiting,
            wake=self._wake,
        )
        self.recording.move("opened")

    def _wake(self, _: Recording) -> None:
        self.count += 1

    def source(self, *, origin: str | None = None, visitor: dict[str, str] | None = None) -> Source:
        self.recording.sources += 1
        return Source("r", self.recording.put, _no_wait, origin=origin, visitor=visitor)

    def draft(self) -> BlockDraft:
        work = self.recording.next_work()
        assert work is not None
        draft = self.recording.prepare(work, 1000)
        assert draft is not None
        self.finish(work)
        return draft

    def finish(self, work: Work) -> None:
        self.recording.settled(work, None, used_at=0.0)


_PUTS = st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(0, 50), max_size=4)), max_size=12)


@given(_PUTS)
def test_what_is_taken_is_what_was_put_in_order_and_of_one_source(puts: list[tuple[int, list[int]]]) -> None:
    woken = Woken()
    sources = [woken.source() for _ in range(3)]
    expected = [(number, event(stamp)) for number, stamps in puts for stamp in stamps]
    for number, stamps in puts:
        sources[number].put(batch(*map(event, stamps)))
    assert woken.waiting.bytes == woken.recording.pending_bytes == sum(len(line) + 1 for _, line in expected)
    taken: list[tuple[int, bytes]] = []
    while (work := woken.recording.next_work()) is not None:
        lines = work.batch.payload.splitlines()
        times = [check_lines([line], LIMITS, first_line=1).first_ts for line in lines]
        assert work.batch.event_count == len(lines)
        assert (work.batch.first_ts, work.batch.last_ts) == (min(times), max(times))
        assert work.batch.ordered == (times == sorted(times))
        taken += [(sources.index(work.source), line) for line in lines]
        woken.finish(work)
    assert taken == expected
    assert woken.waiting.bytes == woken.recording.pending_bytes == 0


def test_a_block_takes_in_no_further_batch_beyond_its_size() -> None:
    woken = Woken()
    source = woken.source()
    for number in range(3):
        source.put(batch(event(number, pad=1 << 19), event(number, pad=1 << 19)))
    for _ in range(8):
        source.put(batch(event(5, pad=(1 << 20) - 100)))
    sizes = []
    while (work := woken.recording.next_work()) is not None:
        sizes.append(len(work.batch.payload))
        woken.finish(work)
    assert len(sizes) == 3
    assert all(BLOCK_BYTES_MAX * 0.9 < size < BLOCK_BYTES_MAX + (1 << 20) for size in sizes[:2])


def test_a_busy_recording_does_not_ask_to_be_woken() -> None:
    woken = Woken()
    source = woken.source()
    source.put(batch(event(1)))
    assert woken.count == 1
    work = woken.recording.next_work()
    assert work is not None
    source.put(batch(event(2)))
    assert woken.count == 1
    assert woken.recording.state == "busy"
    woken.finish(work)
    assert woken.count == 2


def test_a_batch_of_nothing_is_not_put() -> None:
    woken = Woken()
    woken.source().put(batch())
    assert woken.count == 0
    assert woken.recording.state == "silent"


def test_pairs_beyond_the_limit_of_keys_are_quarantined_and_the_rest_kept() -> None:
    woken = Woken(limits=LIMITS._replace(metadata_keys_max=3))
    source = woken.source()
    lines = (
        meta_event(1, a="1", b="1"),
        meta_event(1, c="1", d="1"),
        meta_event(1, e="1"),
        meta_event(1, a="2", e="2", c="2"),
    )
    source.put(batch(*lines))
    source.put_metadata(Metadata({"f": "1", "b": "3"}))
    draft = woken.draft()
    assert [(note.key, note.value) for note in draft.metadata] == [
        ("a", "1"), ("b", "1"), ("c", "1"), ("a", "2"), ("c", "2"), ("b", "3"),
    ]  # fmt: skip
    assert [(note.line, note.reason, note.raw) for note in draft.quarantine] == [
        (line, "too_many_metadata_keys", raw)
        for line, raw in ((2, b'{"d":"1"}'), (3, b'{"e":"1"}'), (4, b'{"e":"2"}'), (1, b'{"f":"1"}'))
    ]
    assert [pair.key for pair in source.refused_pairs] == ["f"]
    # Each piece of metadata of which something was kept counts once; the third had nothing.
    assert woken.recording.applied == 4


def test_what_the_server_adds_takes_no_room_from_the_page() -> None:
    woken = Woken(limits=LIMITS._replace(metadata_keys_max=2))
    source = woken.source(origin="https://example.org", visitor={"ipAddress": "192.0.2.1"})
    source.put(batch(meta_event(1, includePii="true")))
    woken.recording.metadata_keys.update(note.key for note in woken.draft().metadata)
    assert woken.recording.metadata_keys == {"includePii", "ipAddress", "ingestOrigin"}
    source.put(batch(meta_event(1, a="1", b="1")))
    assert [note.key for note in woken.draft().metadata] == ["a"]


def test_what_is_known_of_the_visitor_is_stored_only_where_a_payload_permits_it() -> None:
    woken = Woken()
    source = woken.source(visitor={"ip": "192.0.2.1"})
    source.put(batch(meta_event(1, user="x")))
    assert {note.key for note in woken.draft().metadata} == {"user"}
    source.put(batch(meta_event(1, includePii="true")))
    assert {note.key for note in woken.draft().metadata} == {"includePii", "ip"}


def test_the_origin_is_noted_with_the_first_events_and_not_for_bad_lines_alone() -> None:
    woken = Woken()
    source = woken.source(origin="https://example.org")
    source.put(batch(b"not json"))
    assert woken.draft().metadata == ()
    source.put(batch(event(1)))
    assert [note.key for note in woken.draft().metadata] == ["ingestOrigin"]


def _row(last_ts: float | None) -> RecordingRow:
    return RecordingRow(1, "t", "r", 3, Extent(1, 6, None, last_ts, 0, 0, 0, 0), True, frozenset({"a"}), ())


def test_a_recording_goes_on_where_the_index_says_it_ended() -> None:
    woken = Woken(row=_row(None))
    woken.source().put(batch(event(1)))
    assert woken.draft().first_seq == 7
    assert woken.recording.created_ms == 3


def test_only_events_as_old_as_those_of_others_may_be_repeats() -> None:
    woken = Woken(row=_row(10))
    source = woken.source()
    needed = {}
    for stamp in (9, 10, 11):
        source.put(batch(event(stamp)))
        work = woken.recording.next_work()
        assert work is not None
        needed[stamp] = woken.recording.needs_history(work)
        woken.finish(work)
    assert needed == {9: True, 10: True, 11: False}


def test_metadata_may_be_a_repeat_as_soon_as_anything_is_stored() -> None:
    for row, expected in ((None, False), (_row(None), True)):
        woken = Woken(row=row)
        woken.source().put(batch(meta_event(1, a="1")))
        work = woken.recording.next_work()
        assert work is not None
        assert woken.recording.needs_history(work) is expected
