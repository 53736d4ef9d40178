"""``sequenceId`` and ``recordingId`` spliced into events, whose other bytes stay as they were sent.

An event's *body* is its line without the closing brace. It always has members (``type`` and
``timestamp``), so what follows can always begin with a comma::

    {"type":3,"timestamp":1,"data":{}   ,"sequenceId":7,"recordingId":"0b1c…"}

An event that carries a member of one of these names keeps its own and gets no second one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

Body = bytes | memoryview
"""A line without surrounding white space and the closing brace."""

OWN_SEQUENCE = 1
OWN_RECORDING = 2
"""Marks of an event, added up: it has a top-level ``sequenceId``, ``recordingId`` of its own."""


class Form(NamedTuple):
    """How events follow each other in a response."""

    opening: bytes
    between: bytes
    closing: bytes
    empty: bytes
    """The whole response if there is no event."""


JSON_ARRAY = Form(b"[", b",\n", b"]", b"[]")
NDJSON = Form(b"", b"\n", b"\n", b"")


class Splicer:
    """Adds the members of one recording to bodies."""

    __slots__ = ("_form", "_numbered", "_unnumbered", "tail_size")

    def __init__(self, recording_id: str, form: Form) -> None:
        member = b',"recordingId":' + msgspec.json.encode(recording_id)
        end = b"}" + form.between
        self._form = form
        self._unnumbered = {OWN_SEQUENCE: member + end, OWN_SEQUENCE | OWN_RECORDING: end}
        self._numbered = {
            marks: b',"sequenceId":%d' + rest.replace(b"%", b"%%")
            for marks, rest in ((0, member + end), (OWN_RECORDING, end))
        }
        self.tail_size = len(self._numbered[0])
        """About how many bytes each event gets."""

    def splice(self, bodies: Sequence[Body], seqs: Sequence[int], own: Sequence[int] | None) -> list[Body]:
        """Return the pieces of these events, two each, to be joined: a body, and what ends it.

        ``seqs``: arrival number of each. ``own``: marks of each; None if no event has any.
        """
        # Two pieces that one join puts together: 30 % faster on small events than a line at a time.
        pieces: list[Body] = [b""] * (2 * len(bodies))
        pieces[0::2] = bodies
        if own is None:
            tail = self._numbered[0]
            pieces[1::2] = [tail % seq for seq in seqs]
        else:
            pieces[1::2] = [
                self._unnumbered[marks] if marks & OWN_SEQUENCE else self._numbered[marks] % seq
                for seq, marks in zip(seqs, own, strict=True)
            ]
        return pieces

    def close(self, pieces: list[Body]) -> None:
        """End a response: ``pieces`` end with its last event."""
        pieces[-1] = bytes(pieces[-1]).removesuffix(self._form.between) + self._form.closing
