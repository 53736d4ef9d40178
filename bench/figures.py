"""Numbers as people read them: three digits that count, and a unit."""

from __future__ import annotations

import math
import re
from html import escape

from bench.result import Check

NONE = "–"
"""Stands for a number that is none."""

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k"))
"""From these sizes on; up to 9,999 stands as it is."""

_NO_XML = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 (2.2) has no place for: last words of a process may hold it."""


def number(value: float) -> str:
    """Return ``value`` in three digits: ``0.123``, ``12.3``, ``1,234``, ``799 k``, ``1.54 M``."""
    text, prefix = split(value)
    return f"{text} {prefix}" if prefix else text


def split(value: float) -> tuple[str, str]:
    """Return the digits and the prefix of a unit, like ``("799", "k")``."""
    if not math.isfinite(value):
        return NONE, ""
    size = abs(value)
    if size >= 1e15 or 0 < size < 1e-4:
        return f"{value:.2e}", ""
    for least, prefix in _PREFIXES:
        # A thousand of the prefix's unit is never shown as 1000: what rounds up to it belongs to the next.
        if size >= least * (1 - 5e-4):
            return _digits(value / (1e3 if prefix == "k" else least)), prefix
    return _digits(value), ""


def _digits(value: float) -> str:
    size = abs(value)
    if size >= 99.95:
        return f"{value:,.0f}"
    text = f"{value:.1f}" if size >= 9.995 else f"{value:.2f}" if size >= 0.9995 else f"{value:.3g}"
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def quantity(value: float, unit: str) -> str:
    """Return a value with its unit. ``%`` is told as a share: 0.7 is ``70 %``."""
    if unit == "%":
        value *= 100
    text, prefix = split(value)
    if text == NONE:
        return text
    return f"{text} {prefix}{'' if not prefix or _takes_prefix(unit) else ' '}{unit}".rstrip()


def _takes_prefix(unit: str) -> bool:
    """Tell whether a prefix may stand right before the unit: MB does, ``events/s`` doesn't."""
    return unit in {"B", "B/s", "Hz", "bytes"}


def spread(least: float | None, most: float | None, unit: str) -> str:
    """Return the spread like ``90–97 %``; nothing if there is none."""
    if least is None or most is None:
        return ""
    low, high = quantity(least, unit), quantity(most, unit)
    if low == high:
        return ""
    tail = low.partition(" ")[2]
    if tail and high.partition(" ")[2] == tail:
        low = low.partition(" ")[0]
    return f"{low}–{high}"


def bar(check: Check) -> str:
    """Return the bar like ``≥ 70 %``; nothing if there is none."""
    if check.bar is None:
        return ""
    return f"{'≥' if check.goal == 'at least' else '≤'} {quantity(check.bar, check.unit)}"


def verdict(check: Check) -> str:
    """Return ``met``, ``NOT MET``, ``stated`` or ``not measured``."""
    if not check.is_measured:
        return "not measured"
    return {True: "met", False: "NOT MET", None: "stated"}[check.is_met]


def to_xml(text: str) -> str:
    """Escape text for element content and quoted attributes, whatever is in it."""
    return escape(_NO_XML.sub("\ufffd", text))
