"""A recording's events as lines, just as their senders wrote them, in a replayer's order.

What the API answers is for programs that read JSON: white space around an event goes. An export is for
keeping, and what is imported again must be recognised as what it was; so here a line keeps every byte
that is stored.

With ``ids`` each event gets ``sequenceId`` and ``recordingId`` as the API gives them, marked by a tab in
front (``reading`` says why)::

    {"type":3,"timestamp":1,"data":{}<TAB>,"sequenceId":7,"recordingId":"0b1c…"}

An event with a ``recordingId`` of its own keeps it and gets no second one. If that is not where it is from, a
member ``inRecording`` says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from rrd.nesting import outermost, without_lone_surrogates
from rrd.playback.blocks import Blocks
from rrd.playback.bodies import Events
from rrd.playback.order import Merge
from rrd.playback.splice import OWN_RECORDING, OWN_SEQUENCE
from rrd.playback.table import PlaybackTable

IN_RECORDING = b"inRecording"

_SPACE = b" \t\r"


class _Own(msgspec.Struct):
    recording: msgspec.Raw = msgspec.field(name="recordingId", default=msgspec.Raw())
    window: msgspec.Raw = msgspec.field(name="windowId", default=msgspec.Raw())


class _Session(msgspec.Struct):
    recording_id: object = None
    replay_id: object = None
    replay: object = msgspec.field(name="replayId", default=None)
    session_id: object = None
    session: object = msgspec.field(name="sessionId", default=None)


_own = msgspec.json.Decoder(_Own).decode
_session = msgspec.json.Decoder(_Session).decode


def own_recording(line: bytes) -> str | None:
    """Return an event's ``recordingId``; None if it has none, or it is no string."""
    try:
        return msgspec.json.decode(_own_members(line).recording, type=str)
    except ValueError:  # msgspec's own errors are ValueErrors.
        return None


def own_session(line: bytes) -> str | None:
    """Return the session or recording that an event names in a member that other tools add; None if none."""
    try:
        members = _session(without_lone_surrogates(line))
    except (ValueError, RecursionError):
        return None
    texts = (getattr(members, name) for name in _Session.__struct_fields__)
    return next((text for text in texts if isinstance(text, str) and text), None)


def own_window(line: bytes) -> bytes:
    """Return an event's ``windowId`` as JSON, which PostHog writes; nothing if it has none."""
    try:
        return bytes(_own_members(line).window)
    except ValueError:
        return b""


def _own_members(line: bytes) -> _Own:
    """Raises ``ValueError`` for what is no event."""
    text = without_lone_surrogates(line)
    try:
        return _own(text)
    except RecursionError:
        return _own(outermost(text))


def read_lines(table: PlaybackTable, *, ids: bool, bytes_max: int) -> Iterator[list[bytes]]:
    """Yield the lines of a table's range without their LFs, by (timestamp, arrival), many at a time.
    Blocking.

    ``bytes_max``: budget for decoded blocks (``playback.order``); besides, about three times the largest
    block. Raises ``CorruptSegment`` where a block is not what was acked, ``OSError`` or ``StoreAway`` if it
    can't be read; everything yielded before is good.
    """
    blocks = Blocks(table, whole_lines=True)
    merge = Merge(
        table.first_ts, table.last_ts, load=blocks.load, cost_of=blocks.cost_of, bytes_max=bytes_max
    )
    for run in merge.runs():
        if run.bodies:
            # None is copied: whole lines are bytes already.
            lines = list(map(bytes, run.bodies))
            yield _with_ids(lines, run, table.recording_id) if ids else lines
        # Not to be kept alive while the next block is decoded.
        del run


def _with_ids(lines: list[bytes], events: Events, recording_id: str) -> list[bytes]:
    own: Sequence[int] = events.own or bytes(len(lines))
    name = msgspec.json.encode(recording_id)
    member = b',"recordingId":' + name
    made = []
    for line, seq, marks in zip(lines, events.seqs, own, strict=True):
        added = b"" if marks & OWN_SEQUENCE else b',"sequenceId":%d' % seq
        if not marks & OWN_RECORDING:
            added += member
        elif own_recording(line) != recording_id:
            added += b',"%s":%s' % (IN_RECORDING, name)
        made.append(_add(line, added))
    return made


def _add(line: bytes, members: bytes) -> bytes:
    if not members:
        return line
    event = line.rstrip(_SPACE)
    return b"".join((event[:-1], b"\t", members, b"}", line[len(event) :]))
