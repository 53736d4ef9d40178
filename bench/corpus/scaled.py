"""More than was recorded, made of what was: longer recordings, many of them, and larger snapshots.

Real events compress, repeat and vary in size as no invented ones do. So nothing here is made up: a line
differs from the recorded one in its timestamp alone, and a large snapshot consists of nodes that were there.
"""

from __future__ import annotations

import itertools
import re
import uuid
from collections.abc import Iterator
from typing import Any

import msgspec

from bench.corpus.real import NAMES, lines_of, recordings

PAUSE_MS = 1000
"""Between the last event of one recording and the first of the next, where they follow each other."""

_OPENING_EVENTS = 2
"""Meta and full snapshot, with which each recording begins."""

_TIMESTAMP_NAME = b'"timestamp":'
_DIGITS = re.compile(rb"\d+")
_FULL_SNAPSHOT = b'{"type":2,'

Node = dict[str, Any]


def copies(count: int) -> list[bytes]:
    """Return one recording that holds all of the corpus's ``count`` times over, as lines.

    As if one visitor had gone through the pages again and again: timestamps never decrease, and no other
    byte is touched.
    """
    return list(itertools.chain.from_iterable(itertools.islice(_visits(), count * len(NAMES))))


def long_recording(bytes_min: int) -> list[bytes]:
    """Return the lines of ``copies``, cut where they reach ``bytes_min`` as NDJSON, each LF counted."""
    lines: list[bytes] = []
    size = 0
    for line in itertools.chain.from_iterable(_visits()):
        if size >= bytes_min:
            break
        lines.append(line)
        size += len(line) + 1
    return lines


def many_recordings(count: int, *, bytes_max: int | None = None) -> Iterator[tuple[str, list[bytes]]]:
    """Yield ``count`` recordings, id and lines, each begun a second after the one before.

    The corpus's recordings take turns; ids are UUIDs, the same ones in each run. With ``bytes_max`` each ends
    before it grows larger than that as NDJSON, like that of a visitor who leaves early. What a replay can't
    do without, the page's description and its first snapshot, is there in any case: up to 300 kB.
    """
    for number in range(count):
        name = NAMES[number % len(NAMES)]
        lines = lines_of(name)
        if bytes_max is not None:
            lines = _beginning(lines, bytes_max)
        start_ms = _timestamp(lines_of(NAMES[0])[0]) + 1000 * number
        recording_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{name} {number}"))
        yield recording_id, _shifted(lines, start_ms - _timestamp(lines[0]))


def large_snapshot(bytes_min: int) -> bytes:
    """Return one full-snapshot event of at least ``bytes_min``, as a line without LF.

    It is the corpus's largest, whose page holds what is in its body several times over: each time in a
    ``div`` of its own, with ids that no other node has. Up to 3.5 MB larger than asked for; takes a second
    for 20 MB.
    """
    line = max(_full_snapshots(), key=len)
    event = msgspec.json.decode(line)
    body = _body(event["data"]["node"])
    children = list(body["childNodes"])
    children_bytes = len(msgspec.json.encode(children))
    step = max(ids_of(event["data"]["node"])) + 1
    for number in range(1, _ceil_div(max(0, bytes_min - len(line)), children_bytes) + 1):
        added = number * step
        body["childNodes"].append(
            {
                "type": 2,
                "tagName": "div",
                "attributes": {},
                "childNodes": [_renumbered(child, added) for child in children],
                "id": added,
            }
        )
    return msgspec.json.encode(event)


def ids_of(node: Node) -> list[int]:
    """Return the ids of a snapshot's node and of all nodes in it, in the document's order."""
    found: list[int] = []
    waiting = [node]
    while waiting:
        each = waiting.pop()
        found.append(each["id"])
        waiting.extend(reversed(each.get("childNodes", ())))
    return found


def _visits() -> Iterator[list[bytes]]:
    """Yield the corpus's recordings in turn, without end, each later than the one before."""
    start_ms = _timestamp(lines_of(NAMES[0])[0])
    for name in itertools.cycle(NAMES):
        lines = recordings()[name]
        shift_ms = start_ms - _timestamp(lines[0])
        yield _shifted(lines, shift_ms)
        start_ms = _timestamp(lines[-1]) + shift_ms + PAUSE_MS


def _beginning(lines: list[bytes], bytes_max: int) -> list[bytes]:
    sizes = itertools.accumulate(len(line) + 1 for line in lines)
    count = sum(1 for _ in itertools.takewhile(lambda size: size <= bytes_max, sizes))
    return lines[: max(_OPENING_EVENTS, count)]


def _shifted(lines: list[bytes], shift_ms: int) -> list[bytes]:
    shifted = []
    for line in lines:
        start, limit = _timestamp_at(line)
        shifted.append(b"%b%d%b" % (line[:start], int(line[start:limit]) + shift_ms, line[limit:]))
    return shifted


def _timestamp(line: bytes) -> int:
    start, limit = _timestamp_at(line)
    return int(line[start:limit])


def _timestamp_at(line: bytes) -> tuple[int, int]:
    # The last of that name: rrweb writes an event's own timestamp behind its data.
    start = line.rindex(_TIMESTAMP_NAME) + len(_TIMESTAMP_NAME)
    digits = _DIGITS.match(line, start)
    assert digits is not None, "timestamps of the corpus are whole numbers"
    return digits.span()


def _full_snapshots() -> Iterator[bytes]:
    for lines in recordings().values():
        yield from (line for line in lines if line.startswith(_FULL_SNAPSHOT))


def _body(document: Node) -> Node:
    (html,) = (node for node in document["childNodes"] if node.get("tagName") == "html")
    (body,) = (node for node in html["childNodes"] if node.get("tagName") == "body")
    found: Node = body
    return found


def _renumbered(node: Node, added: int) -> Node:
    """Return a copy of a node and of all in it, with ``added`` to each id."""
    copy = {**node, "id": node["id"] + added}
    # Nodes inside of frames name their document; there are none in the corpus, so none can go wrong.
    assert "rootId" not in node, "a frame's document would have to be renumbered, too"
    if "childNodes" in node:
        copy["childNodes"] = [_renumbered(child, added) for child in node["childNodes"]]
    return copy


def _ceil_div(value: int, divisor: int) -> int:
    return -(-value // divisor)
