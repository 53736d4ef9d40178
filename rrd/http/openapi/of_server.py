"""The paths that need no key: health, the recorder script, and the document itself."""

from __future__ import annotations

from rrd.http.openapi.codes import BELOW
from rrd.http.openapi.operations import (
    JSON_TYPE,
    ApiAnswer,
    ApiContent,
    ApiOperation,
    ApiRoutes,
    merged,
    schema,
)
from rrd.http.openapi.parameters import IF_NONE_MATCH

TAG = "Server"

_NOT_MODIFIED = ApiAnswer("The answer is the one that the caller has.", headers=("ETag",))


def routes() -> ApiRoutes:
    """Return the paths that need no key."""
    script = ApiOperation(
        name="getRecorder", tag=TAG, summary="Load the recorder",
        description="The recorder as a script for pages, in br or gzip where that is accepted.",
        parameters=(IF_NONE_MATCH,),
        answers={
            200: ApiAnswer(
                "The script.", {"text/javascript": ApiContent({"type": "string"})}, ("ETag",)
            ),
            304: _NOT_MODIFIED,
        },
        codes=merged(BELOW, {503: ("no_assets",)}),
    )  # fmt: skip
    healthy = ApiOperation(
        name="getHealthy", tag=TAG, summary="Ask whether it serves",
        description="200 while the process serves.",
        answers={
            200: ApiAnswer(
                "It serves.", {JSON_TYPE: ApiContent(schema("Healthy"), {"status": "healthy"})}
            )
        },
        codes=BELOW,
    )  # fmt: skip
    ready = ApiOperation(
        name="getReady", tag=TAG, summary="Ask whether it stores",
        description="200 while events are stored; otherwise 503, and `message` tells why not.",
        answers={200: ApiAnswer("It stores.", {JSON_TYPE: ApiContent(schema("Ready"), {"status": "ready"})})},
        codes=merged(BELOW, {503: ("not_ready",)}),
    )  # fmt: skip
    document = ApiOperation(
        name="getOpenApi", tag=TAG, summary="Read this document",
        description="The API as OpenAPI 3.1, for the settings that count now.",
        parameters=(IF_NONE_MATCH,),
        answers={
            200: ApiAnswer("The document.", {JSON_TYPE: ApiContent({"type": "object"})}, ("ETag",)),
            304: _NOT_MODIFIED,
        },
        codes=BELOW,
    )  # fmt: skip
    return (
        ("get", "/record.js", script),
        ("get", "/browser-client.umd.cjs", script._replace(name="getRecorderBundle", alias_of="getRecorder")),
        ("get", "/-/healthy", healthy),
        ("get", "/-/ready", ready),
        ("get", "/openapi.json", document),
    )
