"""Where requests begin and end on a connection: aiohttp's parser, fed in pieces of one message each.

aiohttp's parser (llhttp) loses everything that it found in the bytes of one call when something in them is
wrong: the complete request before them, its own request where a chunk is bad, and then the reader of that
body waits for bytes that never come. What is lost depends on where TCP happened to cut. ``Framing`` stands
between the connection and the parser and cuts for itself: no call holds bytes of two messages, nor of a head
and its body. So each error belongs to one head or one body (RFC 9112, 2.2, 6.3 and 7.1):

- a bad head is answered once everything before it is (``HeadRefused``);
- a bad body is told to its reader, which keeps what came before (``BadFraming``).

It bounds heads as well: ``head_bytes_max`` counts request line and fields together (RFC 6585, 5).

Private surface of aiohttp that this and ``connection`` use, all held by ``tests/http/test_framing.py``: the
parser's methods, ``_ErrInfo``, some fields of ``RequestHandler``, and the wording of errors.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from aiohttp import HttpVersion, HttpVersion10, hdrs
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, LineTooLong
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import _ErrInfo
from multidict import CIMultiDict

from rrd.errors import BadFraming, RrdError

_HEAD_END = b"\r\n\r\n"
_EDGE_BYTES = len(_HEAD_END) - 1
_LENGTH_LIMIT = 1 << 63
_REQUEST_LINE = re.compile(rb"\S+ +\S+ +[^\s/]+/")
"""Method, target and a protocol's name: a request line without the last is HTTP/0.9 (RFC 1945, 4.1)."""
_ORIGIN = re.compile(rb"\r\norigin:[ \t]*([!-~]+)[ \t]*\r\n", re.IGNORECASE)

_Messages = list[tuple[RawRequestMessage | _ErrInfo, StreamReader]]

# The words of llhttp and of aiohttp's parser, in the order in which they are looked for.
_TOO_LARGE = ("Too many headers received",)
_VERSION = ("Invalid HTTP version", "Pause on PRI/Upgrade")
_NAMED_HEADER = re.compile(r"(?:Duplicate|Missing) '[A-Za-z-]+' header")
"""A header that may come once only, out of a list of aiohttp's own, and one that must come."""
_CODING = ("Invalid `Transfer-Encoding`", "invalid `Transfer-Encoding`", "Duplicate 'Transfer-Encoding'")


class HeadRefused(RrdError):
    """A request that is refused before it has a handler. ``origin``: the page's, as far as it is known."""

    def __init__(self, status: int, code: str, message: str, *, origin: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.origin = origin


def fail_body(body: StreamReader, failure: RrdError) -> None:
    """Let the reader of a body see ``failure``, and let go at once what it has not read.

    A reader that has read all of it sees nothing. One that was woken for more gets nothing, as at the end,
    and has to ask for the exception.
    """
    if body is not EMPTY_PAYLOAD and not body.at_eof() and body.exception() is None:
        body.set_exception(failure)
        if body._buffer:
            body._buffer.clear()
            body._buffer.append(b"")  # With nothing at all, a reader that was woken would wait again.
            body._size = body._buffer_offset = 0


class Framing:
    """Takes the place of a connection's parser. ``failed``: nothing more is taken from this connection."""

    __slots__ = (
        *("_parser", "_head_bytes_max", "_queue_max", "_head", "_has_line", "_body", "_body_bytes_left"),
        *("_edge", "_rest", "_segment", "_segment_start", "_is_paused", "failed"),
    )

    def __init__(self, parser: Any, *, head_bytes_max: int, queue_max: int) -> None:
        """``queue_max``: as many requests come out of one ``feed_data``; the rest waits for the next."""
        self._parser: Any | None = parser
        self._head_bytes_max = head_bytes_max
        self._queue_max = queue_max
        self._head = bytearray()
        """The head that is coming in."""
        self._has_line = False
        """Its request line is there."""
        self._body = EMPTY_PAYLOAD
        """The body that is coming in, or the last one."""
        self._body_bytes_left: int | None = None
        """None where chunks tell the end."""
        self._edge = b""
        """The last bytes before those that come next: a head's end may lie across."""
        self._rest = b""
        """What waits until the reader has room, or until requests have been handled."""
        self._segment, self._segment_start = b"", 0
        """What came in last, and where what wasn't parsed yet begins in it."""
        self._is_paused = False
        self.failed = False

    # What ``RequestHandler`` calls

    def feed_data(self, data: bytes) -> tuple[Sequence[Any], bool, bytes]:
        """Take in bytes; return the requests that begin in them, whether the protocol changes, and its bytes.

        Never raises ``HttpProcessingError``: where a head is wrong, the last request is an ``_ErrInfo``.
        """
        if self.failed:
            return (), False, b""
        found: _Messages = []
        if self._is_one_head(data):
            return found, *self._take_head(data, found)
        data, self._rest = self._rest + data, b""
        start = 0
        if self._is_paused:
            # The parser holds a part of the last piece back, which must not meet bytes of another message.
            self._is_paused = False
            self._parse(b"", found)
        while not (self._is_paused or self.failed or len(found) >= self._queue_max):
            start = self._skip_blank(data, start)
            limit = self._limit_of_piece(data, start)
            if limit <= start:
                break
            self._segment, self._segment_start = data, limit
            upgraded, tail = self._take(data[start:limit], found)
            start = limit
            if upgraded:
                self._segment = b""
                return found, True, tail + data[start:]
        self._segment = b""
        self._edge = (self._edge + data[max(start - _EDGE_BYTES, 0) : start])[-_EDGE_BYTES:]
        self._rest = data[start:] if not self.failed else b""
        return found, False, b""

    def message_consumed(self) -> None:
        """A request that was found is being handled."""
        if self._parser is not None:
            self._parser.message_consumed()

    def pause_reading(self) -> None:
        """The reader of the body has more than enough: stop until the next ``feed_data``."""
        self._is_paused = True
        if self._parser is not None:
            self._parser.pause_reading()

    def set_upgraded(self, value: bool) -> None:
        """An upgrade was declined: what comes is HTTP after all."""
        if self._parser is not None:
            self._parser.set_upgraded(value)

    # For ``Connection``

    def has_switched(self) -> None:
        """Another protocol is spoken to the end: the parser goes, and with it the last head."""
        self.failed = True
        self._parser = None

    def end(self) -> None:
        """Nothing more will come: tell the reader of the body that is under way."""
        self.failed = True
        if not self._body.is_eof() and self._body.exception() is None:
            self._body.set_exception(ConnectionResetError("the connection ended inside the body"))

    @property
    def held_bytes(self) -> int:
        """Bytes of a head and of what waits to be parsed. Bodies are their readers' matter."""
        return len(self._head) + len(self._rest)

    @property
    def has_part_of_head(self) -> bool:
        """A head has begun, and not ended."""
        return bool(self._head) and not self.failed

    def refuse_late_head(self) -> _ErrInfo:
        """Return the refusal of a head that takes too long (RFC 9110, 15.5.9). Nothing more is taken."""
        found: _Messages = []
        self._refuse(found, 408, "head_too_slow", "the rest of this request's head did not come in time")
        refusal = found[0][0]
        assert isinstance(refusal, _ErrInfo)
        self._head.clear()
        return refusal

    def give_up(self, failure: RrdError) -> None:
        """Take nothing more; the reader of the body that is under way sees ``failure``."""
        self.failed = True
        self._head.clear()
        self._rest = self._segment = b""
        fail_body(self._body, failure)

    def drop_body(self) -> None:
        """Let the body that is under way count as ended, so that nothing waits for its end."""
        if not self._body.is_eof():
            self._body.feed_eof()

    # Cutting

    def _is_one_head(self, data: bytes) -> bool:
        """Tell whether ``data`` is a whole head and nothing else, as most heads come: no need to cut it."""
        return not (
            self._head
            or self._rest
            or self._is_paused
            or len(data) > self._head_bytes_max
            or data.find(_HEAD_END) != len(data) - len(_HEAD_END)
            or _REQUEST_LINE.match(data) is None
            or not self._body.is_eof()
        )

    def _take_head(self, head: bytes, found: _Messages) -> tuple[bool, bytes]:
        """Take in what ``_is_one_head``; return whether the protocol changes, and its bytes."""
        self._edge = head[-_EDGE_BYTES:]
        self._head += head
        upgraded, tail = self._parse(head, found)
        self._has_line = bool(self._head)
        return upgraded, tail

    def _skip_blank(self, data: bytes, start: int) -> int:
        """Pass over line ends before a request line (RFC 9112, 2.2)."""
        if self._body.is_eof() and not self._head and data[start : start + 1] in {b"\r", b"\n"}:
            return len(data) - len(data[start:].lstrip(b"\r\n"))
        return start

    def _limit_of_piece(self, data: bytes, start: int) -> int:
        """Return where the next piece ends: at the end of ``data``, a request line, a head or a body."""
        is_head = self._body.is_eof()
        if is_head and not self._has_line:
            line_end = data.find(b"\n", start)
            return line_end + 1 if line_end >= 0 else len(data)
        if not is_head and self._body_bytes_left is not None:
            return min(start + self._body_bytes_left, len(data))
        if start == 0 and self._edge:
            across = (self._edge + data[:_EDGE_BYTES]).find(_HEAD_END)
            if across >= 0:
                return across + len(_HEAD_END) - len(self._edge)
        head_end = data.find(_HEAD_END, max(start - _EDGE_BYTES, 0))
        return head_end + len(_HEAD_END) if head_end >= 0 else len(data)

    def _take(self, piece: bytes, found: _Messages) -> tuple[bool, bytes]:
        if not self._body.is_eof():
            if self._body_bytes_left is not None:
                self._body_bytes_left -= len(piece)
            return self._parse(piece, found)
        fits = piece[: self._head_bytes_max - len(self._head)]
        self._head += fits
        upgraded, tail = self._parse(fits, found)
        if self.failed or not self._head:
            return upgraded, tail
        if len(fits) < len(piece):
            self._refuse(found, *_too_large(self._head_bytes_max))
        elif not self._has_line and piece.endswith(b"\n"):
            self._has_line = True
            if _REQUEST_LINE.match(self._head) is None:
                self._refuse(found, *_WRONG_VERSION)
        return False, b""

    def _parse(self, piece: bytes, found: _Messages) -> tuple[bool, bytes]:
        assert self._parser is not None
        try:
            messages, upgraded, tail = self._parser.feed_data(piece)
        except HttpProcessingError as error:
            self._on_error(error, found)
            return False, b""
        for found_message, body in messages:
            message = found_message
            if refusal := _refusal_of_request(message):
                self._refuse(found, *refusal)
                return False, b""
            self._begin_body(message, body)
            if message.upgrade:
                # The request stays as long as its socket: ``upgrade`` lets go of what it said.
                message = message._replace(headers=CIMultiDict(message.headers), raw_headers=())
            found.append((message, body))
        return upgraded, tail

    def _begin_body(self, message: RawRequestMessage, body: StreamReader) -> None:
        self._head.clear()
        self._has_line = False
        self._body = body
        self._body_bytes_left = None if message.chunked else int(message.headers.get(hdrs.CONTENT_LENGTH, 0))

    def _on_error(self, error: HttpProcessingError, found: _Messages) -> None:
        if self._body.is_eof():
            self._refuse(found, *_refusal_of_error(error, self._head, self._head_bytes_max))
        else:
            self.failed = True
            self._body.set_exception(BadFraming("a chunk of the body is malformed (RFC 9112, 7.1)"), error)

    def _refuse(self, found: _Messages, status: int, code: str, message: str) -> None:
        self.failed = True
        # The page's origin may stand in what came behind the error: its page is told what is wrong, too.
        known = bytes(self._head) + self._segment[self._segment_start :][: self._head_bytes_max]
        origin = _ORIGIN.search(known)
        refused = HeadRefused(status, code, message, origin=origin[1].decode("ascii") if origin else None)
        found.append((_ErrInfo(status, refused, message), EMPTY_PAYLOAD))


_Refusal = tuple[int, str, str]
_HTTP_2 = HttpVersion(2, 0)
_WRONG_VERSION: _Refusal = (505, "unsupported_version", "this server speaks HTTP/1.1 and HTTP/1.0")
_WRONG_CODING: _Refusal = (
    501,
    "unsupported_transfer_coding",
    "chunked is the one transfer coding known here; Content-Encoding says how a body is compressed",
)
_NO_HTTP = "this is no HTTP/1.1 request"
_WRONG_METHOD: _Refusal = (501, "unsupported_method", "this method is not known here")


def _too_large(head_bytes_max: int) -> _Refusal:
    return (
        431,
        "head_too_large",
        f"request line and header fields may have {head_bytes_max} bytes, and 128 fields, together",
    )


def _refusal_of_error(error: HttpProcessingError, head: bytearray, head_bytes_max: int) -> _Refusal:
    """Return how a head that the parser refuses is answered: by what is wrong, not by what follows it."""
    words = error.message
    if isinstance(error, LineTooLong) or words.startswith(_TOO_LARGE):
        return _too_large(head_bytes_max)
    if any(known in words for known in _VERSION):
        return _WRONG_VERSION
    if any(known in words for known in _CODING):
        return _WRONG_CODING
    if isinstance(error, BadHttpMethod) and b"A" <= head[:1] <= b"Z":
        return _WRONG_METHOD
    if named := _NAMED_HEADER.match(words):
        return 400, "bad_http", f"{_NO_HTTP}: {named[0]}"
    # llhttp says what is wrong in a line of its own. The lines after it, and aiohttp's own words, may quote
    # what was sent, and a key may stand there.
    told, is_llhttp, _ = words.removeprefix("Bad status line:\n").strip().partition(":\n\n")
    return 400, "bad_http", f"{_NO_HTTP}: {told}" if is_llhttp else _NO_HTTP


def _refusal_of_request(message: RawRequestMessage) -> _Refusal | None:
    """Return why a request that the parser takes is refused all the same."""
    if not HttpVersion10 <= message.version < _HTTP_2:
        return _WRONG_VERSION
    if message.method == hdrs.METH_CONNECT:
        return _WRONG_METHOD
    coding = message.headers.get(hdrs.TRANSFER_ENCODING)
    if coding is not None and coding.strip().lower() != "chunked":
        return _WRONG_CODING  # RFC 9112, 6.1
    if int(message.headers.get(hdrs.CONTENT_LENGTH, 0)) >= _LENGTH_LIMIT:
        return 400, "bad_http", f"{_NO_HTTP}: Content-Length overflow"
    return None
