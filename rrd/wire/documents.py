"""A JSON document (RFC 8259) → its events, each as one line.

Three shapes are known: an array of events, one event, and ``{"events":[…]}``. Events keep their bytes,
but for line breaks between tokens, which become spaces so that each fits on a line.
"""

from __future__ import annotations

import json
import re

import msgspec


class _Wrapper(msgspec.Struct):
    events: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    type: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_array = msgspec.json.Decoder(list[msgspec.Raw])
_wrapper = msgspec.json.Decoder(_Wrapper)
_scanner = json.JSONDecoder()
_ARRAY_START = re.compile(r'\s*(?:\{\s*"events"\s*:\s*)?\[')
_SEPARATOR = re.compile(r"[\s,]*")


def split_document(document: bytes) -> list[bytes]:
    """Return the events in ``document``, in order; what is no event comes as a line too, to be refused.

    A damaged or cut-off array gives up the whole events before the damage, then the rest as one line.
    """
    start = document.lstrip()[:1]
    try:
        if start == b"[":
            return [_one_line(bytes(raw)) for raw in _array.decode(document)]
        if start == b"{":
            wrapper = _wrapper.decode(document)
            if isinstance(wrapper.events, list) and wrapper.type is msgspec.UNSET:
                return [_one_line(bytes(raw)) for raw in wrapper.events]
            return [_one_line(document)]
    except (msgspec.DecodeError, RecursionError):
        # Damaged, cut off, or with a lone surrogate, which msgspec refuses.
        return _salvage(document)
    # Packed events are strings. Several on lines of their own are NDJSON under another name.
    return document.split(b"\n")


def _salvage(document: bytes) -> list[bytes]:
    try:
        text = document.decode()
    except UnicodeDecodeError:
        return document.split(b"\n")
    opening = _ARRAY_START.match(text)
    if opening is None:
        is_one = b"\n" not in document.strip() or _is_one_value(text)
        return [_one_line(document)] if is_one else document.split(b"\n")
    events: list[bytes] = []
    at = opening.end()
    while True:
        separator = _SEPARATOR.match(text, at)
        at = separator.end() if separator else at
        if not text[at:].strip(" \t\r\n]}"):
            return events
        try:
            _, limit = _scanner.raw_decode(text, at)
        except (ValueError, RecursionError):
            events.append(_one_line(text[at:].encode()))
            return events
        events.append(_one_line(text[at:limit].encode()))
        at = limit


def _is_one_value(text: str) -> bool:
    try:
        _scanner.decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def _one_line(event: bytes) -> bytes:
    # A raw line break can't be inside a JSON string, so it is space between tokens.
    if b"\n" in event or b"\r" in event:
        event = event.replace(b"\n", b" ").replace(b"\r", b" ")
    return event.strip()
