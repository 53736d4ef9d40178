"""The settings as far as this machine's memory and file handles allow, at the start and at each reload."""

from __future__ import annotations

from typing import NamedTuple

from rrd.ceiling import keep_below
from rrd.config import Config
from rrd.handles import Handles, share_handles

_CONNECTIONS_SPARE = 256
"""Connections beyond sockets and requests: those that are about to ask, or to be refused."""


class Fitted(NamedTuple):
    """What the daemon works with. ``config``: no setting is more than what was asked for."""

    config: Config
    connections_max: int
    """Connections that may be open at once, sockets and others together."""
    backlog: int
    """Connections that the kernel may hold until they are accepted."""


def fit(config: Config, handles: Handles) -> Fitted:
    """Return the settings as far as they can be kept; what can't be kept is logged."""
    config, shares = share_handles(keep_below(config), handles)
    wanted = config.sockets_max + config.requests_max + config.watchers_max + _CONNECTIONS_SPARE
    return Fitted(config, min(shares.connections_max, wanted), shares.backlog)
