"""Recordings as an attacker writes them: each vector is tried in each place where a recording can put it.

``hostile_elements.json`` has the vectors that are elements. They stand in the first snapshot, a shadow root
and in a recorded frame, come by a later change, and grow their attributes and texts afterwards.
``bad`` are origins that nothing may reach. A script that runs marks each window it knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.client.hostile_page import (
    JS_URL,
    NO_CHANGE,
    RUN,
    START_MS,
    Maker,
    Node,
    adds_of,
)

Event = dict[str, Any]
Spec = tuple[str, dict[str, Any], Any]
"""Tag, attributes, and what is in it: a text or more of these. A tag ``svg|x`` is one of SVG."""

HTML = f'<script>{RUN}</script><img src=x onerror="{RUN}">'
WORDS = {
    "RUN": RUN,
    "JS_URL": JS_URL,
    "HTML": HTML,
    "DATA_HTML": f"data:text/html,{HTML}",
    "PIXEL": "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7",
}
"""What stands for ``@RUN@`` and its like in ``hostile_elements.json``; ``@BAD@`` is an origin."""
END = "the end"
LENGTH_MS = 400
ELEMENTS: dict[str, list[Any]] = json.loads((Path(__file__).parent / "hostile_elements.json").read_text())


def elements(name: str, bad: Sequence[str]) -> list[Spec]:
    """Return a vector's elements, once for each bad origin."""

    def filled(value: Any, origin: str) -> Any:
        if isinstance(value, str):
            for word, text in {**WORDS, "BAD": origin}.items():
                value = value.replace(f"@{word}@", text)
            return value
        if isinstance(value, dict):
            return {filled(key, origin): filled(one, origin) for key, one in value.items()}
        return [filled(one, origin) for one in value] if isinstance(value, list) else value

    return [filled(spec, origin) for origin in bad for spec in ELEMENTS[name]]


class Scene:
    """A page in which vectors are put into all places."""

    def __init__(self) -> None:
        self.make = Maker()
        self.heading = self.make.text("still here")
        self.host = self.make.element("div", {}, isShadowHost=True)
        self.frame = self.make.element("iframe", {})
        self.body = self.make.element(
            "body", {}, self.make.element("h2", {}, self.heading), self.host, self.frame
        )
        self.later: list[Any] = []

    def node(self, spec: Spec, **more: Any) -> Node:
        tag, attributes, inside = spec
        if tag.startswith("svg|"):
            tag, more = tag[4:], {**more, "isSVG": True}
        is_style = {"isStyle": True} if tag == "style" else {}
        texts = [self.make.text(inside, **is_style)] if isinstance(inside, str) and inside else []
        children = texts if isinstance(inside, str) else [self.node(one) for one in inside]
        return self.make.element(tag, dict(attributes), *children, **more)

    def put(self, specs: Sequence[Spec]) -> None:
        self.body["childNodes"] += [self.node(spec) for spec in specs]
        self.host["childNodes"] += [self.node(spec, isShadow=True) for spec in specs]
        added = [add for spec in specs for add in adds_of(self.node(spec), self.body["id"])]
        inner = self.make.document(
            self.make.element("html", {}, self.make.element("body", {}, *map(self.node, specs)))
        )
        self.later += [
            {**NO_CHANGE, "adds": added},
            {**NO_CHANGE, "adds": [{"parentId": self.frame["id"], "nextId": None, "node": inner}]},
        ]
        for spec in specs:
            self._grow(spec)

    def _grow(self, spec: Spec) -> None:
        """Give an element its attributes and its text by later changes: each by itself, then all."""
        tag, attributes, inside = spec
        bare = self.node((tag, {}, "text" if isinstance(inside, str) else inside))
        sheet = (
            self.node((tag, {"rel": "stylesheet", "href": "data:text/css,"}, ""))
            if tag.lower() == "link"
            else bare
        )
        self.body["childNodes"] += [bare] if sheet is bare else [bare, sheet]
        for node in (bare, sheet):
            changes = [{name: value} for name, value in attributes.items()] + [attributes]
            self.later += [
                {
                    **NO_CHANGE,
                    "attributes": [{"id": node["id"], "attributes": dict(change)} for change in changes],
                }
            ]
        if isinstance(inside, str) and inside:
            self.later.append({**NO_CHANGE, "texts": [{"id": bare["childNodes"][0]["id"], "value": inside}]})

    def events(self) -> list[Event]:
        html = self.make.element("html", {}, self.make.element("head"), self.body)
        doctype = {"type": 1, "id": 900_000, "name": "html", "publicId": "", "systemId": ""}
        snapshot = {"node": self.make.document(doctype, html), "initialOffset": {"left": 0, "top": 0}}
        end = {**NO_CHANGE, "texts": [{"id": self.heading["id"], "value": END}]}
        data = [
            (4, {"href": JS_URL, "width": 800, "height": 600}),
            (2, snapshot),
            *((3, one) for one in self.later),
            (3, end),
        ]
        return [
            {"type": kind, "timestamp": START_MS + number * LENGTH_MS // len(data), "data": content}
            for number, (kind, content) in enumerate(data)
        ]


def recording_of_elements(names: Iterable[str], bad: Sequence[str]) -> list[Event]:
    """Return a recording with the elements of these vectors, in all places."""
    scene = Scene()
    scene.put([spec for name in names for spec in elements(name, bad)])
    return scene.events()
