"""The shapes of what is sent and answered. Bounds that a setting names are those of the daemon's settings."""

from __future__ import annotations

from typing import get_args

from rrd.config import Config
from rrd.http.openapi.operations import Json, schema
from rrd.wire.metadata import BadPairReason
from rrd.wire.parse import Reason

EXAMPLE_ID = "0b9f6a1e-52f7-4b8e-9d57-1a2b3c4d5e6f"
_HEX = "[0-9A-Fa-f]"
_UUID = f"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}"

COUNT: Json = {"type": "integer", "minimum": 0}
MS: Json = {"type": "number", "description": "Milliseconds since the epoch, by the page's clock."}
_TEXT: Json = {"type": "string"}
_BASE64: Json = {"type": "string", "contentEncoding": "base64"}


def record(properties: Json, description: str, *, optional: tuple[str, ...] = ()) -> Json:
    """Return the shape of an object; its members are required, but for the ``optional`` ones."""
    return {
        "type": "object",
        "description": description,
        "required": [name for name in properties if name not in optional],
        "properties": properties,
    }


def listed(items: Json) -> Json:
    """Return the shape of an array."""
    return {"type": "array", "items": items}


def or_null(shape: Json) -> Json:
    """Return a shape that may be null instead."""
    return {"anyOf": [shape, {"type": "null"}]}


def schemas(config: Config) -> Json:
    """Return all shapes, by name."""
    return {
        **_of_names(config),
        **_of_events(),
        **_of_counts(),
        **_of_metadata(),
        **_of_lists(),
        **_of_pages(),
        **_of_server(),
    }


def _of_names(config: Config) -> Json:
    is_uuid = config.recording_ids == "uuid"
    form = "A UUID." if is_uuid else "A UUID, or 8 to 64 characters of `A-Z a-z 0-9 _ -`."
    problem = record(
        {
            "code": {**_TEXT, "description": "A stable word for programs."},
            "message": {**_TEXT, "description": "A sentence for people; its words may change."},
            "parameter": {**_TEXT, "description": "The parameter that is at fault."},
            "errors": listed({"anyOf": [schema("BadLine"), schema("BadPair")]}),
            "successful_rows": COUNT,
            "quarantined_rows": COUNT,
            "duplicate_rows": COUNT,
            "successful_keys": COUNT,
            "quarantined_keys": COUNT,
            "events": {**COUNT, "description": "Events that the recording, or its part, should have."},
            "missingEvents": {**COUNT, "description": "Events that are damaged."},
            "recordingId": schema("RecordingId"),
        },
        "What went wrong.",
        optional=(
            *("parameter", "errors", "successful_rows", "quarantined_rows", "duplicate_rows"),
            *("successful_keys", "quarantined_keys", "events", "missingEvents", "recordingId"),
        ),
    )
    return {
        "RecordingId": {
            **_TEXT,
            "description": f"{form} A UUID may be written in upper or lower case; answers have lower case.",
            "pattern": f"^{_UUID}$" if is_uuid else "^[A-Za-z0-9_-]{8,64}$",
        },
        "Problem": record({"error": problem}, "Every error has this shape, whatever answered it."),
    }


def _of_events() -> Json:
    own: Json = {
        "type": {
            "type": "integer",
            "description": "0 DomContentLoaded, 1 Load, 2 FullSnapshot, 3 IncrementalSnapshot, 4 Meta, 5"
            " Custom, 6 Plugin, 7 Asset, 8 Annotation; other ones are stored untouched.",
        },
        "timestamp": {"type": "number", "description": "Milliseconds, by the visitor's clock."},
        "data": {"description": "What rrweb recorded."},
    }
    added: Json = {
        "sequenceId": {
            "description": "The number of the event in its recording: arrivals, counted from 1 without gaps."
            " An event that came with a `sequenceId` of its own keeps that, whatever it is."
        },
        "recordingId": {"description": "The recording's id; an event that came with one keeps its own."},
    }
    moved: Json = {"originalTimestamp": {"type": "number", "description": "What `timestamp` was."}}
    return {
        "Event": record(own, "One rrweb event. Other members are stored, too.", optional=("data",)),
        "PackedEvent": {
            **_TEXT,
            "description": "An event as `pack` of `@rrweb/packer` makes it: a string whose characters are the"
            " bytes of a zlib stream.",
        },
        "Events": {
            "description": "An array of events, one event, or an object with an array `events`.",
            "anyOf": [
                listed({"anyOf": [schema("Event"), schema("PackedEvent")]}),
                schema("Event"),
                record(
                    {"events": listed({"anyOf": [schema("Event"), schema("PackedEvent")]})}, "A document."
                ),
            ],
        },
        "StoredEvent": record(
            {**own, **added, **moved},
            "An event as it was sent, with two members added. `originalTimestamp` is there with"
            " `clock=server`, where the times were moved.",
            optional=("data", "originalTimestamp"),
        ),
        "ReplayedEvent": record(
            {**own, **added, **moved},
            "An event in a composed replay: `timestamp` counts from 0.",
            optional=("data",),
        ),
    }


def _of_counts() -> Json:
    line: Json = {"type": "integer", "minimum": 1, "description": "The line of the body, from 1."}
    return {
        "Taken": record(
            {
                "successful_rows": {**COUNT, "description": "Lines that are stored now, metadata too."},
                "quarantined_rows": {**COUNT, "description": "Lines that are no events, set aside."},
                "duplicate_rows": {**COUNT, "description": "Lines that had been stored before."},
            },
            "What became of the lines. All that is counted is on disk, and survives a power cut.",
        ),
        "MetadataTaken": record(
            {"successful_keys": COUNT, "quarantined_keys": COUNT, "errors": listed(schema("BadPair"))},
            "What became of the pairs.",
            optional=("errors",),
        ),
        "BadLine": record(
            {"line": line, "reason": {"enum": list(get_args(Reason))}},
            "A line that is no event.",
        ),
        "BadPair": record(
            {"line": line, "key": _TEXT, "reason": {"enum": list(get_args(BadPairReason))}},
            "A pair of metadata that can't be kept as it is.",
            optional=("line",),
        ),
        "Receipt": record(
            {
                "recordings": COUNT,
                "events": COUNT,
                "bytes": {**COUNT, "description": "What they took at rest."},
                "objects": {**COUNT, "description": "Objects that went, each old version counted as one."},
                "pending": {**COUNT, "description": "Recordings of which objects are still to go."},
            },
            "What went.",
            optional=("pending",),
        ),
    }


def _of_metadata() -> Json:
    return {
        "MetadataList": listed(
            record(
                {
                    "key": _TEXT,
                    "value": _TEXT,
                    "timestamp": {"type": "integer", "description": "When it was last written, in ms."},
                    "version": {"type": "integer", "minimum": 1, "description": "Counts the writes."},
                },
                "One key.",
            )
        ),
        "MetadataObject": record(
            {"metadata": schema("Metadata")}, "The same as one object (`shape=object`)."
        ),
        "Metadata": {
            "type": "object",
            "description": "Key → value. Values are stored as strings.",
            "additionalProperties": _TEXT,
        },
        "MetadataSent": {
            "type": "object",
            "description": "Key → value, flat. Numbers, booleans and null become their text.",
            "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
        },
        "MetadataKeys": record({"keys": listed(_TEXT)}, "Keys, in the order of their UTF-8 bytes."),
        "MetadataValues": record(
            {"key": _TEXT, "values": listed(_TEXT)}, "Values of one key, in the order of their UTF-8 bytes."
        ),
    }


def _of_lists() -> Json:
    known: Json = {
        "first": or_null(MS),
        "last": or_null(MS),
        "duration": or_null({"type": "number"}),
        "events": COUNT,
        "bytes": {**COUNT, "description": "Bytes of events, as they were sent."},
        "live": {"type": "boolean"},
        **{name: or_null(COUNT) for name in ("activeTime", "clicks", "inputs", "errors", "rageBursts")},
        "url": or_null(_TEXT),
        "activity": or_null(_BASE64),
    }
    links = record(
        {"self": _TEXT, "events": _TEXT, "eventsSigned": _TEXT},
        "Paths, or URLs where the server has a public one.",
        optional=("eventsSigned",),
    )
    item: Json = {
        "recordingId": schema("RecordingId"),
        "timestamp": {"type": "integer", "description": "When its first data came, in ms since the epoch."},
        "links": links,
        "metadata": schema("Metadata"),
    }
    told = "A recording. The members from `first` on are there if the list is asked for more than metadata."
    return {
        "Recording": record({**item, **known}, told, optional=tuple(known)),
        "RecordingList": record({"recordings": listed(schema("Recording"))}, "One page of the list."),
        "Statistics": record(
            dict.fromkeys(("totalRecordings", "recordingsThisMonth", "totalStorageBytes"), COUNT),
            "Figures of the key's tenant.",
        ),
    }


def _of_pages() -> Json:
    counts = ("clicks", "inputs", "errors", "activeMs")
    page: Json = {
        "from": MS,
        "to": MS,
        "snapshot": MS,
        "kind": {"enum": ["page", "checkpoint"]},
        "sequenceId": {**COUNT, "description": "Number of its first event."},
        "url": or_null(_TEXT),
        "width": {"type": "number"},
        "height": {"type": "number"},
        **dict.fromkeys(("events", "bytes", *counts), COUNT),
    }
    activity: Json = {
        "from": {"type": "number"},
        "to": {"type": "number"},
        "slotMs": COUNT,
        "levels": _BASE64,
    }
    return {
        "Pages": record(
            {
                "recordingId": schema("RecordingId"),
                "asOf": {**COUNT, "description": "Number of the last event that counts."},
                "first": or_null(MS),
                "last": or_null(MS),
                "events": COUNT,
                "bytes": COUNT,
                "live": {"type": "boolean", "description": "It may still grow."},
                "closed": {"type": "boolean", "description": "The page said that it is over."},
                **dict.fromkeys((*counts, "rageBursts"), COUNT),
                "beforeFirstSnapshot": {**COUNT, "description": "Events that can't be shown."},
                "pages": {**listed(record(page, "A page view or a checkpoint.")), "maxItems": 1000},
                "pagesCut": {**COUNT, "description": "Pages beyond, which count for the last one."},
                "activeIsCut": {"type": "boolean"},
                "activity": record(activity, "The user's events over time: a byte a slot."),
            },
            "What happened in a recording.",
        ),
    }


def _of_server() -> Json:
    return {
        "Healthy": record({"status": {"const": "healthy"}}, "The process serves."),
        "Ready": record(
            {
                "status": {"const": "ready"},
                "held": {**listed(_TEXT), "description": "What waits for a person, a sentence each."},
                "warning": _TEXT,
            },
            "Events are stored.",
            optional=("held", "warning"),
        ),
    }
