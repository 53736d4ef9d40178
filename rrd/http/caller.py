"""Who asks, for what: recording id, key, page's origin, and what may be known of the visitor."""

from __future__ import annotations

import functools
import ipaddress
from typing import NamedTuple

from aiohttp import hdrs, web

from rrd.access.gate import Grant, bearer_token
from rrd.access.keys import Right
from rrd.access.signing import recording_path
from rrd.config import Config
from rrd.errors import BadRequest, UnsupportedType
from rrd.http.services import Services
from rrd.ids import parse_recording_id
from rrd.wire.decoder import ContentKind
from rrd.wire.inflate import Encoding

_KINDS: dict[str, ContentKind] = {
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "": "unstated",
    # navigator.sendBeacon sends strings so, and is spared the preflight for it.
    "text/plain": "unstated",
    # What curl -d says when it is told nothing. No form has ever been posted here.
    "application/x-www-form-urlencoded": "unstated",
    "application/octet-stream": "unstated",
    "application/json": "json",
}
_ENCODINGS: dict[str, Encoding] = {
    "": "identity",
    "identity": "identity",
    "gzip": "gzip",
    "x-gzip": "gzip",
    "br": "br",
    "zstd": "zstd",
}

_LAYERS_MAX = 2

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Sender(NamedTuple):
    """Somebody who may write. ``recording`` is None where the id is still to come in a metadata event."""

    grant: Grant
    recording: str | None
    origin: str | None
    visitor: dict[str, str]


def sender_of(request: web.Request, services: Services) -> Sender:
    """Check that the caller may write. Raises ``BadRequest``, ``Unauthenticated``, ``Forbidden``."""
    recording = recording_of(request, services.config)
    scope = recording_path(recording) if recording else request.path
    grant = authorize(request, services, right="ingest", scope_path=scope)
    origin = _header_text(request.headers.get(hdrs.ORIGIN, ""), services.config)
    return Sender(grant, recording, origin or None, _visitor(request, services.config))


def _header_text(value: str, config: Config) -> str:
    """Return a header's value fit to be stored: aiohttp keeps bytes that are no UTF-8 as surrogates."""
    return value.encode("utf-8", "replace")[: config.metadata_value_bytes_max].decode("utf-8", "ignore")


def authorize(request: web.Request, services: Services, *, right: Right, scope_path: str) -> Grant:
    """Ask the gate."""
    return services.gate.authorize(
        right=right,
        token=bearer_token(request.headers.get(hdrs.AUTHORIZATION)),
        query=request.query,
        scope_path=scope_path,
        origin=request.headers.get(hdrs.ORIGIN),
        now_s=services.clock.now_ms() // 1000,
    )


def recording_of(request: web.Request, config: Config) -> str | None:
    """Return the recording id in the path, or in ``?recordingId=``; None if there is neither."""
    text = request.match_info.get("recording") or request.query.get("recordingId")
    return canonical_id(text, config) if text else None


def canonical_id(text: str, config: Config) -> str:
    """Return a recording id in its canonical form. Raises ``BadRequest`` if it is none."""
    recording = parse_recording_id(text, config.recording_ids)
    if recording is None:
        form = "a UUID" if config.recording_ids == "uuid" else "a UUID, or 8 to 64 of A-Z a-z 0-9 _ -"
        raise BadRequest(f"the recording id must be {form}", code="bad_recording_id", parameter="recordingId")
    return recording


def kind_of(content_type: str) -> ContentKind:
    """Return how a body of this Content-Type is laid out."""
    media_type = content_type.partition(";")[0].strip().lower()
    kind = _KINDS.get(media_type)
    if kind is None:
        raise UnsupportedType(
            f"events come as application/x-ndjson or application/json, not as {media_type!r}"
        )
    return kind


def encoding_of(content_encoding: str) -> Encoding:
    """Return which compression a Content-Encoding names, the outer one of two (RFC 9110, 8.4).

    An inner gzip or zstd is found by its first bytes; an inner brotli would not be.
    """
    named = [_ENCODINGS.get(name.strip().lower()) for name in content_encoding.split(",")]
    layers = [name for name in named if name != "identity"]
    if None in layers or len(layers) > _LAYERS_MAX or "br" in layers[:-1]:
        raise UnsupportedType(f"the encoding must be gzip, br or zstd, not {content_encoding!r}")
    return layers[-1] if layers and layers[-1] is not None else "identity"


def _visitor(request: web.Request, config: Config) -> dict[str, str]:
    """Return what the server could add about the visitor. Nobody may store it unasked, or log it."""
    visitor = {}
    if address := client_address(
        request.remote or "", request.headers.getall("X-Forwarded-For", ()), config.trusted_proxies
    ):
        visitor["ipAddress"] = address
    if agent := _header_text(request.headers.get(hdrs.USER_AGENT, ""), config):
        visitor["userAgent"] = agent
    return visitor


def client_address(peer: str, forwarded_for: list[str] | tuple[str, ...], trusted: tuple[str, ...]) -> str:
    """Return the address of the client behind trusted proxies: each appends the address it was called from.

    Read from the right, the first address that is not a trusted proxy's is the client's; what stands
    left of it anyone may have made up.
    """
    networks = _networks(trusted)
    hops = [hop.strip() for header in forwarded_for for hop in header.split(",")]
    address = peer
    while hops and _is_in(address, networks):
        address = hops.pop()
    return address if _parse(address) is not None else ""


def forwarded_scheme(request: web.Request, config: Config) -> str | None:
    """Return the scheme that the client used, as a trusted proxy says it; None if none says."""
    scheme = request.headers.get("X-Forwarded-Proto", "").strip().lower()
    if scheme not in {"http", "https"}:
        return None
    return scheme if _is_in(request.remote or "", _networks(config.trusted_proxies)) else None


@functools.cache  # The settings' own: one for as long as the daemon lives.
def _networks(trusted: tuple[str, ...]) -> tuple[_Network, ...]:
    return tuple(ipaddress.ip_network(network) for network in trusted)


def _is_in(address: str, networks: tuple[_Network, ...]) -> bool:
    parsed = _parse(address)
    return parsed is not None and any(parsed in network for network in networks)


def _parse(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None
