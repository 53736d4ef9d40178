"""The whole document, for the settings of a daemon. Pure."""

from __future__ import annotations

from rrd import __version__
from rrd.config import Config
from rrd.http.openapi import of_erasing, of_events, of_lists, of_server, of_writing
from rrd.http.openapi.operations import ApiRoutes, Json, Writer
from rrd.http.openapi.schemas import schemas

_ABOUT = """\
Takes, stores and gives back recordings that rrweb makes of web pages.

**Keys.** A key goes into `Authorization: Bearer KEY`, or into `?token=KEY` where a header can't be set. A \
key has a scope: `ingest` writes, `read` reads, `all` does both, `erase` erases. Each key belongs to one \
tenant, and sees nothing of others. A presigned URL (`rrd sign`) stands in place of a key: the parameters \
`signature`, `expires` (UNIX seconds) and `keyId`. A read signature never writes, a write signature never \
reads.

**Errors** are JSON: `{"error":{"code","message",…}}`, below HTTP, too. A path that is not described here \
is answered with 404 `no_such_path`, another method with 405 `method_not_allowed` and the header `Allow`, a \
method that HTTP doesn't know with 501 `unsupported_method`.

**HEAD** answers as GET does, without a body, on each path that has a GET and opens no WebSocket. \
**OPTIONS** answers 204 on any path: the preflight of a page. Each answer may be read by the page that \
asked (CORS), errors too. Slashes that are doubled or stand at a path's end don't count, except for DELETE.

**Writing paths** have several names: rrweb's client uses `/events`, and a path without a recording's id \
takes it from the query or from the first `recording-meta` event."""

_TAGS = {
    of_writing.TAG: "Events and metadata, with a key of scope `ingest` or `all`.",
    of_events.TAG: "The events of one recording, with a key of scope `read` or `all`.",
    of_events.REPLAYS_TAG: "Several recordings as one.",
    of_lists.TAG: "Which recordings there are, and what is known of them.",
    of_erasing.TAG: "With a key of scope `erase`.",
    of_server.TAG: "Without a key.",
}

_HEADERS = {
    "ETag": "Names the answer, for `If-None-Match`.",
    "Link": 'The next page: `<…>; rel="next"`. The last page has none.',
    "Location": "Where it is.",
    "Content-Disposition": "The name of the file to keep.",
    "Rrd-Missing-Events": "How many events a salvaged answer lacks; 0: it is whole.",
    "Retry-After": "In how many seconds another try is worth it, where that is known.",
    "WWW-Authenticate": "`Bearer`.",
}

_SCOPES = {"ingest": "`ingest` or `all`", "read": "`read` or `all`", "erase": "`erase`"}


def all_routes(config: Config) -> ApiRoutes:
    """Return every method of every path, as the document describes it."""
    return (
        *of_writing.routes(config),
        *of_events.routes(config),
        *of_lists.routes(config),
        *of_erasing.routes(),
        *of_server.routes(),
    )


def document(config: Config) -> Json:
    """Return the OpenAPI document of a daemon with these settings."""
    writer = Writer()
    paths: Json = {}
    for method, path, operation in all_routes(config):
        paths.setdefault(path, {})[method] = writer.operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "rrd",
            "version": __version__,
            "summary": "A self-hosted ingest server for rrweb session recordings.",
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": config.public_url.rstrip("/") or "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas(config),
            "responses": dict(sorted(writer.responses.items())),
            "headers": {name: _header(name, text) for name, text in _HEADERS.items()},
            "securitySchemes": _security(),
        },
    }


def _header(name: str, text: str) -> Json:
    is_number = name in {"Retry-After", "Rrd-Missing-Events"}
    return {
        "description": text,
        "schema": {"type": "integer", "minimum": 0} if is_number else {"type": "string"},
    }


def _security() -> Json:
    found: Json = {}
    for right, scopes in _SCOPES.items():
        told = f"A key with scope {scopes}."
        found[f"{right}Key"] = {"type": "http", "scheme": "bearer", "description": told}
        found[f"{right}Token"] = {"type": "apiKey", "in": "query", "name": "token", "description": told}
    signed = {
        "presignedSignature": (
            "signature",
            "HMAC-SHA-256, in lower-case hex, of method, path, tenant and end.",
        ),
        "presignedExpires": ("expires", "When the URL ends, in UNIX seconds."),
        "presignedKeyId": ("keyId", "The signing key's label."),
    }
    for scheme, (name, told) in signed.items():
        found[scheme] = {"type": "apiKey", "in": "query", "name": name, "description": told}
    return found
