"""The paths that erase: one recording, or all that match."""

from __future__ import annotations

from rrd.http.openapi.codes import BELOW, COUNTED, KEYED
from rrd.http.openapi.operations import (
    JSON_TYPE,
    ApiAnswer,
    ApiContent,
    ApiOperation,
    ApiRoutes,
    merged,
    schema,
)
from rrd.http.openapi.parameters import LIKE_A_FILTER, META, RECORDING

TAG = "Erasing"

_RECEIPT = {"recordings": 1, "events": 812, "bytes": 183204, "objects": 1}


def routes() -> ApiRoutes:
    """Return the paths that erase."""
    one = ApiOperation(
        name="eraseRecording", tag=TAG, summary="Erase a recording",
        description="Its events, metadata and objects go for good, and it takes nothing more (410). A key of"
        " scope `erase` is needed; a presigned URL can't erase.",
        right="erase", parameters=(RECORDING,), unless=LIKE_A_FILTER, answers=_answers(),
        codes=merged(
            BELOW, KEYED, COUNTED,
            {400: ("bad_recording_id", "bad_request"), 404: ("not_found",)},
        ),
    )  # fmt: skip
    several = ApiOperation(
        name="eraseRecordings", tag=TAG, summary="Erase all that match",
        description="Erases every recording that has all metadata named. At least one filter is needed.",
        right="erase", passes_unknown=False, parameters=(META._replace(is_required=True),),
        answers=_answers(),
        codes=merged(
            BELOW, KEYED, COUNTED, {400: ("bad_request", "no_filter", "too_many_filters")}
        ),
    )  # fmt: skip
    return (("delete", "/recordings/{recordingId}", one), ("delete", "/recordings", several))


def _answers() -> dict[int, ApiAnswer]:
    return {
        200: ApiAnswer("All of it is gone.", {JSON_TYPE: ApiContent(schema("Receipt"), _RECEIPT)}),
        202: ApiAnswer(
            "It is served no more. Objects are still to go, since the object store is away; the server does"
            " that once the store is back.",
            {JSON_TYPE: ApiContent(schema("Receipt"), {**_RECEIPT, "objects": 0, "pending": 1})},
        ),
    }
