"""What a path is described with, and how that is written in OpenAPI 3.1"
" (https://spec.openapis.org/oas/v3.1.0)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal, NamedTuple

from rrd.access.keys import Right
from rrd.http.openapi.codes import CODES

Json = dict[str, Any]
Codes = Mapping[int, tuple[str, ...]]
Method = Literal["get", "post", "delete"]

JSON_TYPE = "application/json"

_WITH_RETRY = {429, 503}
_OF_SIGNATURES: Json = {"presignedSignature": [], "presignedExpires": [], "presignedKeyId": []}


def ref(kind: str, name: str) -> Json:
    """Return a reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def schema(name: str) -> Json:
    """Return a reference to a schema."""
    return ref("schemas", name)


class ApiParameter(NamedTuple):
    """A parameter of a path, of the query, or a header."""

    name: str
    description: str
    schema: Json
    example: object = None
    place: Literal["query", "path", "header"] = "query"
    is_required: bool = False

    def told(self) -> Json:
        """Return it as OpenAPI writes it."""
        found: Json = {"name": self.name, "in": self.place, "description": self.description}
        if self.is_required or self.place == "path":
            found["required"] = True
        if self.name == "meta":
            # ``meta[userId]=u-123``: one member of an object for each filter.
            found |= {"style": "deepObject", "explode": True}
        found["schema"] = self.schema
        if self.example is not None:
            found["example"] = self.example
        return found


class ApiContent(NamedTuple):
    """One form in which something is sent."""

    schema: Json
    example: object = None

    def told(self) -> Json:
        """Return it as OpenAPI writes it."""
        return {"schema": self.schema} | ({} if self.example is None else {"example": self.example})


class ApiAnswer(NamedTuple):
    """An answer that is no error."""

    description: str
    content: Mapping[str, ApiContent] = {}
    headers: tuple[str, ...] = ()

    def told(self) -> Json:
        """Return it as OpenAPI writes it."""
        found: Json = {"description": self.description}
        if self.headers:
            found["headers"] = {name: ref("headers", name) for name in self.headers}
        if self.content:
            found["content"] = {name: form.told() for name, form in self.content.items()}
        return found


class ApiOperation(NamedTuple):
    """What one method of a path does."""

    name: str
    tag: str
    summary: str
    description: str
    answers: Mapping[int, ApiAnswer]
    codes: Codes
    """Every error that it may be answered with, by status."""
    right: Right | None = None
    """What the caller needs; None: no key."""
    is_presigned: bool = False
    """A presigned URL will do."""
    parameters: tuple[ApiParameter, ...] = ()
    body: Mapping[str, ApiContent] = {}
    body_description: str = ""
    is_body_required: bool = True
    alias_of: str = ""
    """The operation that this one is another name of."""
    passes_unknown: bool = True
    """Parameters that are not described are passed over; otherwise they are refused with 400."""
    unless: str = ""
    """When they are refused all the same."""


ApiRoutes = Sequence[tuple[Method, str, ApiOperation]]


def merged(*groups: Codes) -> Codes:
    """Return all codes of several groups, by status."""
    found: dict[int, tuple[str, ...]] = {}
    for group in groups:
        for status, codes in group.items():
            found[status] = tuple(dict.fromkeys((*found.get(status, ()), *codes)))
    return found


class Writer:
    """Writes operations. Refusals that several have in common become components, each once."""

    def __init__(self) -> None:
        self.responses: dict[str, Json] = {}
        self._names: dict[tuple[int, tuple[str, ...]], str] = {}

    def operation(self, found: ApiOperation) -> Json:
        """Return an operation as OpenAPI writes it."""
        told: Json = {"operationId": found.name, "tags": [found.tag], "summary": found.summary}
        told["description"] = found.description + (
            f"\n\nParameters that are not described here are passed over{', ' * bool(found.unless)}"
            f"{found.unless}."
            if found.passes_unknown
            else "\n\nA parameter that is not described here is refused: 400, with its name."
        )
        if found.alias_of:
            told["x-alias-of"] = found.alias_of
        told["security"] = security_of(found)
        if found.parameters:
            told["parameters"] = [each.told() for each in found.parameters]
        if found.body:
            told["requestBody"] = {
                "description": found.body_description,
                "required": found.is_body_required,
                "content": {name: form.told() for name, form in found.body.items()},
            }
        answers = {str(status): answer.told() for status, answer in found.answers.items()}
        refused = {str(status): self._refused(status, codes) for status, codes in found.codes.items()}
        told["responses"] = dict(sorted((answers | refused).items()))
        return told

    def _refused(self, status: int, codes: tuple[str, ...]) -> Json:
        codes = tuple(sorted(codes))
        name = self._names.get((status, codes))
        if name is None:
            phrase = HTTPStatus(status).phrase.title()
            stem = "".join(letter for letter in phrase if letter.isalnum())
            count = sum(known[0] == status for known in self._names)
            name = self._names[status, codes] = stem if not count else f"{stem}{count + 1}"
            self.responses[name] = refusal(status, codes)
        return ref("responses", name)


def refusal(status: int, codes: tuple[str, ...]) -> Json:
    """Return the answer to what is refused with one of ``codes``."""
    listed = "\n".join(f"- `{code}`: {CODES[code]}" for code in codes)
    found: Json = {"description": f"{HTTPStatus(status).phrase}:\n\n{listed}"}
    headers = {"Retry-After": ref("headers", "Retry-After")} if status in _WITH_RETRY else {}
    if status == 401:
        headers = {"WWW-Authenticate": ref("headers", "WWW-Authenticate")}
    if headers:
        found["headers"] = headers
    shape: Json = {
        "allOf": [
            schema("Problem"),
            {"properties": {"error": {"properties": {"code": {"enum": list(codes)}}}}},
        ]
    }
    example = {"error": {"code": codes[0], "message": CODES[codes[0]]}}
    found["content"] = {JSON_TYPE: {"schema": shape, "example": example}}
    return found


def security_of(found: ApiOperation) -> list[Json]:
    """Return the ways to show who asks, each of which is enough."""
    if found.right is None:
        return []
    ways: list[Json] = [{f"{found.right}Key": []}, {f"{found.right}Token": []}]
    return ways + ([dict(_OF_SIGNATURES)] if found.is_presigned else [])
