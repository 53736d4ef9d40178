"""What a client offers of permessage-deflate, and what is agreed on (RFC 7692, 7.1).

A client offers forms of the extension, the one that it likes best first, and the first that can be kept is
agreed on. An offer with a parameter that isn't known, stands there twice, or has a value that it must not
have is declined (7.1); a header that can't be read at all has none that could be kept. What is declined costs
compression, and never the socket.

A client that lets the server choose its window (``client_max_window_bits``, as browsers of Chromium's kind
do) is given 8 KiB, so that a socket takes a quarter of the memory for it. Four recorded pages then take 9,
12, 20 and 27 % more bytes on the wire than with 32 KiB (with 16 KiB: 1 to 8 %). A client that doesn't
(Firefox) must not be asked (7.1.2.2), and the server keeps 32 KiB for it.

What the server says is never compressed: it is short, and a message may be sent as it is (6). So what the
client asks of the server's side is granted, whatever it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from rrd.http.windows import BITS_MAX

WINDOW_BITS = 13
"""What the client's window is to be: 2 ** 13 bytes, if the client lets the server choose."""

_NAME = "permessage-deflate"
_HEADER_CHARACTERS_MAX = 4 << 10
"""A longer header is no browser's."""

_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAMETER = re.compile(rf'[ \t]*;[ \t]*({_WORD})(?:[ \t]*=[ \t]*(?:({_WORD})|"({_WORD})"))?')
_EXTENSION = re.compile(rf"[ \t]*({_WORD})((?:{_PARAMETER.pattern})*)[ \t]*")
"""An extension with its parameters (RFC 6455, 9.1). A quoted value has to be a token, too."""

_BITS = re.compile("[89]|1[0-5]")
"""8 to 15, without leading zeros (7.1.2)."""


class Agreed(NamedTuple):
    """What is agreed on for one socket."""

    answer: str
    """The value of Sec-WebSocket-Extensions in the response."""
    window_bytes: int
    """How far back the client's messages may refer; 0: not beyond their own begin."""


def agree(headers: Iterable[str]) -> Agreed | None:
    """Return what is agreed on, given all ``Sec-WebSocket-Extensions``; None: nothing is compressed."""
    for name, parameters in _extensions(",".join(headers)):
        if name == _NAME and (agreed := _agree(parameters)) is not None:
            return agreed
    return None


def _extensions(header: str) -> Iterable[tuple[str, list[tuple[str, str | None]]]]:
    """Return the extensions that are offered, in order; none if the header can't be read as a whole."""
    if len(header) > _HEADER_CHARACTERS_MAX:
        return []
    found = []
    for text in header.split(","):  # No token has a comma, and a quoted value has to be one.
        if not text.strip(" \t"):
            continue  # Empty elements of a list count for nothing (RFC 9110, 5.6.1.2).
        extension = _EXTENSION.fullmatch(text)
        if extension is None:
            return []
        parameters = [
            (name.lower(), token or quoted or None)
            for name, token, quoted in _PARAMETER.findall(extension[2])
        ]
        found.append((extension[1].lower(), parameters))
    return found


def _agree(parameters: list[tuple[str, str | None]]) -> Agreed | None:
    """Return what is agreed on, given the parameters of one offer; None if it has to be declined."""
    asked = dict(parameters)
    if len(asked) < len(parameters):
        return None
    answer, window_bits = [_NAME], BITS_MAX
    for name, value in parameters:
        match name:
            case "server_no_context_takeover" | "client_no_context_takeover" if value is None:
                answer.append(name)
            case "server_max_window_bits" if value is not None and _BITS.fullmatch(value):
                answer.append(f"{name}={value}")
            case "client_max_window_bits" if value is None or _BITS.fullmatch(value):
                window_bits = min(WINDOW_BITS, int(value or BITS_MAX))
                answer.append(f"{name}={window_bits}")
            case _:
                return None
    takes_over = "client_no_context_takeover" not in asked
    return Agreed("; ".join(answer), 1 << window_bits if takes_over else 0)
