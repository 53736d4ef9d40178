"""Who asks, for what: recording id, key, page's origin, and what may be known of the visitor."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
from collections.abc import Sequence
from typing import NamedTuple

from aiohttp import hdrs, web

from rrd.access.gate import Grant, bearer_token
from rrd.access.keys import Right
from rrd.access.signing import recording_path
from rrd.config import Config
from rrd.errors import BadRequest, Forbidden, NotReady, ShuttingDown, Unauthenticated, UnsupportedType
from rrd.http.problems import SENDER
from rrd.http.services import Services
from rrd.http.sharing import claim, may_claim, who_of
from rrd.ids import parse_recording_id
from rrd.shares.queue import Who
from rrd.wire.codings import BY_SPELLING, CODINGS, IDENTITY, NAMES, Encoding
from rrd.wire.decoder import ContentKind

BODY_KINDS: dict[str, ContentKind] = {
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/jsonlines": "ndjson",
    "application/x-jsonlines": "ndjson",
    "text/x-ndjson": "ndjson",
    "": "unstated",
    # navigator.sendBeacon sends strings so, and is spared the preflight for it.
    "text/plain": "unstated",
    # What curl -d says when it is told nothing. No form has ever been posted here.
    "application/x-www-form-urlencoded": "unstated",
    "application/octet-stream": "unstated",
    "*/*": "unstated",
    "application/json": "json",
    "text/json": "json",
    # A type that names the compression. The first bytes name it as well.
    **dict.fromkeys((name for coding in CODINGS for name in coding.media_types), "unstated"),
}
_KEPT_CHARS_MAX = 100
"""Of a header's value that is read once for all: a longer one is no client's habit, and would be kept."""

_LAYERS_MAX = 2

GRANT = web.RequestKey("grant", Grant)
"""What the caller of a request is granted, once that is known."""

SESSION_GRANT = web.RequestKey("session_grant", Grant)
"""What the session of a person may do who uses the console. Its routes put it there, and no others: a cookie
means nothing anywhere else."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Sender(NamedTuple):
    """Somebody who may write. ``recording_id`` is None where the id is still to come in a metadata event."""

    grant: Grant
    recording_id: str | None
    origin: str | None
    visitor: dict[str, str]
    who: Who
    """On whose share and quotas it counts."""


async def sender_of(request: web.Request, services: Services) -> Sender:
    """Check that the caller may write, as ``authorize`` does. Raises ``BadRequest`` as well."""
    recording_id = recording_of(request, services.config)
    scope = recording_path(recording_id) if recording_id else request.path
    grant = await authorize(request, services, right="ingest", scope_path=scope)
    request[SENDER] = grant.tenant, recording_id
    origin = _header_text(request.headers.get(hdrs.ORIGIN, ""), services.config)
    # "null" hides an origin (RFC 6454, 7.3): that is nothing to keep as the place of a recording.
    origin = "" if origin == "null" else origin
    visitor = _visitor(request, services.config)
    who = who_of(grant, visitor.get("ipAddress", ""), services)
    return Sender(grant, recording_id, origin or None, visitor, who)


def _header_text(value: str, config: Config) -> str:
    """Return a header's value fit to be stored: aiohttp keeps bytes that are no UTF-8 as surrogates."""
    return value.encode("utf-8", "replace")[: config.metadata_value_bytes_max].decode("utf-8", "ignore")


async def authorize(request: web.Request, services: Services, *, right: Right, scope_path: str) -> Grant:
    """Return what the caller is granted, with a place among the requests, once the daemon is ready.

    The gate decides before anything waits. Raises ``Unauthenticated``, ``Forbidden``, ``OverQuota`` and
    ``TooManyRequests`` at once, ``NotReady`` after ``Bounds.ready_wait_s``.
    """
    grant = request.get(SESSION_GRANT) or services.gate.authorize(
        right=right,
        token=bearer_token(request.headers.get(hdrs.AUTHORIZATION)),
        query=request.query,
        scope_path=scope_path,
        origin=request.headers.get(hdrs.ORIGIN),
        now_s=services.clock.now_ms() // 1000,
    )
    if right not in grant.rights:
        raise Forbidden(f"this session may not {right}: sign in with a key that may, too")
    if may_claim(request):
        claim(request, grant, address_of(request, services.config), services)
    if not services.ready.is_set():
        await _until_ready(services)
        check_live(grant, services)
    request[GRANT] = grant
    return grant


def check_live(grant: Grant, services: Services) -> None:
    """Raise ``Unauthenticated`` if the key behind ``grant`` isn't good any more. Costs a look-up in a set."""
    if not services.gate.is_live(grant):
        raise Unauthenticated("the key was revoked, or it expired, while this request was under way")


async def _until_ready(services: Services) -> None:
    # Recovery takes a moment, and the browser's client never comes back once it is refused.
    try:
        async with asyncio.timeout(services.bounds.ready_wait_s):
            await services.ready.wait()
    except TimeoutError:
        raise NotReady(f"the server is starting: {services.waits_for}. Try again in a moment") from None
    if services.is_stopping:
        raise ShuttingDown("the server is stopping; send it again in a moment")


def recording_of(request: web.Request, config: Config) -> str | None:
    """Return the recording id in the path, or in ``?recordingId=``; None if there is neither."""
    text = request.match_info.get("recording") or request.query.get("recordingId")
    return canonical_id(text, config) if text else None


def canonical_id(text: str, config: Config) -> str:
    """Return a recording id in its canonical form. Raises ``BadRequest`` if it is none."""
    recording_id = parse_recording_id(text, config.recording_ids)
    if recording_id is None:
        form = "a UUID" if config.recording_ids == "uuid" else "a UUID, or 8 to 64 of A-Z a-z 0-9 _ -"
        raise BadRequest(f"the recording id must be {form}", code="bad_recording_id", parameter="recordingId")
    return recording_id


def kind_of(content_type: str) -> ContentKind:
    """Return how a body of this Content-Type is laid out."""
    return (_known_kind if len(content_type) <= _KEPT_CHARS_MAX else _kind)(content_type)


def _kind(content_type: str) -> ContentKind:
    media_type = content_type.partition(";")[0].strip().lower()
    # Of types that end in +json nothing is known but that they are JSON (RFC 6839, 3.1).
    kind = "json" if media_type.endswith("+json") else BODY_KINDS.get(media_type)
    if kind is None:
        raise UnsupportedType(
            f"events come as application/x-ndjson or application/json, not as {media_type!r}"
        )
    return kind


def encoding_of(content_encoding: str) -> Encoding:
    """Return which compression a Content-Encoding names, the outer one of two (RFC 9110, 8.4).

    The inner one is found by its magic number, so a compression without one can't be the inner one.
    """
    return (_known_encoding if len(content_encoding) <= _KEPT_CHARS_MAX else _encoding)(content_encoding)


def _encoding(content_encoding: str) -> Encoding:
    named = [BY_SPELLING.get(name.strip().lower()) for name in content_encoding.split(",")]
    layers = [coding for coding in named if coding is not None and coding is not IDENTITY]
    if None in named or len(layers) > _LAYERS_MAX or not all(coding.magics for coding in layers[:-1]):
        raise UnsupportedType(f"the encoding must be {NAMES}, not {content_encoding!r}")
    return layers[-1].name if layers else IDENTITY.name


_known_kind, _known_encoding = functools.lru_cache(64)(_kind), functools.lru_cache(64)(_encoding)


def _visitor(request: web.Request, config: Config) -> dict[str, str]:
    """Return what the server could add about the visitor. Nobody may store it unasked, or log it."""
    visitor = {}
    if address := address_of(request, config):
        visitor["ipAddress"] = address
    if agent := _header_text(request.headers.get(hdrs.USER_AGENT, ""), config):
        visitor["userAgent"] = agent
    return visitor


def address_of(request: web.Request, config: Config) -> str:
    """Return the client's address, or nothing if it is not known."""
    forwarded_for = request.headers.getall("X-Forwarded-For", ())
    return client_address(request.remote or "", forwarded_for, config.trusted_proxies)


def is_https(request: web.Request, config: Config) -> bool:
    """Tell whether a trusted proxy says that the client came by https. rrd itself speaks no TLS."""
    peer = _parse(request.remote or "")
    if peer is None or not any(peer in network for network in _networks(config.trusted_proxies)):
        return False
    said = _list_of(request.headers.getall("X-Forwarded-Proto", ()))
    return bool(said) and said[-1].lower() == "https"


def client_address(peer: str, forwarded_for: Sequence[str], trusted: tuple[str, ...]) -> str:
    """Return the address of the client behind trusted proxies: each appends the address it was called from.

    Read from the right, the first address that is not a trusted proxy's is the client's; what stands
    left of it anyone may have made up. Empty if that is no address.
    """
    if not (trusted and forwarded_for):
        return _written(peer)
    networks = _networks(trusted)
    hops = _list_of(forwarded_for)
    address = _parse(peer)
    while hops and address is not None and any(address in network for network in networks):
        address = _parse(hops.pop())
    return str(address) if address is not None else ""


@functools.lru_cache(1024)
def _written(peer: str) -> str:
    """Return an address in the form in which it counts, or nothing if it is none."""
    address = _parse(peer)
    return str(address) if address is not None else ""


def _list_of(headers: Sequence[str]) -> list[str]:
    """Return the members of a list in one or several headers; empty ones don't count (RFC 9110, 5.6.1.2)."""
    members = (member.strip() for header in headers for member in header.split(","))
    return [member for member in members if member]


@functools.cache  # The settings' own: one for as long as the daemon lives.
def _networks(trusted: tuple[str, ...]) -> tuple[_Network, ...]:
    return tuple(ipaddress.ip_network(network) for network in trusted)


def _parse(text: str) -> _Address | None:
    """Read an address, or return None if it is none, as nothing long is."""
    return _parsed(text) if len(text) <= _KEPT_CHARS_MAX else None


@functools.lru_cache(1024)  # Reading one takes longer than finding the key.
def _parsed(text: str) -> _Address | None:
    """Read an address in any of the forms that proxies write, or None if it is none (``unknown``, ``_name``).

    ``192.0.2.1``, ``192.0.2.1:443``, ``2001:db8::1``, ``[2001:db8::1]``, ``[2001:db8::1]:443``, each perhaps
    quoted (RFC 7239, 6), and with a zone (RFC 4007, 11), which means nothing elsewhere.
    """
    text = text.strip().strip('"').strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A socket that listens on [::] names IPv4 peers so.
    return getattr(address, "ipv4_mapped", None) or address
