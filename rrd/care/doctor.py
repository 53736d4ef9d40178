"""``rrd doctor``: the story of one recording, or of all refusals, in words. Reads, changes nothing.

What visitors chose is shown escaped, so that it can play no tricks with a terminal; lines themselves,
events and quarantined ones, are not shown at all.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from itertools import chain

from rrd.care.examine import Examiner
from rrd.care.kept_aside import notes_of
from rrd.care.refusals import Refused, load
from rrd.clock import time_text
from rrd.errors import CorruptSegment, ObjectMissing, StoreAway
from rrd.index.rows import ObjectRow, QuarantineRow, RecordingRow, SegmentRow
from rrd.playback.skew import skew_of
from rrd.segment.format import BlockHeader
from rrd.segment.inspect import counted, in_bytes
from rrd.segment.scan import scan
from rrd.segment.table import read_table
from rrd.shelf.holdings import Holdings
from rrd.tombstones import Tombstone

_VALUE_CHARS_SHOWN = 80
_RECORDINGS_SHOWN = 20
_HINTS = {
    "bad_recording_id": "the setting `recording_ids` says which ids are admitted",
    "broken_encoding": "`rrd quarantine list` shows how these bodies begin",
    "disk_full": "`disk_reserve_bytes` was reached; make room, and it ends by itself",
    "forbidden": "a key without this right, or bound to other origins: see `rrd keys list`",
    "head_too_large": "the setting `head_bytes_max` bounds request line and header fields; cookies count",
    "no_such_path": "serverUrl may be wrong: it ends in /recordings/ID/ingest, or /ingest?recordingId=ID",
    "recording_erased": "late events of erased recordings; `tombstone_days` says for how long",
    "taker_too_slow": "`answer_bytes_per_s_min`: the client took less of an answer than that",
    "too_large": "the settings `event_bytes_max`, `message_bytes_max` and `body_bytes_max` say how large",
    "too_many_requests": "the setting `requests_max`, of which one sender gets a share",
    "too_many_watchers": "the settings `watchers_max`, `tenant_watchers_max` and `recording_watchers_max`",
    "too_many_sockets": "the setting `sockets_max`, of which one sender gets a share",
    "too_many_connections": "the limit of open files: LimitNOFILE in the unit, or ulimit -Hn",
    "unauthenticated": "no key, a wrong or a revoked one: see `rrd keys list`",
    "unsupported_type": "Content-Type or Content-Encoding is not one that the README names",
}
_OVER_QUOTA = "over_"
"""Begins the code of a quota that was used up; the rest is its setting."""

_BLOCKS_READ_MAX = 200
"""Blocks with quarantined lines that are read for their reasons."""


def _quota_hint(code: str) -> str | None:
    """Return what to do about a quota, if ``code`` is one."""
    if not code.startswith(_OVER_QUOTA):
        return None
    return f"the quota `{code.removeprefix(_OVER_QUOTA)}`; for addresses see `trusted_proxies` as well"


async def story(
    examiner: Examiner, tenant: str, recording_id: str, *, deep: bool = True
) -> AsyncIterator[str]:
    """Tell all that is known about a recording, line by line. ``deep``: read and check all of its bytes."""
    row = await examiner.index.recording(tenant, recording_id)
    lives = examiner.tombstones.lives(tenant, recording_id)
    yield f"recording    {recording_id} of tenant {tenant}"
    if row is None:
        for line in _nothing(lives):
            yield line
    else:
        for line in _stored(row):
            yield line
        for line in await examiner.blocking(lambda: list(_clock(examiner, row))):
            yield line
        for known in await examiner.index.metadata(tenant, recording_id):
            value = known.value[:_VALUE_CHARS_SHOWN]
            more = "…" if len(known.value) > len(value) else ""
            yield (
                f"metadata     {known.key!r} = {value!r}{more}, version {known.version},"
                f" {time_text(known.at_ms)}"
            )
        async for line in _quarantined(examiner, row):
            yield line
        for line in await examiner.blocking(lambda: list(_places(examiner, row))):
            yield line
    for line in (*refused(examiner.data_dir, recording_id, tenant=tenant), *chain(*map(_removed, lives))):
        yield line
    try:
        found = await examiner.examine(tenant, recording_id, deep=deep)
    except StoreAway as error:
        yield f"damage       can't be told now, since the object store is away: {error}"
        return
    for difference in found:
        yield f"damage       {difference}"
    if not found:
        how = (
            "every byte was read"
            if deep
            else "by sizes and counters alone: without --quick every byte is read"
        )
        yield f"damage       none found; {how}"


def refused(data_dir: str, recording_id: str, *, tenant: str | None = None) -> Iterator[str]:
    """Tell what senders to a recording were refused, by one tenant or any."""
    for row in load(data_dir).recordings:
        if row.recording_id == recording_id and tenant in {None, row.tenant}:
            whose = f" by tenant {row.tenant}" if tenant is None else ""
            yield f"refused      {_refusal(row)}{whose}"


def refused_by_all(data_dir: str, *, tenant: str | None = None) -> Iterator[str]:
    """Tell what senders were refused by the daemon as a whole, and to which recordings lately.

    ``tenant``: only to recordings of this tenant; what had no right belongs to none.
    """
    account = load(data_dir)
    totals = account.totals if tenant is None else []
    rows = [row for row in account.recordings if tenant in {None, row.tenant}]
    if not totals and not rows:
        yield "refused      nothing that a sender sent, as far as the daemon has kept count"
        return
    for row in sorted(totals, key=lambda row: -row.last_ms):
        yield f"refused      {_refusal(row)}"
        if hint := _HINTS.get(row.code) or _quota_hint(row.code):
            yield f"             {hint}"
    for row in rows[: -_RECORDINGS_SHOWN - 1 : -1]:
        yield f"recording    {row.recording_id} of tenant {row.tenant}: {_refusal(row)}"
    if (older := len(rows) - _RECORDINGS_SHOWN) > 0:
        yield f"             and {older:,} before these"
    if account.forgotten:
        yield f"             {account.forgotten:,} older ones were forgotten to make room"


def _refusal(row: Refused) -> str:
    times = f"{row.count:,} {'time' if row.count == 1 else 'times'}"
    return f"{times} {row.status} {row.code}, from {time_text(row.first_ms)} to {time_text(row.last_ms)}"


def _nothing(lives: list[Tombstone]) -> Iterator[str]:
    if not lives:
        yield "             never seen: nothing of it was ever stored here"
        yield (
            "             Is the id right, and the tenant? Did its page get as far as sending? A sender that"
            " is refused is told why; a body without any good line leaves a recording known here."
        )
    elif lives[-1].reason == "erased":
        yield "             it was here, and was erased"
    else:
        yield "             it was here, and expired; if events come for it again, it begins anew"


def _stored(row: RecordingRow) -> Iterator[str]:
    events = row.next_seq - 1
    yield f"began        {time_text(row.created_ms)}"
    yield f"last stored  {time_text(row.extent.stored_ms)}"
    seqs = f", sequenceIds 1 to {events}" if events else ""
    sizes = f"{in_bytes(row.extent.raw_size)}, {in_bytes(row.stored_bytes)} at rest"
    yield f"events       {events:,}{seqs}; {sizes}"
    if row.extent.last_ts is not None:
        yield f"latest       {time_text(row.extent.last_ts)}, by its page's clock"
    if not row.visible:
        yield "             not shown by the API: nothing but quarantined lines came for it"
    yield f"repeats      {counted(row.extent.duplicate_count, 'line')} came again, and were stored once"


def _clock(examiner: Examiner, row: RecordingRow) -> Iterator[str]:
    """How far its page's clock is from the server's. Blocking: reads headers."""
    holdings = Holdings.of(row)
    headers: list[BlockHeader] = []
    # What can't be read is told of where its place is, or as damage.
    for entry in holdings.published:
        with contextlib.suppress(CorruptSegment, ObjectMissing, StoreAway, OSError):
            headers += read_table(examiner.files, holdings.key(entry), entry.size)[1]
    for segment in holdings.own():
        path = examiner.shelf.path(holdings.name(segment.number), segment.state)
        with contextlib.suppress(OSError):
            headers += scan(examiner.disk, path, limit=segment.size).blocks
    skew = skew_of(headers)
    if not skew.blocks:
        return
    side = "before" if skew.behind_ms < 0 else "after"
    yield (
        f"arrival      {abs(skew.behind_ms) / 1000:,.1f} s {side} the time by its page's clock, in the median"
        f" over {counted(skew.blocks, 'block')}"
    )
    if skew.is_off:
        yield (
            "             that clock is off, or events came late or by an import; a read with `clock=server`"
            " moves their times by so much"
        )


async def _quarantined(examiner: Examiner, row: RecordingRow) -> AsyncIterator[str]:
    yield f"quarantined  {counted(row.extent.quarantine_count, 'line')}"
    blocks = await examiner.index.quarantine(tenant=row.tenant, recording_id=row.recording_id)
    reasons: Counter[str] = Counter()
    for block in blocks[:_BLOCKS_READ_MAX]:
        try:
            reasons += await examiner.blocking(_reasons, examiner, row.created_ms, block)
        except (CorruptSegment, ObjectMissing, StoreAway, OSError) as error:
            yield f"             {block.line_count:,} can't be read: {error}"
    for reason, count in reasons.most_common():
        yield f"             {count:,} for {reason!r}"
    if len(blocks) > _BLOCKS_READ_MAX:
        yield f"             and more in {len(blocks) - _BLOCKS_READ_MAX:,} other blocks"
    if blocks:
        yield f"             `rrd quarantine show {row.recording_id}` prints them"


def _reasons(examiner: Examiner, created_ms: int, block: QuarantineRow) -> Counter[str]:
    notes = notes_of(block, shelf=examiner.shelf, objects=examiner.files, created_ms=created_ms)
    return Counter(note.reason for note in notes)


def _places(examiner: Examiner, row: RecordingRow) -> Iterator[str]:
    """Where each range of it lies, in order. Blocking."""
    holdings = Holdings.of(row)
    lines = [(entry.first_number, _object(holdings, entry)) for entry in holdings.published]
    lines += [
        (
            entry.last_number,
            f"             segments {entry.first_number} to {entry.last_number} are to become an object",
        )
        for entry in holdings.planned
    ]
    lines += [(segment.number, _segment(examiner, holdings, segment)) for segment in holdings.own()]
    for _, line in sorted(lines):
        yield line


def _object(holdings: Holdings, entry: ObjectRow) -> str:
    local = ", local copies of its segments are still here" if entry.has_local else ""
    return (
        f"stored       {_range(entry.first_seq, entry.event_count)}{_between(entry.first_ts, entry.last_ts)}:"
        f" object {holdings.key(entry)}, {in_bytes(entry.size)},"
        f" segments {entry.first_number} to {entry.last_number},"
        f" published {time_text(entry.published_ms)}{local}"
    )


def _segment(examiner: Examiner, holdings: Holdings, segment: SegmentRow) -> str:
    path = examiner.shelf.path(holdings.name(segment.number), segment.state)
    what = "events"
    try:
        found = scan(examiner.disk, path, limit=segment.size)
        if found.identity is not None:
            what = _range(found.identity.first_seq, sum(block.event_count for block in found.blocks))
    except OSError as error:
        what = f"can't be read ({error.strerror})"
    times = _between(segment.first_ts, segment.last_ts)
    return f"stored       {what}{times}: segment {path}, {segment.state}, {in_bytes(segment.size)}"


def _removed(life: Tombstone) -> Iterator[str]:
    held = f"{counted(life.events, 'event')} and {in_bytes(life.size)}"
    began = f"the life that began {time_text(life.created_ms)}, with {held}"
    state = {
        "begun": "; that is not done: the daemon finishes it",
        "gone_here": "; its objects are still to go: the daemon removes them when it reaches the store",
        "done": f"; {counted(life.objects, 'object')} went",
    }[life.state]
    yield f"{life.reason:<12} {time_text(life.at_ms)}: {began}{state}"
    if life.reason == "erased":
        yield f"refused      {counted(life.late_lines, 'line')} since, which came for it too late"


def _range(first_seq: int, event_count: int) -> str:
    return f"events {first_seq} to {first_seq + event_count - 1}" if event_count else "no events"


def _between(first_ts: float | None, last_ts: float | None) -> str:
    if first_ts is None or last_ts is None:
        return ""
    return f", {time_text(first_ts)} to {time_text(last_ts)}"
