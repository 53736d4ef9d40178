"""The frame decoder: compressed chunks in, batches of checked events out.

Sans I/O: ``feed`` takes a chunk, ``next_batch`` does the work, a batch at a time, and returns None when
it wants more. Errors surface in ``next_batch``, after every batch that came before them, so the
events before a damaged or oversized one come out first wherever the body was cut.

Memory: one chunk, one window, one batch, and at most one unfinished line or document.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from rrd.errors import BrokenEncoding, TooLarge, WireError
from rrd.wire.documents import split_document
from rrd.wire.events import Batch, Rejected, check_lines, is_value
from rrd.wire.inflate import Encoding, inflater
from rrd.wire.limits import Limits
from rrd.wire.lines import LineSplitter

ContentKind = Literal["ndjson", "json"]


class Decoder:
    """Decodes one body, or the binary messages of one socket."""

    def __init__(self, *, kind: ContentKind, encoding: Encoding, limits: Limits, first_line: int = 1) -> None:
        self._limits = limits
        self._is_document = kind == "json"
        self._inflater = inflater(encoding, zstd_window_bytes_max=limits.zstd_window_bytes_max)
        self._windows: Iterator[bytes] = iter(())
        self._splitter = LineSplitter(line_bytes_max=limits.event_bytes_max)
        self._document: list[bytes] = []
        self._document_bytes = 0
        self._lines: list[bytes] = []
        """Events out of a document, which wait to be checked."""
        self._line = first_line
        self._message_ended = False
        self._finished = False
        self._cut_off = False
        self._tried_bytes = 0
        self._error: WireError | None = None
        self.decoded_bytes = 0
        """Bytes after decompression, so far."""

    def feed(self, chunk: bytes, *, ends_message: bool = False) -> None:
        """Take in one chunk. Call only when ``next_batch`` has returned None.

        ``ends_message``: the chunk ends a WebSocket message. Where its compressed stream ends too, so
        does the line; inside one long stream only a line break or a whole event ends a line.
        """
        assert not self._finished
        self._windows = self._inflater.windows(chunk)
        self._message_ended = ends_message

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
        if self._error is None:
            try:
                self._pull()
            except WireError as error:
                self._error = error
        ending = self._finished or flush or self._error is not None
        if self._splitter.whole_bytes and (ending or self._splitter.whole_bytes >= self._limits.batch_bytes):
            return self._check_whole_lines()
        if self._lines:
            return self._check_document_lines()
        if self._error is not None:
            return self._give_up(self._error)
        return None

    @property
    def waiting_bytes(self) -> int:
        """Decoded bytes of whole lines that no batch was made of yet."""
        return self._splitter.whole_bytes

    @property
    def unfinished_bytes(self) -> int:
        """Decoded bytes of the line or document that has not ended."""
        return self._splitter.partial_bytes + self._document_bytes

    def _pull(self) -> None:
        """Decode until a batch is full or the chunk is used up."""
        while self._splitter.whole_bytes < self._limits.batch_bytes and not self._lines:
            window = next(self._windows, None)
            if window is not None:
                self._take(window)
            elif self._message_ended:
                self._message_ended = False
                self._end_message()
            elif self._finished:
                return self._end_body()
            else:
                return None
        return None

    def _take(self, window: bytes) -> None:
        self.decoded_bytes += len(window)
        limit = self._limits.body_bytes_max
        if limit is not None and self.decoded_bytes > limit:
            raise TooLarge(f"the body is larger than {limit} bytes when decoded")
        if not self._is_document:
            self._splitter.feed(window)
            return
        self._document.append(window)
        self._document_bytes += len(window)
        if self._document_bytes > self._limits.document_bytes_max:
            limit = self._limits.document_bytes_max
            raise TooLarge(
                f"the JSON document is larger than {limit} bytes; send NDJSON, which has no such limit"
            )

    def _end_message(self) -> None:
        if self._inflater.at_boundary:
            self._end_line()
            return
        # In the middle of a long stream a message's edge means nothing, unless a whole event ends
        # there. Trying again only when the rest has doubled keeps the work in proportion to what was sent.
        if self._is_document:
            rest = b"".join(self._document)
            self._document = [rest]
        else:
            rest = self._splitter.partial()
        if len(rest) >= 2 * self._tried_bytes and rest.rstrip()[-1:] in {b"}", b"]", b'"'}:
            if is_value(rest):
                self._end_line()
            else:
                self._tried_bytes = len(rest)

    def _end_line(self) -> None:
        self._tried_bytes = 0
        self._splitter.end_line()
        if self._document:
            self._lines = split_document(b"".join(self._document))
            self._document = []
            self._document_bytes = 0

    def _end_body(self) -> None:
        if self._cut_off:
            raise WireError("the body was cut off")
        if not self._inflater.at_boundary:
            raise BrokenEncoding("the compressed body ends before its stream does")
        self._end_line()

    def _check_whole_lines(self) -> Batch:
        payload = self._splitter.take()
        return self._counted(
            check_lines(payload[:-1].split(b"\n"), self._limits, first_line=self._line, payload=payload)
        )

    def _check_document_lines(self) -> Batch:
        lines, self._lines = self._lines, []
        return self._counted(check_lines(lines, self._limits, first_line=self._line))

    def _counted(self, batch: Batch) -> Batch:
        self._line = batch.limit_line
        return batch

    def _give_up(self, error: WireError) -> Batch:
        """After an error: first what can be saved of the unfinished line or document, then the error."""
        rest = self._splitter.drop_partial() or b"".join(self._document)
        self._document = []
        self._document_bytes = 0
        if not rest or isinstance(error, TooLarge):
            raise error
        if self._is_document:
            return self._counted(check_lines(split_document(rest), self._limits, first_line=self._line))
        if is_value(rest):
            return self._counted(check_lines([rest], self._limits, first_line=self._line))
        self._line += 1
        rejected = (Rejected(self._line - 1, "cut_off", rest),)
        return Batch(b"", 0, 0.0, 0.0, True, False, (), rejected, self._line)
