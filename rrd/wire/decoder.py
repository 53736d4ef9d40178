"""The frame decoder: compressed chunks in, batches of checked events out.

Sans I/O: ``feed`` takes a chunk, ``next_batch`` does the work, a batch at a time, and returns None when
it wants more. Errors surface in ``next_batch``, after every batch that came before them, so the
events before an oversized one come out first wherever the body was cut. (Broken compression takes its
last window along: the libraries give nothing back when they raise.)

Memory: one chunk, one window, one batch, and at most one unfinished line or document. A document is
taken apart while its events are pulled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain
from typing import Literal

from rrd.errors import BrokenEncoding, TooLarge, WireError
from rrd.wire.documents import split_document
from rrd.wire.events import Batch, Line, Rejected, check_lines, split_lines
from rrd.wire.forms import Form, form_of
from rrd.wire.inflate import Encoding
from rrd.wire.layers import Layers
from rrd.wire.limits import Limits
from rrd.wire.lines import LineSplitter
from rrd.wire.values import leading_values

ContentKind = Literal["ndjson", "json", "unstated"]
"""How a text is laid out, as its type says; ``unstated``: the type says nothing, its first bytes decide."""

_LINES_MAX = 1 << 14
"""Lines in a batch, at most. Events are so long that their bytes decide; lines of junk may be
one byte long, and each takes a microsecond and a hundred bytes to set aside."""


class Decoder:
    """Decodes one body, or the binary messages of one socket."""

    def __init__(self, *, kind: ContentKind, encoding: Encoding, limits: Limits, first_line: int = 1) -> None:
        self._limits = limits
        self._stated: Form | None = None if kind == "unstated" else kind
        self._form = self._stated
        self._head = b""
        """The beginning of a text whose form doesn't show yet."""
        self._inflater = Layers(
            encoding,
            zstd_window_bytes_max=limits.zstd_window_bytes_max,
            bytes_max=limits.body_bytes_max,
        )
        self._chunks: deque[tuple[bytes, bool]] = deque()
        """Chunks that wait to be decoded, each with whether it ends a message."""
        self._windows: Iterator[bytes] = iter(())
        self._splitter = LineSplitter(line_bytes_max=limits.event_bytes_max)
        self._document = bytearray()
        self._events: Iterator[bytes] | None = None
        """Events out of documents, which wait to be put in a batch."""
        self._unchecked: list[Line] = []
        """Lines of a batch that ended early."""
        self._line = first_line
        self._message_ended = False
        self._finished = False
        self._cut_off = False
        self._ended = False
        self._tried_bytes = 0
        self._error: WireError | None = None
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

    def finish(self, *, cut_off: bool = False) -> None:
        """No more will come. Then pull ``next_batch`` until None.

        ``cut_off``: the sender went away in the middle. Whole events still count; what is left over is
        set aside, and the last ``next_batch`` raises ``WireError``.
        """
        self._finished = True
        self._cut_off = cut_off

    def next_batch(self, *, flush: bool = False) -> Batch | None:
        """Return the next batch, or None when more has to be fed (after ``finish``: at the end).

        With ``flush`` a batch comes as soon as there is one whole line, however small.
        Raises ``WireError`` where the bytes can't be decoded any further; every call after that does too.
        """
        if self._unchecked:
            lines, self._unchecked = self._unchecked, []
            return self._check(lines)
        self._pull()
        waiting, ending = self._splitter.whole_bytes, self._finished or flush or self._error is not None
        if waiting >= self._limits.batch_bytes or (waiting and ending):
            payload = self._splitter.take()
            return self._check(split_lines(payload), payload)
        if self._left_over:
            rejected = (Rejected(self._line, "cut_off", self._left_over),)
            self._left_over = b""
            self._line += 1
            return Batch(b"", 0, 0.0, 0.0, True, False, (), rejected, self._line)
        if self._error is not None:
            raise self._error
        return None

    @property
    def waiting_bytes(self) -> int:
        """Decoded bytes of whole lines that no batch was made of yet."""
        return self._splitter.whole_bytes + sum(map(len, self._unchecked)) + len(self._unchecked)

    @property
    def unfinished_bytes(self) -> int:
        """Decoded bytes of the line or document that has not ended."""
        return self._splitter.partial_bytes + len(self._document) + len(self._head)

    def _pull(self) -> None:
        """Work until a batch is full, everything fed is used up, or an error stops it."""
        if self._error is None:
            try:
                self._decode()
            except WireError as error:
                self._error = error
                self._save_rest(error)
            else:
                return
        while self._events is not None and self._splitter.whole_bytes < self._limits.batch_bytes:
            self._take_event(self._events)

    def _decode(self) -> None:
        while self._splitter.whole_bytes < self._limits.batch_bytes:
            if self._events is not None:
                self._take_event(self._events)
            elif (window := next(self._windows, None)) is not None:
                self._take(window)
            elif self._message_ended:
                self._message_ended = False
                self._end_message()
            elif self._chunks:
                chunk, self._message_ended = self._chunks.popleft()
                self._windows = self._inflater.windows(chunk)
                if self._message_ended:
                    self._windows = chain(self._windows, self._inflater.flush())
            elif self._finished and self._inflater.has_head:
                self._windows = self._inflater.flush()
            elif self._finished and not self._ended:
                self._ended = True
                self._end_body()
            else:
                return

    def _take_event(self, events: Iterator[bytes]) -> None:
        event = next(events, None)
        if event is None:
            self._events = None
        else:
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
        documents = leading_values(self._document, b'{["')
        if documents:
            limit = documents[-1][1]
            self._events = split_document(bytes(memoryview(self._document)[:limit]))
            del self._document[:limit]

    def _end_line(self) -> None:
        self._tried_bytes = 0
        self._settle_form()
        self._splitter.end_line()
        if self._document:
            self._events = split_document(bytes(self._document))
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
        if isinstance(error, TooLarge):
            self._splitter.drop_partial()
            self._document = bytearray()
            self._head = b""
            return
        self._settle_form()
        if self._document:
            self._end_line()
        else:
            self._splitter.end_values()
            rest = self._splitter.drop_partial()
            self._left_over = b"" if rest.isspace() else rest

    def _check(self, lines: list[Line], payload: bytes | None = None) -> Batch:
        if len(lines) > _LINES_MAX:
            lines, self._unchecked, payload = lines[:_LINES_MAX], lines[_LINES_MAX:], None
        batch = check_lines(lines, self._limits, first_line=self._line, payload=payload, may_end_early=True)
        self._unchecked = lines[batch.limit_line - self._line :] + self._unchecked
        self._line = batch.limit_line
        return batch
