"""Amounts as people read them at a glance: bytes, durations, rates, counts."""

from __future__ import annotations


def show_bytes(size: float) -> str:
    """Return bytes in the largest unit that leaves a number of 1 or more, with three digits or so."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} TiB"


def show_count(count: float) -> str:
    """Return a number with thousands apart; small ones that aren't whole with a digit more."""
    return f"{count:,.1f}" if 0 < count < 10 and count % 1 else f"{count:,.0f}"


def show_duration(seconds: float) -> str:
    """Return how long something took or lasts, in the two largest units."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} days {hours} h" if hours else f"{days} days"


def show_ms(milliseconds: float) -> str:
    """Return a short duration with as many digits as say something."""
    return f"{milliseconds:.1f} ms" if milliseconds < 10 else show_duration(milliseconds / 1000)
