"""Events moved in time: ``timestamp`` renumbered, ``originalTimestamp`` added, all else as it was sent.

Where the timestamp stands is found without parsing in almost every event: at its start or at its end, and
nowhere else in it. Others (members of our names, escapes in names, several of one name) are walked member by
member, by brackets and quotes alone. So nothing here recurses, however deep an event nests.

Each of ``timestamp``, ``originalTimestamp``, ``sequenceId`` and ``recordingId`` comes out exactly once at the
top level. If an event has several of one name, the last one counts, as it does for parsers. A ``sequenceId``
or ``recordingId`` of its own stays; an ``originalTimestamp`` of its own gives way to what is replaced here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from rrd.playback.compose import Exact, exact, json_number, total
from rrd.playback.splice import Body, Form
from rrd.wire.values import Member, members, plain_name

_AT_START = re.compile(rb'\{(?:"type":[0-9]++,)?"timestamp":(-?[0-9]++)(?=,|\Z)')
_AT_END = re.compile(rb'"timestamp":(-?[0-9]++)\Z')
_NAME_END = b'imestamp"'
"""What both names of times end with."""
_ESCAPE = b"\\u00"
"""What a letter of a name would be escaped with (RFC 8259, section 7)."""

_TIME, _ORIGINAL, _SEQUENCE, _RECORDING = b"timestamp", b"originalTimestamp", b"sequenceId", b"recordingId"
_OURS = {_TIME, _ORIGINAL, _SEQUENCE, _RECORDING}

_TIMES_SIZE = 52
"""About what the two times and the number add."""

_COPIED_BYTES_MAX = 64 << 10
"""A body of this size is put together anew; a larger one goes out in slices, so that none is held twice."""


class Retimer:
    """Moves the events of one recording by ``shift`` ms, and adds the members that readers expect.

    ``keeps``: tells of an event's line whether it is kept; None keeps all.
    """

    def __init__(
        self,
        recording_id: str,
        form: Form,
        shift: Exact,
        *,
        keeps: Callable[[bytes], bool] | None = None,
    ) -> None:
        self._form = form
        self._shift = shift
        self._keeps = keeps
        self._recording = b',"recordingId":' + msgspec.json.encode(recording_id)
        self._end = b"}" + form.between
        self.tail_size = len(self._recording) + len(self._end) + _TIMES_SIZE
        """About how many bytes each event gets."""

    def splice(self, bodies: Sequence[Body], seqs: Sequence[int], own: Sequence[int] | None) -> list[Body]:
        """Return the pieces of these events, to be joined; the last one ends an event.

        ``own``: which have members of our names (``splice``); None if none has.
        """
        pieces: list[Body] = []
        for index, (lent, seq) in enumerate(zip(bodies, seqs, strict=True)):
            body = bytes(lent)
            if self._keeps is not None and not self._keeps(body + b"}"):
                continue
            found = None if own is not None and own[index] else _plain_time(body)
            if found is None:
                pieces += self._walked(body, seq)
                continue
            start, limit = found.span(1)
            original = found[1]
            tail = b',"originalTimestamp":%b,"sequenceId":%d' % (original, seq) + self._recording + self._end
            pieces += _replaced(body, start, limit, self._moved(original))
            pieces.append(tail)
        return pieces

    def close(self, pieces: list[Body]) -> None:
        """End a response: ``pieces`` end with its last event."""
        pieces[-1] = bytes(pieces[-1]).removesuffix(self._form.between) + self._form.closing

    def _moved(self, original: bytes) -> bytes:
        return json_number(total(time_of(original), self._shift))

    def _walked(self, body: bytes, seq: int) -> list[Body]:
        found = [(member, plain_name(member.name)) for member in members(body, 0)]
        last = {name: index for index, (_, name) in enumerate(found) if name in _OURS}
        pieces: list[Body] = [b"{"]
        text = memoryview(body)
        original = b""
        for index, (member, name) in enumerate(found):
            if name == _ORIGINAL or last.get(name, index) != index:
                continue
            limit = len(body) if member.limit is None else member.limit
            start = _member_start(body, member)
            if len(pieces) > 1:
                pieces.append(b",")
            if name == _TIME:
                original = body[member.value : limit]
                pieces += (text[start : member.value], self._moved(original))
            else:
                pieces.append(text[start:limit])
        tail = b',"originalTimestamp":' + original
        if _SEQUENCE not in last:
            tail += b',"sequenceId":%d' % seq
        if _RECORDING not in last:
            tail += self._recording
        if len(body) <= _COPIED_BYTES_MAX:
            pieces = [b"".join(pieces)]
        return [*pieces, tail + self._end]


def time_of(text: bytes) -> Exact:
    """Return the time that a JSON number says, ms."""
    return int(text) if text.lstrip(b"-").isdigit() else exact(float(text))


def _plain_time(body: bytes) -> re.Match[bytes] | None:
    """Find the one ``timestamp`` of an event whose place shows at once; None if it takes a walk."""
    at = body.find(_NAME_END)
    if body.find(_NAME_END, at + 1) >= 0 or _ESCAPE in body:
        return None
    # A name that follows a comma or brace at the end of an event is its own: what is around it ends here.
    if found := _AT_START.match(body):
        return found
    if body[at - 3 : at] in {b',"t', b'{"t'}:
        return _AT_END.match(body, at - 2)
    return None


def _member_start(body: bytes, member: Member) -> int:
    """Return where a member's name begins, without the comma before it."""
    return body.index(b'"', member.start)


def _replaced(body: bytes, start: int, limit: int, text: bytes) -> tuple[Body, ...]:
    if len(body) <= _COPIED_BYTES_MAX:
        return (body[:start] + text + body[limit:],)
    whole = memoryview(body)
    return whole[:start], text, whole[limit:]
