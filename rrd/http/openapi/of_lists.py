"""The paths that tell of recordings: the list, metadata, names for filters, and figures."""

from __future__ import annotations

from rrd.config import Config
from rrd.http.openapi.codes import BELOW, COUNTED, KEYED
from rrd.http.openapi.operations import (
    JSON_TYPE,
    ApiAnswer,
    ApiContent,
    ApiOperation,
    ApiParameter,
    ApiRoutes,
    Json,
    merged,
    schema,
)
from rrd.http.openapi.parameters import FLAG, LIKE_A_FILTER, META, RECORDING, TIME, number
from rrd.http.openapi.schemas import EXAMPLE_ID
from rrd.http.reads import LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX, OFFSET_MAX
from rrd.http.suggestions import LIMIT_DEFAULT, LIMIT_MAX
from rrd.http.wanted import SORTS, URL_MAX

TAG = "Reading lists"

_READS = {503: ("too_many_reads",)}
_BAD = {400: ("bad_request",)}
_TEXT: Json = {"type": "string"}


def routes(config: Config) -> ApiRoutes:
    """Return the paths that tell of recordings."""
    return (
        ("get", "/recordings", _list(config)),
        ("get", "/recordings/{recordingId}", _recording(config)),
        ("get", "/metaKeys", _keys()),
        ("get", "/metaValues", _values()),
        ("get", "/statistics", _statistics()),
    )


def _list(config: Config) -> ApiOperation:
    path = f"{config.public_url.rstrip('/')}/recordings/{EXAMPLE_ID}"
    item = {
        "recordingId": EXAMPLE_ID,
        "timestamp": 1700000000000,
        "links": {"self": path, "events": f"{path}/events"},
        "metadata": {"userId": "u-123"},
    }
    described = (
        "The tenant's recordings, newest first, narrowed by metadata and by what happened. With `summary`,"
        " `sort`, `from`, `to`, `url`, `minDuration`, `minActive`, `hasErrors` or `live` each item tells"
        " more. What comes from a recording's objects is null until it is rolled up."
    )
    return ApiOperation(
        name="listRecordings", tag=TAG, summary="List recordings", description=described, right="read",
        is_presigned=True, parameters=(META, *_of_list()), unless=LIKE_A_FILTER,
        answers={
            200: ApiAnswer(
                "A page of the list.",
                {JSON_TYPE: ApiContent(schema("RecordingList"), {"recordings": [item]})},
            )
        },
        codes=merged(
            BELOW, KEYED, COUNTED, _READS, _BAD,
            {400: ("no_signing_key", "host_not_admitted", "too_many_filters", "too_many_urls")},
        ),
    )  # fmt: skip


def _of_list() -> tuple[ApiParameter, ...]:
    url = (
        "A url that it has been to, without query string and fragment; with a `*` at the end: what it begins"
        " with."
    )
    signed = "`true`: `links.eventsSigned` is a presigned URL that is good for an hour."
    return (
        ApiParameter(
            "limit", "So many recordings.", number(1, LIST_LIMIT_MAX, LIST_LIMIT_DEFAULT), LIST_LIMIT_MAX
        ),
        ApiParameter("offset", "So many are left out first.", number(0, OFFSET_MAX, 0), 0),
        ApiParameter("includeSignedUrls", signed, {**FLAG, "default": "false"}, "false"),
        ApiParameter("summary", "`true`: each item tells more.", {**FLAG, "default": "false"}, "true"),
        ApiParameter(
            "sort", "The greatest first, equal ones newest first.",
            {"enum": list(SORTS), "default": "newest"}, "duration",
        ),
        ApiParameter("from", "It began then or later (ms; the server's time of its first data).", TIME, 0),
        ApiParameter("to", "It began before.", TIME, 4102444800000),
        ApiParameter(
            "url", url, {"type": "string", "minLength": 1, "maxLength": URL_MAX, "pattern": "^[^?#]*$"},
            "https://shop.example/*",
        ),
        ApiParameter("minDuration", "It lasts so long, in ms.", {"type": "number", "minimum": 0}, 1000),
        ApiParameter("minActive", "So much time with input, in ms.", {"type": "number", "minimum": 0}, 1000),
        ApiParameter("hasErrors", "`true`: at least one error.", {**FLAG, "default": "false"}, "true"),
        ApiParameter("live", "`true`: it is going on.", {**FLAG, "default": "false"}, "true"),
    )  # fmt: skip


def _recording(config: Config) -> ApiOperation:
    pair = {"key": "userId", "value": "u-123", "timestamp": 1700000000000, "version": 1}
    is_list = config.metadata_shape == "list"
    shape = ApiParameter(
        "shape", "`list`: an array of pairs. `object`: one object.",
        {"enum": ["list", "object"], "default": config.metadata_shape}, "list",
    )  # fmt: skip
    either: Json = {"anyOf": [schema("MetadataList"), schema("MetadataObject")]}
    example: object = [pair] if is_list else {"metadata": {"userId": "u-123"}}
    return ApiOperation(
        name="getRecording", tag=TAG, summary="Read metadata",
        description="The metadata of one recording.",
        right="read", is_presigned=True, parameters=(RECORDING, shape),
        answers={200: ApiAnswer("The metadata.", {JSON_TYPE: ApiContent(either, example)})},
        codes=merged(
            BELOW, KEYED, COUNTED, _READS, _BAD, {400: ("bad_recording_id",), 404: ("not_found",)}
        ),
    )  # fmt: skip


_NAMES = (
    ApiParameter("prefix", "What they begin with.", _TEXT, "user"),
    ApiParameter("limit", "So many.", number(1, LIMIT_MAX, LIMIT_DEFAULT), LIMIT_MAX),
)


def _keys() -> ApiOperation:
    return ApiOperation(
        name="getMetadataKeys", tag=TAG, summary="List metadata keys",
        description="Keys that the tenant's recordings have. A presigned URL won't do.",
        right="read", parameters=_NAMES, passes_unknown=False,
        answers={
            200: ApiAnswer(
                "The keys.", {JSON_TYPE: ApiContent(schema("MetadataKeys"), {"keys": ["plan", "userId"]})}
            )
        },
        codes=merged(BELOW, KEYED, COUNTED, _READS, _BAD),
    )  # fmt: skip


def _values() -> ApiOperation:
    key = ApiParameter("key", "The key.", _TEXT, "userId", is_required=True)
    return ApiOperation(
        name="getMetadataValues", tag=TAG, summary="List values of a metadata key",
        description="Values that the tenant's recordings have for one key. A presigned URL won't do.",
        right="read", parameters=(key, *_NAMES), passes_unknown=False,
        answers={
            200: ApiAnswer(
                "The values.",
                {JSON_TYPE: ApiContent(schema("MetadataValues"), {"key": "userId", "values": ["u-123"]})},
            )
        },
        codes=merged(BELOW, KEYED, COUNTED, _READS, _BAD),
    )  # fmt: skip


def _statistics() -> ApiOperation:
    example = {"totalRecordings": 812, "recordingsThisMonth": 37, "totalStorageBytes": 73400320}
    return ApiOperation(
        name="getStatistics", tag=TAG, summary="Read figures",
        description="How many recordings the tenant has, and how much they take. It takes no filter.",
        unless=LIKE_A_FILTER,
        right="read", is_presigned=True,
        answers={200: ApiAnswer("The figures.", {JSON_TYPE: ApiContent(schema("Statistics"), example)})},
        codes=merged(BELOW, KEYED, COUNTED, _BAD),
    )  # fmt: skip
