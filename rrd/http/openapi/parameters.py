"""Parameters that several paths take. Their bounds are the handlers' own."""

from __future__ import annotations

from typing import Literal

from rrd.http.openapi.operations import ApiParameter, Json, schema
from rrd.http.openapi.schemas import EXAMPLE_ID

FLAG: Json = {"enum": ["true", "false"]}
"""Any other word is refused."""

LIKE_A_FILTER = "unless one looks like a filter, or like another spelling of a known one: 400"
"""A filter that is passed over would widen what it should narrow."""

TIME: Json = {"type": "number"}


def number(least: int, most: int, default: int | None = None) -> Json:
    """Return the shape of a whole number with bounds."""
    return {"type": "integer", "minimum": least, "maximum": most} | (
        {} if default is None else {"default": default}
    )


RECORDING = ApiParameter("recordingId", "The recording.", schema("RecordingId"), EXAMPLE_ID, place="path")
IN_QUERY = ApiParameter(
    "recordingId",
    "The recording. Without it, the first `recording-meta` event must name it.",
    schema("RecordingId"),
    EXAMPLE_ID,
)
META = ApiParameter(
    "meta",
    "Filters: `meta[userId]=u-123`. A recording must have every key with its value. The brackets may be"
    " percent-encoded. 50 filters at most.",
    {"type": "object", "additionalProperties": {"type": "string"}},
    {"userId": "u-123"},
)


def salvage(default: Literal["refuse", "salvage"]) -> ApiParameter:
    """Return the parameter that says what a damaged recording is answered with."""
    told = {"enum": ["true", "false"], "default": "true" if default == "salvage" else "false"}
    return ApiParameter(
        "salvage",
        "`true`: a damaged recording gives what is intact, and the header `Rrd-Missing-Events` tells how many"
        " events are missing. `false`: it is refused with 500.",
        told,
        "true",
    )


FROM = ApiParameter("from", "Events from this time on (ms since the epoch, by the page's clock).", TIME, 0)
TO = ApiParameter("to", "Events before this time.", TIME, 4102444800000)
IF_NONE_MATCH = ApiParameter(
    "If-None-Match",
    "The `ETag` of an earlier answer: 304 if it is still good.",
    {"type": "string"},
    '"18bcfe5687f-812-json-identity"',
    place="header",
)
