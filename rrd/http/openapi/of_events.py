"""The paths that give a recording's events: as they are, as a page, counted, and composed."""

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
    Codes,
    merged,
    schema,
)
from rrd.http.openapi.parameters import FROM, IF_NONE_MATCH, META, RECORDING, TIME, TO, number, salvage
from rrd.http.openapi.schemas import EXAMPLE_ID
from rrd.http.ranges import PAGE_BYTES_MAX, PAGE_BYTES_MIN, PAGE_EVENTS_MAX
from rrd.http.replays import GAP_MS_MAX
from rrd.playback.compose import GAP_MAX_DEFAULT_MS

TAG, REPLAYS_TAG = "Reading events", "Composed replays"
SEQ_MAX = 2**63 - 1
FOLLOWED_SEQ_MAX = 10**15 - 1

_STORED = {
    "type": 4,
    "timestamp": 1700000000000,
    "data": {"href": "https://shop.example/", "width": 1280},
    "sequenceId": 1,
    "recordingId": EXAMPLE_ID,
}
_REPLAYED = {**_STORED, "timestamp": 0, "originalTimestamp": 1700000000000}
_LINES = {"type": "string", "description": "Events, one a line."}
_TEXT = {"type": "string"}
_NAME = {"type": "string", "minLength": 1}
_NOT_MODIFIED = ApiAnswer("The answer is the one that the caller has.", headers=("ETag",))

READ: Codes = {
    400: ("bad_recording_id", "bad_request"),
    404: ("not_found",),
    500: ("recording_damaged",),
    503: ("object_store_away", "wrong_object_store", "too_many_reads"),
}


def routes(config: Config) -> ApiRoutes:
    """Return the paths that give events."""
    replay = _replay(config)
    named = (
        ApiParameter("groupingProp", "A metadata key, or `recordingId`.", _NAME, "userId", place="path"),
        ApiParameter("replayValue", "Its value.", _NAME, "u-123", place="path"),
    )
    return (
        ("get", "/recordings/{recordingId}/events", _events(config)),
        ("get", "/recordings/{recordingId}/export.html", _export(config)),
        ("get", "/recordings/{recordingId}/preview", _preview()),
        ("get", "/recordings/{recordingId}/pages", _pages(config)),
        ("get", "/replay", replay),
        (
            "get",
            "/replays/{groupingProp}/{replayValue}",
            replay._replace(
                name="getReplayOf",
                summary="Compose a replay of one key and value",
                description="As `/replay?meta[groupingProp]=replayValue`. Both segments are percent-decoded"
                " once. `recordingId` as the key selects a recording by its id, unless the tenant has"
                " metadata of this name. Further filters narrow it.",
                parameters=(*named, *replay.parameters),
            ),
        ),
    )


def _events(config: Config) -> ApiOperation:
    described = (
        "All events, or those that the query asks for, each with `sequenceId` and `recordingId`. The order is"
        " that of playback: by `timestamp`, equal ones as they arrived; with `after` it is that of arrival."
        "\n\n`limit` and `maxBytes` ask for a page, and the header `Link` leads to the next one. A walk is as"
        " of its first page. `Accept` chooses a JSON array or NDJSON, `Accept-Encoding` the compression."
        "\n\n`follow=true` is live: server-sent events, or NDJSON, first what there is, then each event once"
        " it is stored. It goes with `at` or `after` alone; `Last-Event-ID` says where a stream resumes."
        "\n\n`form=stored` gives the recording as it is stored: zstd frames of NDJSON, without the two"
        " members.\n\nAn error after the answer began breaks the connection."
    )
    return ApiOperation(
        name="getEvents", tag=TAG, summary="Read events", description=described, right="read",
        unless="unless `at`, `after`, `limit`, `maxBytes`, `cursor`, `clock` or `follow` is beside them: 400",
        is_presigned=True, parameters=(RECORDING, *_of_events(config)),
        answers={
            200: ApiAnswer(
                "Events. With `form=stored` the Content-Encoding is zstd.",
                {
                    JSON_TYPE: ApiContent({"type": "array", "items": schema("StoredEvent")}, [_STORED]),
                    "application/x-ndjson": ApiContent(_LINES),
                    "application/ndjson": ApiContent(_LINES),
                    "text/event-stream": ApiContent(
                        {"description": "With `follow=true`: each `data` line is one event, as in the array."}
                    ),
                },
                ("ETag", "Link", "Content-Disposition", "Rrd-Missing-Events"),
            ),
            204: ApiAnswer("With `follow=true`: the stream that was to be resumed is over."),
            304: _NOT_MODIFIED,
        },
        codes=merged(
            BELOW, KEYED, COUNTED, READ,
            {400: ("not_a_socket_path",), 406: ("not_acceptable",), 503: ("too_many_watchers",)},
        ),
    )  # fmt: skip


def _of_events(config: Config) -> tuple[ApiParameter, ...]:
    at = (
        "What a replay needs that begins at this time: from the last FullSnapshot before it on. Not with"
        " `from`, and not later than `to`."
    )
    return (
        FROM._replace(description=f"{FROM.description} Not later than `to`."),
        TO,
        ApiParameter("at", at, TIME, 1700000000000),
        ApiParameter(
            "after",
            "Events with a greater `sequenceId`, in order of arrival; 0: all. Not with `from`, `to`, `at` and"
            " `cursor`. With `follow=true` it has 15 digits at most.",
            number(0, SEQ_MAX),
            0,
        ),
        ApiParameter("limit", "A page of so many events.", number(1, PAGE_EVENTS_MAX), 100),
        ApiParameter(
            "maxBytes",
            "A page of so many bytes of uncompressed text; its last event may pass that.",
            number(PAGE_BYTES_MIN, PAGE_BYTES_MAX),
            1 << 20,
        ),
        ApiParameter("cursor", "Where a walk goes on. It stands in the `Link` of the page before.", _TEXT),
        ApiParameter(
            "clock",
            "`server`: where the page's clock is off by more than five minutes, times are moved to the"
            " server's. Not in pages, and not with `after`.",
            {"const": "server"},
            "server",
        ),
        ApiParameter("follow", "`true`: live.", {"enum": ["true", "false"], "default": "false"}, "false"),
        ApiParameter(
            "form",
            "`json` and `ndjson`: a file to keep, whatever `Accept` says. `stored`: as it is stored; it wants"
            " `Accept-Encoding: zstd` and goes with no other parameter but `salvage`.",
            {"enum": ["json", "ndjson", "stored"]},
            "ndjson",
        ),
        salvage(config.reads_of_damage),
        IF_NONE_MATCH,
        ApiParameter(
            "Last-Event-ID",
            "With `follow=true`: the number up to which the caller has every event. It wins over `after`.",
            number(0, FOLLOWED_SEQ_MAX),
            12,
            place="header",
        ),
    )


def _export(config: Config) -> ApiOperation:
    described = (
        "One file that replays the recording, from a disk too. `from` and `to` choose a part, which is shown"
        f" from its first full snapshot on. It holds {config.html_export_bytes_max:,} bytes of events at"
        " most."
    )
    return ApiOperation(
        name="getExport", tag=TAG, summary="Save as a page", description=described, right="read",
        is_presigned=True, passes_unknown=False,
        parameters=(RECORDING, FROM, TO, salvage(config.reads_of_damage), IF_NONE_MATCH),
        answers={
            200: ApiAnswer(
                "The page, as an attachment.",
                {"text/html": ApiContent({"type": "string"})},
                ("ETag", "Content-Disposition", "Rrd-Missing-Events"),
            ),
            304: _NOT_MODIFIED,
        },
        codes=merged(BELOW, KEYED, COUNTED, READ, {400: ("export_too_large",), 503: ("no_assets",)}),
    )  # fmt: skip


def _preview() -> ApiOperation:
    return ApiOperation(
        name="getPreview", tag=TAG, summary="Open in the console",
        description="A link for people: it leads to the console's player, which asks them to sign in.",
        parameters=(RECORDING,),
        answers={302: ApiAnswer("The player's page.", headers=("Location",))},
        codes=merged(BELOW, {400: ("bad_recording_id",), 404: ("no_console",)}),
    )  # fmt: skip


def _pages(config: Config) -> ApiOperation:
    counts = {"clicks": 2, "inputs": 0, "errors": 0, "activeMs": 2000}
    page = {
        "from": 1700000000000, "to": 1700000041200, "snapshot": 1700000000032, "kind": "page",
        "sequenceId": 1,
        "url": "https://shop.example/", "width": 1280, "height": 720, "events": 403, "bytes": 980112,
        **counts,
    }  # fmt: skip
    example = {
        "recordingId": EXAMPLE_ID, "asOf": 403, "first": 1700000000000, "last": 1700000041200, "events": 403,
        "bytes": 980112, "live": False, "closed": True, **counts, "rageBursts": 0, "beforeFirstSnapshot": 0,
        "pages": [page], "pagesCut": 0, "activeIsCut": False,
        "activity": {"from": 1700000000000, "to": 1700000042000, "slotMs": 1000, "levels": "AgAB"},
    }  # fmt: skip
    return ApiOperation(
        name="getPages", tag=TAG, summary="Tell what happened",
        description="Page views and checkpoints, counts, and the user's activity over time: what a player"
        " needs before it has an event. Where counting takes long, the answer begins before all is counted,"
        " and an error breaks the connection.",
        right="read", is_presigned=True, passes_unknown=False,
        parameters=(RECORDING, salvage(config.reads_of_damage), IF_NONE_MATCH),
        answers={
            200: ApiAnswer(
                "What happened.", {JSON_TYPE: ApiContent(schema("Pages"), example)},
                ("ETag", "Rrd-Missing-Events"),
            ),
            304: _NOT_MODIFIED,
        },
        codes=merged(BELOW, KEYED, COUNTED, READ),
    )  # fmt: skip


def _replay(config: Config) -> ApiOperation:
    described = (
        "The events of all recordings that match, page view after page view, for a replayer to play in one"
        " go. `timestamp` counts from 0, `originalTimestamp` is what it was. No match is an empty array. A"
        f" replay has {config.replay_recordings_max:,} recordings at most. It takes a private key: a"
        " presigned URL is for one recording. An error after the answer began breaks the connection."
    )
    gap = ApiParameter(
        "gapMax", "The longest gap between two page views, in ms.",
        number(1, GAP_MS_MAX, GAP_MAX_DEFAULT_MS), 500,
    )  # fmt: skip
    return ApiOperation(
        name="getReplay", tag=REPLAYS_TAG, summary="Compose a replay", description=described, right="read",
        passes_unknown=False,
        parameters=(META, gap, salvage(config.reads_of_damage), IF_NONE_MATCH),
        answers={
            200: ApiAnswer(
                "Events in the order of playback.",
                {
                    JSON_TYPE: ApiContent({"type": "array", "items": schema("ReplayedEvent")}, [_REPLAYED]),
                    "application/x-ndjson": ApiContent(_LINES),
                    "application/ndjson": ApiContent(_LINES),
                },
                ("ETag", "Rrd-Missing-Events"),
            ),
            304: _NOT_MODIFIED,
        },
        codes=merged(
            BELOW, KEYED, COUNTED,
            {
                400: ("bad_request", "too_many_recordings", "too_many_page_views", "too_many_filters"),
                500: ("recording_damaged",),
                503: ("object_store_away", "wrong_object_store", "too_many_reads"),
            },
        ),
    )  # fmt: skip
