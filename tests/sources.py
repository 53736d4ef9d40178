"""Sources that are opened at one place of a test and closed at another, or never."""

from __future__ import annotations

import contextlib
import weakref

from rrd.recordings.registry import Registry
from rrd.recordings.source import Source

_OPEN: weakref.WeakKeyDictionary[Source, contextlib.AsyncExitStack] = weakref.WeakKeyDictionary()


async def open_source(registry: Registry, tenant: str, recording_id: str, *, lines: int = 1) -> Source:
    """Open a source as ``registry.source`` does, until ``close_source`` or the end of the loop."""
    stack = contextlib.AsyncExitStack()
    source = await stack.enter_async_context(registry.source(tenant, recording_id, lines=lines))
    _OPEN[source] = stack
    return source


async def close_source(source: Source) -> None:
    """Close a source. What it put goes on its way."""
    await _OPEN.pop(source).aclose()
