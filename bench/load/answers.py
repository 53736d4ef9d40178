"""The client's half of HTTP/1.1, as little of it as a load generator needs: answers out of bytes."""

from __future__ import annotations

import re
from typing import NamedTuple

HEAD_BYTES_MAX = 64 << 10

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})\b")
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[^\r\n]*close", re.IGNORECASE)


class Answer(NamedTuple):
    """One answer, whole."""

    status: int
    body: bytes
    is_last: bool
    """The server takes no more requests over this connection."""


class NoAnswer(Exception):
    """The bytes are no HTTP that we know."""


class AnswerReader:
    """Bytes from a server → its answers (RFC 9112, 6)."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Answer]:
        """Return the whole answers so far, without those that only say that more will come (1xx).

        Raises ``NoAnswer``. An answer that only the connection's end ends is taken for empty.
        """
        self._rest += data
        answers: list[Answer] = []
        while (limit := self._rest.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._rest[:limit])
            status = _STATUS.match(head)
            if status is None:
                raise NoAnswer(f"this is no HTTP: {head[:80]!r}")
            start = limit + 4
            if _CHUNKED.search(head):
                chunks = _chunks(self._rest, start)
                if chunks is None:
                    break
                body, size = chunks
            else:
                length = _LENGTH.search(head)
                size = int(length[1]) if length else 0
                body = bytes(self._rest[start : start + size])
                if len(body) < size:
                    break
            del self._rest[: start + size]
            if not status[1].startswith(b"1"):
                answers.append(Answer(int(status[1]), body, _CLOSE.search(head) is not None))
        else:
            if len(self._rest) > HEAD_BYTES_MAX:
                raise NoAnswer("the head of an answer doesn't end")
        return answers


def _chunks(data: bytearray, start: int) -> tuple[bytes, int] | None:
    """Return a chunked body, and its size with all that is around it; None if it isn't whole."""
    body = bytearray()
    at = start
    while (line := data.find(b"\r\n", at)) >= 0:
        try:
            size = int(data[at:line].partition(b";")[0], 16)
        except ValueError:
            raise NoAnswer("a chunk has no size") from None
        at = line + 2
        if size == 0:
            # Fields may follow; an empty line ends it all.
            end = data.find(b"\r\n\r\n", line)
            return (bytes(body), end + 4 - start) if end >= 0 else None
        body += data[at : at + size]
        at += size + 2
    return None
