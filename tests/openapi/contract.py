"""An OpenAPI document as tests hold answers against it: is this one that the document tells of?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator

Json = dict[str, Any]

METHODS = ("get", "post", "delete")
OPEN = {"Event", "StoredEvent", "ReplayedEvent"}
"""What may have members that the document doesn't know: they are the page's."""


class Described(NamedTuple):
    """One method of one path."""

    method: str
    path: str
    told: Json

    @property
    def name(self) -> str:
        return str(self.told["operationId"])

    @property
    def right(self) -> str:
        """``ingest``, ``read`` or ``erase``; empty where no key is needed."""
        ways = self.told["security"]
        return next(iter(ways[0])).removesuffix("Key") if ways else ""

    @property
    def is_socket(self) -> bool:
        return "101" in self.told["responses"]

    @property
    def statuses(self) -> set[int]:
        return set(map(int, self.told["responses"]))

    def parameters(self, place: str) -> dict[str, Json]:
        found = self.told.get("parameters", ())
        return {each["name"]: each for each in found if each["in"] == place}


class Told:
    """A document. ``seen``: which answers have been checked, by the operation's name."""

    def __init__(self, document: Json) -> None:
        self.document = document
        self.components = closed(document["components"])
        self.seen: set[tuple[str, int]] = set()
        self.operations = list(_operations(document))
        self.by_name = {each.name: each for each in self.operations}

    def answer(self, found: Described, status: int) -> Json:
        """Return what the document tells of a status. Fails if that is nothing."""
        responses = found.told["responses"]
        assert str(status) in responses, f"{found.name} answers {status}, which the document doesn't tell"
        answer: Json = responses[str(status)]
        if "$ref" in answer:
            answer = self.components["responses"][answer["$ref"].rpartition("/")[2]]
        return answer

    def check(self, found: Described, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Check that an answer is one that the document tells of: status, type, shape, headers."""
        answer = self.answer(found, status)
        kind = headers.get("content-type", "").partition(";")[0].strip()
        content = answer.get("content")
        if content is None:
            assert body == b"", f"{found.name}: {status} has a body"
        else:
            assert kind in content, f"{found.name}: {status} comes as {kind!r}"
            if kind == "application/json":
                self.validate(content[kind]["schema"], json.loads(body))
        known = {name.lower() for name in answer.get("headers", ())}
        for name in ("etag", "link", "location", "rrd-missing-events", "retry-after", "www-authenticate"):
            if name in headers and name in {each.lower() for each in self.components["headers"]}:
                assert name in known, f"{found.name}: {status} has a header {name} that is not told of"
        self.seen.add((found.name, status))

    def validate(self, schema: Json, value: object) -> None:
        """Check a value against a schema, in which objects have no other members than those it names."""
        Draft202012Validator({**closed(schema), "components": self.components}).validate(value)

    def missing(self) -> list[tuple[str, int]]:
        """Return what the document tells of, and no answer was checked for."""
        told = {(each.name, status) for each in self.operations for status in each.statuses}
        return sorted(told - self.seen)


def closed(value: Any, name: str = "") -> Any:
    """Return schemas in which each object that names its members has no others."""
    if isinstance(value, list):
        return [closed(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {key: closed(each, key) for key, each in value.items()}
    if "properties" in value and value.get("type") == "object" and name not in OPEN:
        found.setdefault("additionalProperties", False)
    return found


def _operations(document: Json) -> Iterator[Described]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield Described(method.upper(), path, item[method])
