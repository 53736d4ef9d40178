"""The paths that take events and metadata: by POST and over a WebSocket, under several names."""

from __future__ import annotations

from rrd.config import Config
from rrd.http.caller import BODY_KINDS
from rrd.http.openapi.codes import BELOW, COUNTED, KEYED, STORING, over
from rrd.http.openapi.operations import (
    JSON_TYPE,
    ApiAnswer,
    ApiContent,
    ApiOperation,
    ApiParameter,
    ApiRoutes,
    Codes,
    Method,
    merged,
    schema,
)
from rrd.http.openapi.parameters import IN_QUERY, RECORDING
from rrd.wire.codings import BY_SPELLING, NAMES

TAG = "Writing"

WITHOUT_ID = ("", "/ingest", "/events", "/collect", "/recordings", "/recordings/ingest", "/recordings/events")
"""Paths of a ``serverUrl`` without an id. Some blockers match names like /events, hence /collect."""

_EVENT = {"type": 4, "timestamp": 1700000000000, "data": {"href": "https://shop.example/", "width": 1280}}
_LINE = '{"type":4,"timestamp":1700000000000,"data":{"href":"https://shop.example/","width":1280}}\n'

_OF_ID: Codes = {400: ("bad_recording_id",)}
_OF_BODY: Codes = {
    400: ("bad_body", "bad_framing", "broken_encoding"),
    408: ("too_slow",),
    411: ("length_required",),
    413: ("too_large",),
    415: ("unsupported_type",),
    503: ("too_much_unfinished",),
}
_CODINGS = {
    "enum": [spelling for spelling in BY_SPELLING if spelling and spelling not in {"none", "utf-8", "utf8"}]
}

_ENCODING = ApiParameter(
    "Content-Encoding",
    f"How the body is compressed: {NAMES}, or two of them with a comma.",
    _CODINGS,
    "identity",
    place="header",
)


def routes(config: Config) -> ApiRoutes:
    """Return the paths that take something."""
    post, ws = _post(config), _ws(config)
    found: list[tuple[Method, str, ApiOperation]] = []
    for name in ("ingest", "events"):
        title, path = name.title(), f"/recordings/{{recordingId}}/{name}"
        is_alias = name != "ingest"
        found += [
            ("post", path, post._replace(name=f"post{title}", alias_of="postIngest" * is_alias)),
            (
                "get",
                f"{path}/ws",
                ws._replace(name=f"open{title}Socket", alias_of="openIngestSocket" * is_alias),
            ),
        ]
    for path in WITHOUT_ID:
        title = "".join(word.title() for word in path.split("/")) or "Root"
        found += [
            ("post", path or "/", _without_id(post, f"postTo{title}", path or "/")),
            ("get", f"{path}/ws", _without_id(ws, f"openSocketAt{title}", f"{path}/ws")),
        ]
    found.append(("post", "/recordings/{recordingId}/meta", _meta(config)))
    return found


def _without_id(found: ApiOperation, name: str, path: str) -> ApiOperation:
    """Return an operation for a path that names no recording."""
    codes = found.codes if name.startswith("open") else merged(found.codes, {400: ("no_recording_id",)})
    return found._replace(
        name=name,
        alias_of="openIngestSocket" if name.startswith("open") else "postIngest",
        summary=f"{found.summary}, the recording named elsewhere",
        description="As `/recordings/{recordingId}/ingest`, and the query or the first `recording-meta` event"
        f" names the recording. Without an id in the query, a presigned URL is one of `{path}`.",
        parameters=(IN_QUERY, *(each for each in found.parameters if each is not RECORDING)),
        codes=codes,
    )


def _post(config: Config) -> ApiOperation:
    described = (
        "The body is taken in any of the forms that its Content-Type names; without a type, or with"
        " `text/plain`, its first byte says which. 200 means that every good line is on disk. A line that is"
        " no event is set aside and counted, and its neighbours are stored. Lines that were sent before are"
        " recognised and counted as duplicates. A body that is cut off counts as far as its whole lines go."
        f"\n\nA body has {config.body_bytes_max:,} bytes and {config.body_lines_max:,} lines at most, an"
        f" event {config.event_bytes_max:,} bytes, all counted after decompression."
    )
    return ApiOperation(
        name="postEvents", tag=TAG, summary="Send events", description=described, right="ingest",
        is_presigned=True, parameters=(RECORDING, _ENCODING),
        body_description="Events: lines (NDJSON), a JSON array, one event, or an object with `events`.",
        body=_bodies(), is_body_required=False,
        answers={
            200: ApiAnswer(
                "All good lines are on disk.",
                {JSON_TYPE: ApiContent(
                    schema("Taken"), {"successful_rows": 2, "quarantined_rows": 0, "duplicate_rows": 0}
                )},
            )
        },
        codes=merged(
            BELOW, KEYED, COUNTED, STORING, _OF_ID, _OF_BODY,
            {400: ("no_valid_events", "too_many_bad_lines")},
        ),
    )  # fmt: skip


def _bodies() -> dict[str, ApiContent]:
    """Return a content for each media type that is taken."""
    found = {}
    for name, kind in BODY_KINDS.items():
        if name in {"", "*/*"}:
            continue
        if kind == "json":
            found[name] = ApiContent(schema("Events"), [_EVENT])
        else:
            text = {"type": "string", "description": "Events, one a line."}
            found[name] = ApiContent(text, _LINE)
    return found


def _ws(config: Config) -> ApiOperation:
    described = (
        "A WebSocket that takes events: one or many lines in a text message, or compressed in a binary one."
        f" A message has fewer than {config.message_bytes_max:,} bytes. The server stores about each"
        f" {config.flush_bytes:,} bytes or {config.flush_age_ms} ms, pings each {config.ping_interval_s} s,"
        " and closes no socket for being idle.\n\n"
        "Before it closes, the server sends one summary,"
        ' `{"type":"upstream-result","ok":true,"status":204,"statusText":"","headers":{…},"final":true,…}`'
        " with the counts of a POST; with `ack=true` one after each flush, too, with `final` false. What went"
        ' wrong is told as `{"type":"error","status":…,"code":"…","message":"…"}`. Close codes: 1000 after'
        " the client's close, 1008 where the key was revoked or expired, 1011 after an error, 1012 where the"
        " server stops. `debug=true` also echoes the events."
    )
    return ApiOperation(
        name="openSocket", tag=TAG, summary="Send events over a WebSocket", description=described,
        right="ingest", is_presigned=True, parameters=(RECORDING, *_of_ws()),
        answers={101: ApiAnswer("The WebSocket is open (RFC 6455).")},
        codes=merged(
            BELOW, KEYED, _OF_ID,
            {
                400: ("not_a_websocket", "bad_websocket_key"),
                415: ("unsupported_type",),
                426: ("websocket_version",),
                429: (*over("sockets"), *over("recordings_per_min"), *over("bytes_per_day")),
                503: ("too_many_sockets",),
                507: ("disk_full",),
            },
        ),
    )  # fmt: skip


def _of_ws() -> tuple[ApiParameter, ...]:
    kinds = [name for name in BODY_KINDS if name not in {"", "*/*"}]
    return (
        ApiParameter("contentType", "The form of the messages.", {"enum": kinds}, "application/x-ndjson"),
        ApiParameter("contentEncoding", "How binary messages are compressed.", _CODINGS, "gzip"),
        ApiParameter("ack", "`true`: a summary after each flush.", {"type": "string"}, "true"),
        ApiParameter("debug", "`true`: the same, and the events are echoed.", {"type": "string"}, "true"),
    )


def _meta(config: Config) -> ApiOperation:
    described = (
        "Sets metadata: a flat JSON object, whose values are stored as strings. A key that is there gets the"
        " new value and the next version; others stay. Each pair counts by itself: those that break a rule"
        " are set aside and named.\n\n"
        f"A recording has {config.metadata_keys_max} keys at most, a key"
        f" {config.metadata_key_bytes_max} bytes, a value {config.metadata_value_bytes_max:,} bytes."
        " The Content-Type does not matter."
    )
    return ApiOperation(
        name="postMetadata", tag=TAG, summary="Set metadata", description=described, right="ingest",
        is_presigned=True, parameters=(RECORDING, _ENCODING),
        body_description="A flat JSON object.",
        body={JSON_TYPE: ApiContent(schema("MetadataSent"), {"userId": "u-123", "plan": "pro"})},
        answers={
            200: ApiAnswer(
                "What can be kept is on disk.",
                {JSON_TYPE: ApiContent(
                    schema("MetadataTaken"), {"successful_keys": 2, "quarantined_keys": 0}
                )},
            )
        },
        codes=merged(
            BELOW, KEYED, COUNTED, STORING, _OF_ID, _OF_BODY,
            {400: ("bad_metadata", "too_many_metadata_keys")},
        ),
    )  # fmt: skip
