"""How the handles that the system allows (RLIMIT_NOFILE) are shared out, so that storage never lacks one.

A connection, an open segment and a file that is read each take one. Were they taken as they come,
connections would take the last, and events that arrived would be refused for want of a file to write them to.
So the share of storage is set aside first, and connections get what is left.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
from typing import NamedTuple

import msgspec

from rrd.config import Config
from rrd.log import emit

logger = logging.getLogger(__name__)

_FIXED = 80
"""For index, keys, tombstones, readers, look-ups, roll-up, the object store, and refusals under way."""

_SEGMENTS_MIN = 16
_ACCEPT_MIN, _ACCEPT_MAX = 16, 4096
_PLAIN_MIN = 8
"""Connections that are no sockets: they ask, send bodies, and hear that there are too many sockets."""


class HandleShares(NamedTuple):
    """What each may take of the handles."""

    sockets_max: int
    open_segments_max: int
    connections_max: int
    """Sockets and others together; those beyond are told so, and closed."""
    backlog: int
    """Connections that the kernel may hold: as many may be accepted at once before the first is counted."""


def share_out(config: Config, handles_max: int | None, *, in_use: int) -> HandleShares:
    """Share out ``handles_max`` handles (None: any number), of which ``in_use`` are taken already.

    Settings are kept where there are enough. Otherwise storage gets about a third, at least a few.
    """
    wanted_segments = config.open_segments_max
    plain = max(_PLAIN_MIN, config.sockets_max // 15)
    if handles_max is None:
        return HandleShares(config.sockets_max, wanted_segments, 1 << 31, _ACCEPT_MAX)
    left = max(0, handles_max - in_use - _FIXED)
    # A group commit opens as many again before others are closed.
    # As many again for those that are being refused.
    backlog = min(_ACCEPT_MAX, max(_ACCEPT_MIN, left // 16))
    connections = left - 2 * wanted_segments - 2 * backlog
    if connections >= config.sockets_max + plain:
        return HandleShares(config.sockets_max, wanted_segments, connections, backlog)
    segments = min(wanted_segments, max(_SEGMENTS_MIN, left // 8))
    connections = max(1 + _PLAIN_MIN, left - 2 * segments - 2 * backlog)
    plain = max(_PLAIN_MIN, connections // 16)
    return HandleShares(min(config.sockets_max, connections - plain), segments, connections, backlog)


class Handles(NamedTuple):
    """What there was to share out at the start."""

    allowed: int | None
    """None: any number."""
    in_use: int


def handles_allowed() -> int | None:
    """Return how many handles a process may get at most (the hard limit); None: any number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if hard == resource.RLIM_INFINITY else hard


def take_handles() -> Handles:
    """Raise the soft limit to the hard one, and return what there is."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return Handles(None if soft == resource.RLIM_INFINITY else soft, _count_open())


def share_handles(config: Config, handles: Handles) -> tuple[Config, HandleShares]:
    """Return the settings as far as they can be kept, and the shares; what can't be kept is logged."""
    shares = share_out(config, handles.allowed, in_use=handles.in_use)
    if shares.sockets_max < config.sockets_max:
        emit(
            logger, logging.INFO, "few_file_handles", handles_max=handles.allowed,
            sockets_max=shares.sockets_max, sockets_max_set=config.sockets_max,
            connections_max=shares.connections_max, open_segments_max=shares.open_segments_max,
        )  # fmt: skip
    kept = msgspec.structs.replace(
        config, sockets_max=shares.sockets_max, open_segments_max=shares.open_segments_max
    )
    return kept, shares


def _count_open() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 16
