"""What happened in a recording, told by the standard library and by looking at each event again and again."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

from rrd.summary.gather import ERROR_TAGS

BY_USER = {1, 2, 3, 4, 5, 6, 12}
MARKS = ("pageview-meta", "close-permanent", "close-temporary")


def data_of(event: dict[str, Any]) -> dict[str, Any]:
    data = event.get("data")
    return data if isinstance(data, dict) else {}


def is_by_user(event: dict[str, Any]) -> bool:
    return event["type"] == 3 and data_of(event).get("source") in BY_USER


def is_click(event: dict[str, Any], *kinds: int) -> bool:
    data = data_of(event)
    return event["type"] == 3 and data.get("source") == 2 and data.get("type") in kinds


def is_error(event: dict[str, Any]) -> bool:
    data = data_of(event)
    if event["type"] == 5:
        return data.get("tag") in ERROR_TAGS
    payload = data.get("payload")
    is_console = event["type"] == 6 and data.get("plugin") == "rrweb/console@1"
    return is_console and isinstance(payload, dict) and payload.get("level") == "error"


def counted_inputs(events: list[dict[str, Any]]) -> set[int]:
    """Numbers of the input events that count, by arrival."""
    found, node = set(), None
    for seq, event in enumerate(events, 1):
        if event["type"] == 4:
            node = None
        if event["type"] == 3 and data_of(event).get("source") == 5:
            if data_of(event).get("id", -1) != node:
                found.add(seq)
            node = data_of(event).get("id", -1)
    return found


def bursts(events: list[dict[str, Any]]) -> int:
    clicks = [
        (event["timestamp"], data_of(event).get("x", 0), data_of(event).get("y", 0))
        for event in events
        if is_click(event, 2)
    ]

    def is_rage(at: int) -> bool:
        three = clicks[at - 2 : at + 1] if at >= 2 else []
        return len(three) == 3 and all(
            abs(one[0] - other[0]) <= 1000 and math.dist(one[1:], other[1:]) <= 24
            for one in three
            for other in three
        )

    return sum(is_rage(at) and not is_rage(at - 1) for at in range(len(clicks)))


def line_of(events: list[dict[str, Any]], slots_max: int) -> tuple[int, int, bytes]:
    """Where the activity line begins, its slots' width in ms, and its levels."""
    seconds = [event["timestamp"] // 1000 for event in events if is_by_user(event)]
    if not seconds:
        return 0, 1000, b""
    width = 1
    while max(seconds) // width - min(seconds) // width >= slots_max:
        width *= 2
    slots = [int(second // width) for second in seconds]
    levels = [min(255, slots.count(slot)) for slot in range(min(slots), max(slots) + 1)]
    return min(slots) * width * 1000, width * 1000, bytes(levels)


def told(lines: list[bytes], pieces_max: int = 1_000) -> dict[str, Any]:
    """Tell what happened in lines that arrived in this order: all that a summary holds."""
    events = [json.loads(line) for line in lines]
    numbered = sorted(
        (
            (event["timestamp"], seq, event, len(line) + 1)
            for seq, (event, line) in enumerate(zip(events, lines, strict=True), 1)
        ),
        key=lambda each: each[:2],
    )
    pieces: list[list[Any]] = [[]]
    has_snapshot = False
    for each in numbered:
        kind = each[2]["type"]
        if kind == 4 or (kind == 2 and (has_snapshot or len(pieces) == 1)):
            pieces.append([])
            has_snapshot = False
        has_snapshot |= kind == 2
        pieces[-1].append(each)
    kept, beyond = pieces[: pieces_max + 1], pieces[pieces_max + 1 :]
    inputs = counted_inputs(events)
    first_seen: dict[str, Any] = {}
    for timestamp, seq, event, _ in numbered:
        url = data_of(event).get("href", "").partition("#")[0].partition("?")[0] if event["type"] == 4 else ""
        if url:
            first_seen.setdefault(url, (timestamp, seq))
    parts = []
    for number, piece in enumerate(kept):
        whole = piece + ([each for more in beyond for each in more] if number == len(kept) - 1 else [])
        start = piece[0] if number else None
        snapshot = next(((each[0], each[1]) for each in piece if each[2]["type"] == 2), None)
        parts.append(
            {
                "start": start and (start[0], start[1]),
                "url": data_of(start[2]).get("href", "") if start and start[2]["type"] == 4 else "",
                "snapshot": snapshot,
                "events": len(whole),
                "bytes": sum(each[3] for each in whole),
                "clicks": sum(is_click(each[2], 2, 4) for each in whole),
                "inputs": sum(each[1] in inputs for each in whole),
                "errors": sum(is_error(each[2]) for each in whole),
                "seconds": {int(each[0] // 1000) for each in whole if is_by_user(each[2])},
                "marked": any(
                    each[2]["type"] in (0, 1)
                    or (each[2]["type"] == 5 and data_of(each[2]).get("tag") in MARKS)
                    for each in whole
                ),
                "joined": sum(more[0][2]["type"] == 4 for more in beyond) if number == len(kept) - 1 else 0,
            }
        )
    assert all(before[-1][:2] < after[0][:2] for before, after in pairwise(pieces[1:]))
    return {
        "clicks": sum(is_click(event, 2, 4) for event in events),
        "inputs": len(inputs),
        "errors": sum(map(is_error, events)),
        "bursts": bursts(events),
        "seconds": {int(event["timestamp"] // 1000) for event in events if is_by_user(event)},
        "urls": list(first_seen)[:50],
        "urls_cut": len(first_seen) > 50,
        "line": line_of(events, 1000),
        "pieces": parts,
    }
