"""A JSON document (RFC 8259) → its events, each as one line.

Three shapes are known: an array of events, one event, and a wrapper, ``{"events":[…]}``. An object with an
integer ``type`` is an event, whatever its other members. Events keep their bytes, but for line feeds between
tokens, which become spaces so that each fits on a line.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator

import msgspec

from rrd.wire.forms import BOM
from rrd.wire.values import members, one_line, plain_name, skip_separator, skip_space, value_end

_ELEMENTS_MAX = 1 << 20
"""The parser makes an object of some 60 bytes for each element. A document that might have more
elements than this is scanned instead, which is slower and holds one at a time."""


class _Wrapper(msgspec.Struct):
    events: msgspec.Raw = msgspec.Raw()
    type: msgspec.Raw = msgspec.Raw()


_array = msgspec.json.Decoder(list[msgspec.Raw])
_wrapper = msgspec.json.Decoder(_Wrapper)
_INTEGER = re.compile(rb"-?[0-9]++(?![.eE0-9])")
_VAIN_SCANS_MAX = 2
"""How many times the size of a damaged document may be scanned for ends of values that don't end."""


def split_document(document: bytes) -> Iterator[bytes]:
    """Yield the events in ``document``, in order; what is no event comes as a line too, to be refused.

    A damaged or cut-off array gives up the whole events before the damage, then the rest as one line.
    Documents may be run together, or stand on lines of their own; a value that does not end is one line with
    all that follows, up to the next line that is whole.
    """
    document = document.removeprefix(BOM)
    try:
        return _parse(document)
    except (msgspec.DecodeError, RecursionError):
        # Damaged, cut off, too deep, or with a lone surrogate, which msgspec refuses.
        return _scan(document)


def _parse(document: bytes) -> Iterator[bytes]:
    at = skip_space(document, 0)
    opening = document[at : at + 1]
    if opening == b"{":
        wrapper = _wrapper.decode(document)
        array = bytes(wrapper.events)
        # An event may have a member of this name, too.
        if array[:1] != b"[" or _INTEGER.match(bytes(wrapper.type)):
            return iter([one_line(document)])
    elif opening == b"[":
        array = document
    else:
        return _scan(document)
    if array.count(b",") >= _ELEMENTS_MAX:
        return _scan(document)
    return map(one_line, map(bytes, _array.decode(array)))


def _scan(document: bytes) -> Iterator[bytes]:
    at, vain_bytes = skip_space(document, 0), 0
    lost_at: int | None = None
    """Where what doesn't end begins: one bad line, up to the next value that is whole."""
    while at < len(document):
        limit = None
        opening = document[at : at + 1]
        array = _wrapped_array(document, at) if opening == b"{" else None
        if opening in {b"{", b'"'} and array is None:
            limit = value_end(document, at)
            vain_bytes += len(document) - at if limit is None else 0
        if opening == b"[" or array is not None or limit is not None:
            if lost_at is not None:
                yield one_line(document[lost_at:at])
                lost_at = None
            if limit is not None:
                yield one_line(document[at:limit])
                at = limit
            else:
                start, end = array or (at + 1, at + 1)
                at = max((yield from _elements(document, start)), end)
        elif vain_bytes > _VAIN_SCANS_MAX * len(document):
            # So damaged that each line could be scanned to the document's end.
            yield from _by_lines(document, at if lost_at is None else lost_at, at)
            return
        else:
            # It may be anything, and a line break ends it.
            limit = document.find(b"\n", at) + 1 or len(document)
            if lost_at is None and opening in {b"{", b'"'}:
                lost_at = at
            elif lost_at is None:
                yield one_line(document[at:limit])
            at = limit
        at = skip_separator(document, at)
    if lost_at is not None:
        yield one_line(document[lost_at:])


def _by_lines(document: bytes, lost_at: int, at: int) -> Iterator[bytes]:
    """Yield the lines from ``at`` on that are whole values, and as one what lies between them."""
    while at < len(document):
        limit = document.find(b"\n", at) + 1 or len(document)
        line = document[at:limit]
        start = skip_space(line, 0)
        end = value_end(line, start) if line[start : start + 1] in {b"{", b"[", b'"'} else None
        if end is not None and skip_separator(line, end) == len(line):
            if rest := one_line(document[lost_at:at]):
                yield rest
            yield one_line(line)
            lost_at = limit
        at = limit
    if rest := one_line(document[lost_at:]):
        yield rest


def _elements(document: bytes, at: int) -> Generator[bytes, None, int]:
    """Yield an array's elements from ``at`` on; return the offset behind the array."""
    while True:
        at = skip_separator(document, at)
        if at == len(document):
            return at
        if document[at] == ord("]"):
            return at + 1
        limit = value_end(document, at)
        yield one_line(document[at:limit])
        at = limit or len(document)


def is_document(line: bytes) -> bool:
    """Tell whether a line is no event, but an array or a wrapper."""
    at = skip_space(line, 0)
    opening = line[at : at + 1]
    return opening == b"[" or (opening == b"{" and b"event" in line and _wrapped_array(line, at) is not None)


def _wrapped_array(document: bytes, at: int) -> tuple[int, int] | None:
    """Return where the ``events`` of the wrapper that opens at ``at`` begin, and where the wrapper ends.

    None if it is no wrapper. One that is cut off ends with the document.
    """
    start, limit = None, at + 1
    for member in members(document, at):
        name = plain_name(member.name)
        if name == b"type" and _INTEGER.match(document, member.value):
            return None
        if name == b"events" and document[member.value : member.value + 1] == b"[":
            start = member.value + 1
        limit = member.limit or len(document)
    if start is None:
        return None
    limit = skip_space(document, limit)
    return start, limit + 1 if document[limit : limit + 1] == b"}" else limit
