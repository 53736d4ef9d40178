"""What is refused: each code of an error with a sentence, and which ones all requests may meet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from rrd.shares.limits import SCOPES, Quota, Scope, setting_of

_QUANTITIES = {
    "recordings_per_min": "new recordings a minute",
    "events_per_s": "events a second",
    "bytes_per_s": "bytes a second",
    "bytes_per_day": "bytes a day",
    "sockets": "sockets at a time",
    "requests": "requests at a time",
}
_REFUSING = ("recordings_per_min", "bytes_per_day", "sockets", "requests")
"""Quotas that refuse. The others slow a sender down."""


def over(quantity: str) -> tuple[str, ...]:
    """Return the codes of one quota: the tenant's, the key's and the address's."""
    return tuple(f"over_{setting_of(quantity, scope)}" for scope in SCOPES)


def _of_quota(quantity: str, scope: Scope) -> str:
    return f"The quota of this {scope} is used up: {_QUANTITIES[quantity]} (`{setting_of(quantity, scope)}`)."


CODES: Mapping[str, str] = {
    "bad_body": "The body was cut off, or can't be decoded.",
    "bad_framing": "A chunk of the body is malformed. What came before it is kept.",
    "bad_http": "The request is no HTTP/1.1.",
    "bad_metadata": "No pair of the metadata can be kept as it is, or the body is no flat JSON object.",
    "bad_recording_id": "The recording id has a form that this server doesn't take.",
    "bad_request": "A parameter is out of its bounds, excludes another one, or is unknown. `parameter` names"
    " it.",
    "bad_websocket_key": "`Sec-WebSocket-Key` is missing, or is not 16 bytes in Base64.",
    "broken_encoding": "The compression can't be decoded. The events before the damage are kept.",
    "data_dir_gone": "The data directory was moved or unmounted: what is written would be lost.",
    "disk_full": "The disk has no room for new events. Reading and erasing go on.",
    "export_too_large": "The events are too many for one page: choose a part with `from` and `to`.",
    "forbidden": "The key is good, and may not do this, or not from this page's origin.",
    "head_too_large": "Request line and header fields are too large together.",
    "head_too_slow": "The rest of the request's head did not come in time.",
    "host_not_admitted": "Presigned links are given out under this server's own names alone.",
    "index_busy": "Another process holds the index locked.",
    "internal": "An error of the server; its log says more.",
    "length_required": "The request doesn't tell where its body ends.",
    "no_assets": "This server was installed without the scripts for browsers.",
    "no_console": "This server has no console to show a recording in.",
    "no_filter": "An erasure of several recordings needs at least one filter.",
    "no_recording_id": "The path, the query and the events name no recording.",
    "no_signing_key": "Signed URLs need a signing key: `rrd signing-keys create`.",
    "no_valid_events": "No line of the body is an event. The lines are kept in quarantine.",
    "not_a_socket_path": "This path gives events; a WebSocket that sends events opens `/events/ws`.",
    "not_a_websocket": "This path takes WebSockets, and the request opens none.",
    "not_acceptable": "`form=stored` comes as zstd, which the caller doesn't accept.",
    "not_found": "The key's tenant has no such recording.",
    "not_ready": "The server is starting, or can't store anything now.",
    "object_store_away": "The object store that has these events can't be reached.",
    "recording_damaged": "Events of the recording are damaged. `salvage=true` gives what is intact.",
    "recording_erased": "The recording was erased, and takes nothing more.",
    "shutting_down": "The server is stopping.",
    "storage_failed": "A write failed, so the events are not safe: send them again.",
    "too_large": "An event, a message or the body is over its limit. The events before it are kept.",
    "too_many_bad_lines": "Too many lines are no events; the rest is not read.",
    "too_many_connections": "As many connections are open as may be.",
    "too_many_filters": "The query has too many filters.",
    "too_many_metadata_keys": "The recording has as many metadata keys as it may have.",
    "too_many_page_views": "The recordings have more page views than a replay is made of.",
    "too_many_reads": "Answers that are under way take all memory that there is for answers.",
    "too_many_recordings": "As many recordings are being written as may be; for a replay: more match than it"
    " may have.",
    "too_many_requests": "As many requests are under way as may be.",
    "too_many_sockets": "As many sockets are open as may be. Events can still be sent by POST.",
    "too_many_urls": "The pattern stands for too many urls.",
    "too_many_watchers": "As many watch as may.",
    "too_much_unfinished": "What has arrived and is not whole takes all memory that there is for it.",
    "too_slow": "The body comes too slowly.",
    "unauthenticated": "There is no key, or it is wrong or revoked, or the presigned URL is wrong or has"
    " expired.",
    "unmet_expectation": "The header `Expect` asks for something unknown.",
    "unsupported_transfer_coding": "The transfer coding is not `chunked`.",
    "unsupported_type": "The Content-Type or Content-Encoding is not one that is taken.",
    "unsupported_version": "The request is not HTTP/1.1 or HTTP/1.0.",
    "websocket_version": "The WebSocket is of another version than 13.",
    "wrong_object_store": "The object store is not the one that this data directory uses.",
} | {f"over_{setting_of(each, scope)}": _of_quota(each, scope) for each in _REFUSING for scope in SCOPES}

BELOW: Mapping[int, tuple[str, ...]] = {
    400: ("bad_http",),
    408: ("head_too_slow",),
    417: ("unmet_expectation",),
    431: ("head_too_large",),
    501: ("unsupported_transfer_coding",),
    503: ("too_many_connections",),
    505: ("unsupported_version",),
}
"""What any request may be answered with before it has a handler."""

KEYED: Mapping[int, tuple[str, ...]] = {
    401: ("unauthenticated",),
    403: ("forbidden",),
    500: ("internal",),
    503: ("not_ready", "shutting_down"),
}
"""What any request that needs a key may be answered with."""

COUNTED: Mapping[int, tuple[str, ...]] = {429: over("requests"), 503: ("too_many_requests",)}
"""The same, but for sockets, which take a place of another kind."""

STORING: Mapping[int, tuple[str, ...]] = {
    410: ("recording_erased",),
    429: (*over("recordings_per_min"), *over("bytes_per_day")),
    500: ("storage_failed",),
    503: ("too_many_recordings", "index_busy", "data_dir_gone"),
    507: ("disk_full",),
}
"""What is answered where nothing more is stored."""

assert set(get_args(Scope)) == set(SCOPES)
assert set(_QUANTITIES) == set(Quota._fields)
