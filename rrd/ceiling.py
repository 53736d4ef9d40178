"""How much memory the daemon may take (``memory_max``): a sum of named parts, each with a bound of its own.

Buffers and counts have settings. Where all at their largest don't fit together below the ceiling, buffers get
up to six tenths of what can be shared out, and connections and recordings the rest; within each, all shrink
alike. What a setting asks for is never exceeded.

The figures for a connection are measured ones, at their worst: a socket with permessage-deflate in use, whose
window is full.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import NamedTuple

import msgspec

from rrd.config import Config
from rrd.log import emit

logger = logging.getLogger(__name__)

MIB = 1 << 20

MEMORY_MIN_BYTES = 512 * MIB
"""Less can't carry the parts that don't shrink, and the largest events."""

_MACHINE_SHARE = 3 / 4
"""The rest is for the page cache, in which segments are written and read, and for other programs."""

DECODING_THREADS = 6
"""Threads for what takes long to decode. A tenant that is alone gets four or five of them."""

_BASE_BYTES = 192 * MIB
"""Interpreter, libraries, the index's pages, summaries that were asked for (``playback.recount``), and what
malloc keeps at hand (``memory.TRIM_BYTES``)."""
_STEP_BYTES = 24 * MIB
"""What one decoding thread is busy with: a step of decoded bytes, their check, and a window that is grown."""
_STREAMS_BYTES = 20 * MIB
"""Open streams of permessage-deflate, with what is kept beside them (``http.streams.OPEN_BYTES_MAX``)."""
_SOCKET_BYTES = 96 << 10
_REQUEST_BYTES = 48 << 10
"""Head, buffers of the connection, and what each may hold uncounted (``http.hold.FREE_BYTES``)."""
_WATCHER_BYTES = 240 << 10
"""A request's, a frame, and what waits for its taker (``http.follow``). Blocks are read by turns."""
_RECENT_BYTES = 8 * MIB
"""The newest blocks of recordings that are watched (``recordings.followers.RECENT_BYTES_MAX``)."""
_RECORDING_BYTES = 4 << 10

_BUFFERS_SHARE = 0.6
_BUFFERS = {
    "held_bytes_max": 4 * MIB,
    "buffer_bytes_max": MIB,
    "read_bytes_max": MIB,
    "object_cache_bytes_max": 0,
}
"""Settings in bytes, each with the least that it may be."""
_COUNTS = {
    "sockets_max": _SOCKET_BYTES,
    "requests_max": _REQUEST_BYTES,
    "watchers_max": _WATCHER_BYTES,
    "recordings_max": _RECORDING_BYTES,
}
"""Settings that count, each with what one takes."""


class Ceiling(NamedTuple):
    """``parts``: what may take how many bytes, by name. ``config``: the settings that make it so."""

    memory_max: int
    parts: dict[str, int]
    config: Config


def plan(config: Config, *, machine_bytes: int, threads: int) -> Ceiling:
    """Return the ceiling, and the settings that keep below it.

    ``machine_bytes``: what the process could get at most. ``threads``: how many decode at once.
    """
    memory_max = config.memory_max or max(MEMORY_MIN_BYTES, int(machine_bytes * _MACHINE_SHARE))
    fixed = {"base": _BASE_BYTES, "decoding": threads * _STEP_BYTES, "streams": _STREAMS_BYTES}
    fixed["recent blocks"] = _RECENT_BYTES
    left = max(0, memory_max - sum(fixed.values()))
    buffers = {name: getattr(config, name) for name in _BUFFERS}
    counts = {name: getattr(config, name) * each for name, each in _COUNTS.items()}
    for_counts = max(left - sum(buffers.values()), int(left * (1 - _BUFFERS_SHARE)))
    for_buffers = max(left - sum(counts.values()), int(left * _BUFFERS_SHARE))
    count_scale = min(1.0, for_counts / sum(counts.values()))
    buffer_scale = min(1.0, for_buffers / sum(buffers.values()))
    kept = {
        name: size if buffer_scale == 1 else max(min(size, _BUFFERS[name]), int(size * buffer_scale))
        for name, size in buffers.items()
    }
    kept |= {
        name: getattr(config, name) if count_scale == 1 else max(1, int(getattr(config, name) * count_scale))
        for name in counts
    }
    kept["recording_buffer_bytes_max"] = min(config.recording_buffer_bytes_max, kept["buffer_bytes_max"])
    settings = msgspec.structs.replace(config, memory_max=memory_max, **kept)
    parts = fixed | {name: kept[name] * _COUNTS.get(name, 1) for name in (*_BUFFERS, *_COUNTS)}
    return Ceiling(memory_max, parts, settings)


def keep_below(config: Config) -> Config:
    """Return the settings that keep the daemon below its ceiling; what had to shrink is logged."""
    ceiling = plan(config, machine_bytes=machine_bytes(), threads=DECODING_THREADS)
    lowered = ",".join(f"{name}={value}" for name, value in changes(config, ceiling.config).items())
    if lowered:
        emit(logger, logging.INFO, "little_memory", memory_max=ceiling.memory_max, lowered=lowered)
    return ceiling.config


def changes(config: Config, kept: Config) -> dict[str, int]:
    """Return the settings that were lowered, with what they are now."""
    names = (*_BUFFERS, *_COUNTS)
    return {name: getattr(kept, name) for name in names if getattr(kept, name) < getattr(config, name)}


def machine_bytes() -> int:
    """Return how much memory this process could get: the machine's, or what its control group allows."""
    found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([found, *_group_limits()])


def _group_limits(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """Return the limits of this process's control group and of those above it (cgroups(7), version 2)."""
    try:
        path = next(line[3:] for line in own.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return []
    limits = []
    group = root / path.strip("/")
    while group == root or root in group.parents:
        try:
            text = (group / "memory.max").read_text().strip()
        except OSError:
            text = "max"
        if text.isdecimal():
            limits.append(int(text))
        group = group.parent
    return limits
