"""What Schemathesis must know of this API. It runs in an environment of its own, and imports this by name."""

from __future__ import annotations

import json
from typing import Any

import schemathesis

_AS_TEXT = (
    *("application/x-ndjson", "application/ndjson", "application/jsonl", "application/jsonlines"),
    *("application/x-jsonlines", "text/x-ndjson", "text/json", "application/octet-stream"),
    *("application/gzip", "application/x-gzip", "application/zstd"),
)


@schemathesis.serializer(*_AS_TEXT)  # type: ignore[untyped-decorator]
def as_text(context: Any, value: Any) -> bytes:
    """Send texts as they are, and anything else as JSON."""
    if isinstance(value, bytes):
        return value
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "surrogatepass")


@schemathesis.hook  # type: ignore[untyped-decorator]
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A live stream has no end to wait for; ``tests/http/test_watch.py`` is about these."""
    if case.query and case.query.get("follow") == "true":
        case.query["follow"] = "false"
