"""Chunks made in a worker thread, a few at a time: the async side of ``stream``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import Executor

HOP_BYTES = 512 << 10
"""What one visit to the worker thread brings back: a hop costs 0.1 ms, and a chunk hardly more. Twice as much
was no faster: a core's own cache holds so much, and what is written next should still be in it."""


async def in_thread(
    chunks: Generator[bytes, None], *, threads: Executor, hop_bytes: int = HOP_BYTES
) -> AsyncGenerator[bytes, None]:
    """Run a generator that blocks in one of ``threads``, so that the event loop is never held up.

    A visit ends with the chunk that reaches ``hop_bytes``; with 0 it is one chunk. Empty chunks are left out.
    They should be readers' own: a visit may last as long as the object store takes. Close it
    (``contextlib.aclosing``) to free everything early. Cancelled while a thread reads, it returns at once;
    the thread ends after its hop and frees everything then.
    """
    loop = asyncio.get_running_loop()
    try:
        is_last = False
        while not is_last:
            hop, is_last = await loop.run_in_executor(threads, _take, chunks, hop_bytes)
            for chunk in hop:
                if chunk:
                    yield chunk
    finally:
        # "Generator already executing": a thread is still in it, and drops it when it leaves.
        with contextlib.suppress(ValueError):
            chunks.close()


def _take(chunks: Generator[bytes, None], hop_bytes: int) -> tuple[list[bytes], bool]:
    """Return some chunks, and whether they are the last; to be told so alone would take one more hop."""
    hop: list[bytes] = []
    size = 0
    for chunk in chunks:
        hop.append(chunk)
        size += len(chunk)
        if size >= hop_bytes:
            return hop, False
    return hop, True
