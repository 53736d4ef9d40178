"""Whose share and quota a request counts on: its tenant, its key, and its client's address.

No address counts where none is known to be a visitor's: that of a trusted proxy which doesn't say whose
request it passes on, and of programs on this machine. The key that ``rrd import`` makes for itself counts
on nothing. An IPv6 address counts as its /64, which is what one site has at least (RFC 6177).
"""

from __future__ import annotations

import functools
import ipaddress
from typing import Protocol

from aiohttp import hdrs, web

from rrd.access.gate import Grant
from rrd.access.temporary import LABEL
from rrd.http.services import Services
from rrd.shares.admission import AdmittedPlace
from rrd.shares.queue import Who

_SITE_PREFIX = 64


class Claimant(Protocol):
    """The connection by which a request came: one is under way on it at a time."""

    place: AdmittedPlace | None
    """The place that was taken for this request, which is to be given back."""


def who_of(grant: Grant, address: str, services: Services) -> Who:
    """Return on whom something counts. ``address``: the client's, or empty."""
    if is_import(grant):
        return Who("")
    return Who(grant.tenant, grant.key_id, party_of(address, services.config.trusted_proxies))


def is_import(grant: Grant) -> bool:
    """Tell whether the key is the one that ``rrd import`` makes for itself."""
    return grant.label == LABEL


def may_claim(request: web.Request) -> bool:
    """Tell whether a request is to take a place: it has none, and doesn't become a socket, which takes one of
    another kind.
    """
    claimant: Claimant = request.protocol  # type: ignore[assignment]  # always a ``Connection``
    return claimant.place is None and request.headers.get(hdrs.UPGRADE, "").lower() != "websocket"


def claim(request: web.Request, grant: Grant, address: str, services: Services) -> None:
    """Take a place for a request that ``may_claim`` one. Raises ``OverQuota``, ``TooManyRequests``."""
    claimant: Claimant = request.protocol  # type: ignore[assignment]  # always a ``Connection``
    claimant.place = services.admission.enter(who_of(grant, address, services), "requests")


def unclaim(request: web.Request, services: Services) -> None:
    """Give the place of a request back, if it has one."""
    claimant: Claimant = request.protocol  # type: ignore[assignment]  # always a ``Connection``
    if (place := claimant.place) is not None:
        claimant.place = None
        services.admission.leave(place)


@functools.lru_cache(8192)
def party_of(address: str, trusted: tuple[str, ...]) -> str:
    """Return as what an address counts; empty if it is no visitor's. ``trusted``: networks of proxies."""
    if not address:
        return ""
    found = ipaddress.ip_address(address)
    if any(found in ipaddress.ip_network(network) for network in trusted):
        return ""
    if found.version == 4:
        return address
    return str(ipaddress.ip_network((found, _SITE_PREFIX), strict=False))
