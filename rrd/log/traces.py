"""An exception as a few lines of text: where it happened and what came before it, both bounded."""

from __future__ import annotations

import traceback

from rrd.log.redaction import cut

FRAMES_MAX = 8
"""Frames of a traceback: where it happened and how it came there; the rest is asyncio's."""

LINKS_MAX = 5
"""Exceptions that are told together: the one, its causes, and the members of a group."""

TEXT_CHARS_MAX = 1_000
"""What an exception says of itself."""


def trace_of(error: BaseException, *, with_texts: bool) -> list[str]:
    """Return the lines for ``error``, its causes first. Without ``with_texts`` they hold types and places.

    What a library's exception says may quote what a visitor sent; types and lines of code hold no values.
    """
    lines: list[str] = []
    for link in reversed(_chain(error)):
        if link.__traceback__ is not None:
            lines.append("Traceback (most recent call last):")
            for entry in traceback.format_tb(link.__traceback__, limit=-FRAMES_MAX):
                lines += entry.splitlines()
        lines.append(_name(link) + (_text(link) if with_texts else _number(link)))
    return lines


def _chain(error: BaseException) -> list[BaseException]:
    """Return ``error``, then what it came from or consists of, nearest first."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting and len(found) < LINKS_MAX:
        link = waiting.pop(0)
        if any(link is known for known in found):
            continue
        found.append(link)
        if isinstance(link, BaseExceptionGroup):
            waiting += link.exceptions[:LINKS_MAX]
        before = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
        if before is not None:
            waiting.append(before)
    return found


def _name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _text(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as failure:  # noqa: BLE001 - str() may raise anything; logging must not
        text = f"(unprintable: {type(failure).__name__})"
    notes = [str(note) for note in getattr(error, "__notes__", ())]
    said = cut("\n".join([text, *notes]), TEXT_CHARS_MAX)
    return f": {said}" if said else ""


def _number(error: BaseException) -> str:
    return f": errno {error.errno}" if isinstance(error, OSError) and error.errno else ""
