"""The binary messages of one socket: one stream, in the form and encoding that its client declared.

Most sockets send text alone, so there is a decoder, which takes 3 KiB, from the first of them on.
"""

from __future__ import annotations

from rrd.http.oversize import HEAD_BYTES_KEPT
from rrd.wire.codings import Encoding
from rrd.wire.decoder import ContentKind, Decoder
from rrd.wire.limits import Limits


class BinaryMessages:
    """Use ``decoder`` for what was fed."""

    __slots__ = ("_encoding", "_kind", "_limits", "decoder", "head")

    def __init__(self, *, kind: ContentKind, encoding: Encoding, limits: Limits) -> None:
        self._kind, self._encoding, self._limits = kind, encoding, limits
        self.decoder: Decoder | None = None
        """None before the first message."""
        self.head = b""
        """How the last one begins, as it was sent; empty if nothing of it is under way."""

    def feed(self, message: bytes) -> Decoder:
        """Take a message in; return the decoder, which holds it."""
        self.head = bytes(message[:HEAD_BYTES_KEPT])
        if self.decoder is None:
            self.decoder = Decoder(kind=self._kind, encoding=self._encoding, limits=self._limits)
        self.decoder.feed(message, ends_message=True)
        return self.decoder

    def finish(self) -> None:
        """No more will come. Streaming compressors are seldom ended properly before a close, so a stream that
        is cut off is no error.
        """
        if self.decoder is not None:
            self.decoder.finish(cut_off=True)

    def give_up(self) -> None:
        """Drop what is not whole."""
        if self.decoder is not None:
            self.decoder.give_up()

    @property
    def has_waiting(self) -> bool:
        """Whole lines wait of which no batch was made yet."""
        return self.decoder is not None and self.decoder.waiting_bytes > 0

    def held(self) -> tuple[int, int]:
        """Return what decoding holds now, and the unfinished part of it, bytes."""
        return (0, 0) if self.decoder is None else self.decoder.held()

    def forget_head(self) -> None:
        """Let go of the last message's beginning once all of it is stored: thousands may be open."""
        if self.head and not (self.decoder and (self.decoder.unfinished_bytes or self.decoder.waiting_bytes)):
            self.head = b""
