"""The frame decoder: compressed chunks in, batches of checked events out.

Sans I/O: ``feed`` takes a chunk, ``next_batch`` does the work, a batch at a time. It returns None when
it wants more, or has done as much as its caller's pace allows (``is_behind``). Errors surface in
``next_batch``, after every batch that came before them, so the events before an oversized one come out first
wherever the body was cut. (Broken compression takes its last window along: the libraries give nothing back
when they raise.)

Memory: one chunk, one window, one batch, and at most one unfinished line or document. A document is
taken apart while its events are pulled.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator
from itertools import chain
from typing import Literal

from rrd.errors import BrokenEncoding, TooLarge, WireError, without_frames
from rrd.wire.careful import Rejected
from rrd.wire.codings import Encoding
from rrd.wire.documents import split_document
from rrd.wire.events import Batch, batch_of, check_text
from rrd.wire.forms import Form, form_of
from rrd.wire.layers import Layers
from rrd.wire.limits import Limits
from rrd.wire.lines import LineSplitter
from rrd.wire.turns import (
    EVENT_COST_BYTES,
    QUICK_CHECK_BYTES_MAX,
    QUICK_DOCUMENT_BYTES_MAX,
    WINDOW_COST_BYTES,
    WORK_BYTES,
    Pace,
    TakesLong,
)
from rrd.wire.values import leading_values

ContentKind = Literal["ndjson", "json", "unstated"]
"""How a text is laid out, as its type says; ``unstated``: the type says nothing, its first bytes decide."""


class Decoder:
    """Decodes one body, or the binary messages of one socket."""

    def __init__(
        self,
        *,
        kind: ContentKind,
        encoding: Encoding,
        limits: Limits,
        first_line: int = 1,
        line_bytes_max: int | None = None,
    ) -> None:
        """``line_bytes_max``: a longer line ends the body. None: as ``limits.event_bytes_max``."""
        self._limits = limits
        self._stated: Form | None = None if kind == "unstated" else kind
        self._form = self._stated
        self._head = b""
        """The beginning of a text whose form doesn't show yet."""
        self._inflater = Layers(
            encoding,
            zstd_window_bytes_max=limits.zstd_window_bytes_max,
            bytes_max=limits.body_bytes_max,
            ratio_max=limits.inflate_ratio_max,
        )
        self._chunks: deque[tuple[bytes, bool]] = deque()
        """Chunks that wait to be decoded, each with whether it ends a message."""
        self._chunk_bytes = 0
        """Bytes of the chunks that wait, and of the one that is being decoded, which has ``_taken_bytes``."""
        self._taken_bytes = 0
        self._windows: Iterator[bytes] = iter(())
        self._splitter = LineSplitter(line_bytes_max=line_bytes_max or limits.event_bytes_max)
        self._document = bytearray()
        self._events: Iterator[bytes] | None = None
        """Events out of documents, which wait to be put in a batch."""
        self._unchecked = b""
        """Whole lines of which no batch was made yet, from ``_unchecked_at`` on."""
        self._unchecked_at = 0
        self._is_check_long = False
        """The check of ``_unchecked`` was no quick work."""
        self._line = first_line
        self._body_line = first_line
        """The first line of this body or message, as far as lines were counted then."""
        self._events_bytes = 0
        """Of the document that they are taken out of."""
        self.is_at_work = False
        """For the caller, who sets it: a thread is in ``next_batch``, and nothing else may be called."""
        self.is_behind = False
        """The last ``next_batch`` stopped because of its pace: call it again before feeding more."""
        self._is_quick = False
        self._work_left: float = 0
        """Decoded bytes that this call may still take in."""
        self._message_ended = self._finished = self._cut_off = self._ended = False
        self._tried_bytes = 0
        self._error: WireError | None = None
        self._is_rest_saved = True
        """What an error left unfinished was looked through."""
        self._left_over = b""
        """What an error left of an unfinished line."""
        self._body_bytes = 0
        """Bytes after decompression, of this body or message."""

    def feed(self, chunk: bytes, *, ends_message: bool = False) -> None:
        """Take in one chunk. It waits as it is until ``next_batch`` gets to it.

        ``ends_message``: the chunk ends a WebSocket message. Where its compressed stream ends too, so
        does the line; inside one long stream only a line break or a whole event ends a line.
        """
        assert not self._finished
        self._chunks.append((chunk, ends_message))
        self._chunk_bytes += len(chunk)

    def finish(self, *, cut_off: bool = False) -> None:
        """No more will come. Then pull ``next_batch`` until None.

        ``cut_off``: the sender went away in the middle. Whole events still count; what is left over is
        set aside, and the last ``next_batch`` raises ``WireError``.
        """
        self._finished = True
        self._cut_off = cut_off

    def give_up(self) -> None:
        """Drop what is not decoded, and what is not whole. ``next_batch`` still gives the lines that are."""
        self._drop_chunks()
        self._chunk_bytes = self._taken_bytes = 0
        self._message_ended = False
        self._drop_unfinished()
        self._finished = self._ended = True

    def next_batch(self, *, flush: bool = False, pace: Pace = "whole") -> Batch | None:
        """Return the next batch, or None when more has to be fed (after ``finish``: at the end).

        With ``flush`` a batch comes as soon as there is one whole line, however small. Unless ``pace`` is
        ``whole``, None also comes where ``is_behind`` says that work is left; after a quick call
        that work needs a step, in a thread.
        Raises ``WireError`` where the bytes can't be decoded any further; every call after that does too.
        """
        self.is_behind = False
        self._is_quick = pace == "quick"
        self._work_left = WORK_BYTES[pace]
        if self._unchecked:
            return self._check()
        self._pull()
        ending = flush or (not self.is_behind and (self._finished or self._error is not None))
        waiting = self._splitter.whole_bytes
        if waiting >= self._limits.batch_bytes or (waiting and ending):
            if self._is_quick and waiting > QUICK_CHECK_BYTES_MAX:
                self.is_behind = True
                return None
            self._unchecked = self._splitter.take()
            return self._check()
        if self.is_behind:
            return None
        if self._left_over:
            rejected = (Rejected(self._line, "cut_off", self._left_over),)
            self._left_over = b""
            self._line += 1
            return batch_of(b"", [], limit_line=self._line, rejected=rejected)
        if self._error is not None:
            raise copy.copy(self._error)  # The one kept here must not come to know this frame.
        return None

    @property
    def waiting_bytes(self) -> int:
        """Decoded bytes of whole lines that no batch was made of yet."""
        return self._splitter.whole_bytes + len(self._unchecked) - self._unchecked_at

    @property
    def unfinished_bytes(self) -> int:
        """Decoded bytes of the line or document that has not ended."""
        return self._splitter.partial_bytes + len(self._document) + len(self._head)

    def held(self) -> tuple[int, int]:
        """Return what decoding holds now (chunks, windows, text), and ``unfinished_bytes`` of it."""
        unfinished_bytes = self._splitter.partial_bytes + len(self._document) + len(self._head)
        waiting_bytes = self._splitter.whole_bytes + len(self._unchecked) - self._unchecked_at
        held_bytes = self._chunk_bytes + self._inflater.memory_bytes + waiting_bytes + unfinished_bytes
        return held_bytes + self._events_bytes, unfinished_bytes

    @property
    def unfilled_bytes(self) -> int:
        """What the windows of its decompressors may take beside that with the next step."""
        return self._inflater.unfilled_bytes

    def _pull(self) -> None:
        """Work until a batch is full, everything fed is used up, or an error stops it."""
        if self._error is None:
            try:
                self._decode()
            except WireError as error:
                without_frames(error)
                self._error = error
                self._is_rest_saved = False
            else:
                return
        if not self._is_rest_saved:
            if self._puts_off():
                return
            self._is_rest_saved = True
            self._save_rest(self._error)
        while self._events is not None and self._splitter.whole_bytes < self._limits.batch_bytes:
            if self._work_left <= 0:
                self.is_behind = True
                return
            self._take_event(self._events)

    def _puts_off(self) -> bool:
        """Tell whether looking through what is unfinished is no work for a quick call."""
        self.is_behind = self._is_quick and self.unfinished_bytes > QUICK_DOCUMENT_BYTES_MAX
        return self.is_behind

    def _decode(self) -> None:
        may_be_dear = self._is_quick
        while self._splitter.whole_bytes < self._limits.batch_bytes:
            if self._work_left <= 0 or (may_be_dear and self._taken_bytes and self._inflater.is_dear):
                self.is_behind = True
                return
            may_be_dear = False
            if self._events is not None:
                self._take_event(self._events)
            elif (window := next(self._windows, None)) is not None:
                self._work_left -= len(window) + WINDOW_COST_BYTES
                may_be_dear = self._is_quick and not window  # An empty one tells of a stream that began.
                self._take(window)
            elif self._message_ended:
                if self._puts_off():
                    return
                self._work_left -= WINDOW_COST_BYTES
                self._message_ended = False
                self._end_message()
            elif self._chunks:
                may_be_dear = self._is_quick
                self._begin_chunk()
            elif self._finished and self._inflater.has_head:
                self._windows = self._inflater.flush()
            elif self._finished and not self._ended:
                if self._puts_off():
                    return
                self._ended = True
                self._end_body()
            else:
                self._chunk_bytes = self._taken_bytes = 0
                self._windows = iter(())  # It would keep the last chunk.
                return

    def _begin_chunk(self) -> None:
        self._chunk_bytes -= self._taken_bytes
        self._taken_bytes = len(self._chunks[0][0])
        chunk, self._message_ended = self._chunks.popleft()
        windows = self._inflater.windows(chunk)
        self._windows = chain(windows, self._inflater.flush()) if self._message_ended else windows

    def _take_event(self, events: Iterator[bytes]) -> None:
        event = next(events, None)
        if event is None:
            self._events, self._events_bytes = None, 0
        else:
            self._work_left -= len(event) + EVENT_COST_BYTES
            self._splitter.add_line(event)

    def _take(self, window: bytes) -> None:
        limit = self._limits.body_bytes_max
        if limit is not None and self._body_bytes + len(window) > limit:
            # What is within the limit counts, wherever the windows' edges fall.
            self._take_text(window[: limit - self._body_bytes])
            raise TooLarge(f"the body is larger than {limit} bytes when decoded")
        self._body_bytes += len(window)
        self._take_text(window)

    def _take_text(self, window: bytes) -> None:
        if self._form is None:
            window = self._head + window if self._head else window
            self._form = form_of(window, is_whole=False)
            self._head = window if self._form is None else b""
            if self._form is None:
                return
        if self._form == "ndjson":
            self._splitter.feed(window)
            return
        self._document += window
        limit = self._limits.document_bytes_max
        if len(self._document) > limit:
            raise TooLarge(
                f"the JSON document is larger than {limit} bytes; send NDJSON, which has no such limit"
            )

    def _end_message(self) -> None:
        self._body_bytes = 0
        self._body_line = self._line
        self._inflater.end_message()
        if self._inflater.at_boundary:
            self._end_line()
            return
        self._settle_form()
        # In the middle of a long stream a message's edge means nothing, but whole values have ended.
        # Looking again only when the rest has doubled keeps the work in proportion to what was sent.
        if self.unfinished_bytes < self._tried_bytes:
            self._tried_bytes = 0  # A line break has come since.
        if self.unfinished_bytes >= 2 * self._tried_bytes:
            self._end_values()
            self._tried_bytes = self.unfinished_bytes
        if not self.unfinished_bytes:
            self._form = self._stated

    def _settle_form(self) -> None:
        """Nothing more comes that could tell the form: take what there is."""
        if self._head:
            head, self._head = self._head, b""
            self._form = form_of(head, is_whole=True)
            self._take_text(head)

    def _end_values(self) -> None:
        if self._form == "ndjson":
            self._splitter.end_values()
            return
        limit = max((end for _, end in leading_values(self._document, b'{["')), default=0)
        if limit:
            self._take_apart(bytes(memoryview(self._document)[:limit]))
            del self._document[:limit]

    def _take_apart(self, document: bytes) -> None:
        self._events = split_document(document)
        self._events_bytes = len(document)

    def _end_line(self) -> None:
        self._tried_bytes = 0
        self._settle_form()
        self._splitter.end_line()
        if self._document:
            self._take_apart(bytes(self._document))
            self._document = bytearray()
        self._form = self._stated

    def _end_body(self) -> None:
        if self._cut_off:
            raise WireError("the body was cut off")
        if not self._inflater.at_boundary:
            raise BrokenEncoding("the compressed body ends before its stream does")
        self._end_line()

    def _save_rest(self, error: WireError) -> None:
        """After an error, save what is whole in the unfinished line or document."""
        if not isinstance(error, TooLarge) and (rest := self._inflater.rest()):
            self._take_text(rest)
        self._drop_chunks()
        if isinstance(error, TooLarge):
            self._drop_unfinished()
            return
        self._settle_form()
        if self._document:
            self._end_line()
        else:
            self._splitter.end_values()
            rest = self._splitter.drop_partial()
            self._left_over = b"" if rest.isspace() else rest

    def _check(self) -> Batch | None:
        """Make a batch of the lines that wait, or of the first of them; None if that is no quick work."""
        payload, start = self._unchecked, self._unchecked_at
        if self._is_quick and (self._is_check_long or len(payload) - start > QUICK_CHECK_BYTES_MAX):
            self.is_behind = True
            return None
        try:
            batch, end = check_text(
                payload, start, self._limits, first_line=self._line, is_quick=self._is_quick
            )
        except TakesLong:
            self.is_behind = self._is_check_long = True
            return None
        self._line = batch.limit_line
        self._unchecked, self._unchecked_at = (b"", 0) if end == len(payload) else (payload, end)
        self._is_check_long = self._is_check_long and bool(self._unchecked)
        self._check_line_count()
        return batch

    def _check_line_count(self) -> None:
        limit = self._limits.body_lines_max
        if limit is None or self._line - self._body_line <= limit or isinstance(self._error, TooLarge):
            return
        # What was decoded by now is given up, but for the batch that tells.
        self._error = TooLarge(f"the body has more than {limit} lines, blank ones included (body_lines_max)")
        self._is_rest_saved = True
        self._unchecked, self._unchecked_at = b"", 0
        self._events, self._events_bytes = None, 0
        self._splitter.take()
        self._drop_unfinished()

    def _drop_chunks(self) -> None:
        """Windows are memory, and the answer may take its time."""
        self._chunks.clear()
        self._windows = iter(())
        self._inflater = Layers("identity", zstd_window_bytes_max=0)

    def _drop_unfinished(self) -> None:
        self._splitter.drop_partial()
        self._document = bytearray()
        self._head = b""
