"""The document as a page for people: HTML without a script, in the console's colours."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterator, Mapping

from rrd.console.policy import reading_headers
from rrd.http.openapi.operations import Json

_STYLE = """\
#main { max-width: 60rem; width: 100%; margin: 0 auto; overflow-wrap: anywhere }
h2, h3 { margin-top: 2.5rem }
table { width: 100%; border-collapse: collapse; margin-bottom: 1rem }
th, td { padding: 6px 8px; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line) }
th { width: 12rem; font-weight: 600 }
td p:last-child, td ul { margin: 0 }
caption, summary { text-align: left; padding: 4px 0; color: var(--quiet) }
summary { cursor: pointer }
@media (width < 40rem) { th { width: 8rem } }"""

_METHODS = ("get", "post", "delete")
_SPANS = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*")


def page_policy_headers() -> Mapping[str, str]:
    """Return the headers of the page: its one style sheet of its own is known by its hash."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    return reading_headers(f"'sha256-{digest}'")


def page(document: Json) -> str:
    """Return the page of a document."""
    info = document["info"]
    title = f"The API of {info['title']} {info['version']}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{_text(title)}</title>'
        '<link rel="icon" href="data:,"><link rel="stylesheet" href="/console/base.css">'
        f"<style>{_STYLE}</style></head><body>"
        '<a class="skip" href="#main">Skip to content</a>'
        '<header id="header"><nav aria-label="Console"><a class="brand" href="/console/">rrd</a>'
        '<a href="/console/api" aria-current="page">API</a></nav></header>'
        f'<main id="main" tabindex="-1"><h1>{_text(title)}</h1>{_prose(info["description"])}'
        '<p>The same for programs, as OpenAPI 3.1: <a href="/openapi.json">openapi.json</a>.</p>'
        f"{''.join(_contents(document))}{''.join(_tags(document))}{''.join(_shapes(document))}"
        "</main></body></html>\n"
    )


def _operations(document: Json, tag: str) -> Iterator[tuple[str, str, Json]]:
    """Yield path, method and operation of each that is no other name of one."""
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item and item[method]["tags"] == [tag] and "x-alias-of" not in item[method]:
                yield path, method, item[method]


def _aliases(document: Json, name: str) -> list[str]:
    return [
        path
        for path, item in document["paths"].items()
        for method in _METHODS
        if item.get(method, {}).get("x-alias-of") == name
    ]


def _contents(document: Json) -> Iterator[str]:
    yield '<nav aria-label="Paths"><ul>'
    for tag in document["tags"]:
        for path, method, found in _operations(document, tag["name"]):
            told = f"<code>{method.upper()} {_text(path)}</code>"
            yield f'<li><a href="#{found["operationId"]}">{told}</a> {_text(found["summary"])}</li>'
    yield '<li><a href="#shapes">Shapes</a> of what is sent and answered</li></ul></nav>'


def _tags(document: Json) -> Iterator[str]:
    for tag in document["tags"]:
        yield f"<h2>{_text(tag['name'])}</h2>{_prose(tag['description'])}"
        for path, method, found in _operations(document, tag["name"]):
            name = found["operationId"]
            called = f"<code>{method.upper()} {_text(path)}</code>"
            yield f'<h3 id="{name}">{called} {_text(found["summary"])}</h3>'
            yield _prose(found["description"])
            if others := _aliases(document, name):
                yield f"<p>Other names: {', '.join(f'<code>{_text(each)}</code>' for each in others)}.</p>"
            yield from _parameters(found.get("parameters", ()))
            if "requestBody" in found:
                body = found["requestBody"]
                types = ", ".join(f"<code>{_text(each)}</code>" for each in body["content"])
                yield f"<p>Body: {_text(body['description'])} {types}.</p>"
            yield from _answers(document, found)


def _parameters(parameters: list[Json]) -> Iterator[str]:
    if not parameters:
        return
    yield "<table><caption>Parameters</caption><tbody>"
    for found in parameters:
        where = "" if found["in"] == "query" else f" <small>({found['in']})</small>"
        told = _prose(found["description"]) + _bounds(found["schema"])
        yield f'<tr><th scope="row"><code>{_text(found["name"])}</code>{where}</th><td>{told}</td></tr>'
    yield "</tbody></table>"


def _bounds(schema: Json) -> str:
    """Return what a value may be, as a line of its own."""
    told = []
    if "enum" in schema:
        told.append(", ".join(f"<code>{_text(str(each))}</code>" for each in schema["enum"]))
    if "minimum" in schema:
        most = f" to {schema['maximum']:,}" if "maximum" in schema else " or more"
        told.append(f"{schema['minimum']:,}{most}")
    if "default" in schema:
        told.append(f"default <code>{_text(str(schema['default']))}</code>")
    return f'<p class="quiet">{"; ".join(told)}</p>' if told else ""


def _answers(document: Json, found: Json) -> Iterator[str]:
    yield "<details><summary>Answers</summary><table><tbody>"
    for status, told_there in found["responses"].items():
        name = told_there.get("$ref", "").rpartition("/")[2]
        answer = document["components"]["responses"][name] if name else told_there
        forms = [
            f"<code>{_text(kind)}</code>{_reference(form['schema'])}"
            for kind, form in answer.get("content", {}).items()
            if int(status) < 400
        ]
        told = _prose(answer["description"]) + (f"<p>{', '.join(forms)}</p>" if forms else "")
        yield f'<tr><th scope="row">{status}</th><td>{told}</td></tr>'
    yield "</tbody></table></details>"


def _reference(schema: Json) -> str:
    """Return a link to the shape that a schema names, if it names one."""
    target = schema if "$ref" in schema else schema.get("items", {})
    if "$ref" not in target:
        return ""
    name = target["$ref"].rpartition("/")[2]
    return f' <a href="#shape-{name}">{name}</a>'


def _shapes(document: Json) -> Iterator[str]:
    yield '<h2 id="shapes">Shapes</h2>'
    for name, shape in document["components"]["schemas"].items():
        yield f'<h3 id="shape-{name}">{name}</h3>{_prose(shape.get("description", ""))}'
        target = shape.get("items", shape)
        if members := target.get("properties"):
            yield "<table><caption>Members</caption><tbody>"
            for member, found in members.items():
                kind = found.get("type", "")
                told = _prose(found.get("description", "")) + _reference(found)
                kinds = f'<p class="quiet">{_text(kind)}</p>' if isinstance(kind, str) and kind else ""
                yield f'<tr><th scope="row"><code>{_text(member)}</code></th><td>{told}{kinds}</td></tr>'
            yield "</tbody></table>"


def _prose(text: str) -> str:
    """Return paragraphs and lists with code and stress, as the document's descriptions have them."""
    parts = []
    for paragraph in filter(None, text.split("\n\n")):
        lines = paragraph.split("\n")
        if lines[0].startswith("- "):
            items = "".join(f"<li>{_spans(line.removeprefix('- '))}</li>" for line in lines)
            parts.append(f"<ul>{items}</ul>")
        else:
            parts.append(f"<p>{_spans(paragraph)}</p>")
    return "".join(parts)


def _spans(text: str) -> str:
    parts, start = [], 0
    for found in _SPANS.finditer(text):
        parts.append(_text(text[start : found.start()]))
        code, strong = found.groups()
        parts.append(f"<code>{_text(code)}</code>" if code else f"<strong>{_text(strong)}</strong>")
        start = found.end()
    return "".join([*parts, _text(text[start:])])


def _text(text: str) -> str:
    return html.escape(text)
