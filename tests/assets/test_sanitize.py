"""The sanitizer of exported pages, in Node: whatever an event holds, nothing in it leads anywhere.

That a browser makes no connection is ``tests/client/test_export_replay.py``'s to show; here it is the rules,
on more shapes than a browser has time for.
"""

from __future__ import annotations

import itertools
import json
import random
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.assets.building import ROOT, built_assets
from tests.client.hostile_page import RUN, hostile_recording

RUNNER = """
const sanitized = makeSanitizer();
const lines = require('fs').readFileSync(0, 'utf8').trim().split('\\n');
for (const line of lines) console.log(JSON.stringify(sanitized(JSON.parse(line))));
"""
BAD = "http://bad.example"
DROPPED_TAGS = {
    "script", "base", "object", "embed", "applet", "frame", "frameset", "portal", "fencedframe", "bgsound",
}  # fmt: skip
DROPPED_ATTRIBUTES = {
    "ping", "srcdoc", "formaction", "action", "autofocus", "referrerpolicy", "attributionsrc", "nonce",
    "http-equiv", "crossorigin",
}  # fmt: skip


def sanitized(events: list[Any]) -> list[Any]:
    built_assets()
    script = (ROOT / "assets/console/sanitize.js").read_text() + RUNNER
    done = subprocess.run(
        ["node", "-e", script],
        input="".join(json.dumps(event) + "\n" for event in events),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def nodes_of(value: Any) -> Iterator[dict[str, Any]]:
    """Yield each element in an event, wherever it stands."""
    if isinstance(value, dict):
        if value.get("type") == 2 and "tagName" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from nodes_of(inner)


def check_attributes(tag: str, attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        lower = name.lower()
        assert not lower.startswith("on")
        assert lower not in DROPPED_ATTRIBUTES
        assert (tag, lower) != ("iframe", "src")
        if isinstance(value, str):
            scheme = "".join(letter for letter in value if letter > " ").lower()
            assert not scheme.startswith(("javascript:", "vbscript:", "data:text/html"))
        if tag in {"a", "area"} and lower in {"href", "xlink:href"}:
            assert value == "#"
        if lower == "rel":
            assert tag != "link" or value == "stylesheet"
        if name == "rr_dataURL":
            assert value.startswith("data:image/")


def check(events: list[Any]) -> None:
    for event in filter(None, events):
        assert event["type"] in range(5)
        if event["type"] == 3 and event["data"]["source"] != 0:
            continue  # No other source makes elements.
        for node in nodes_of(event):
            tag = node["tagName"].lower()
            assert tag not in DROPPED_TAGS
            assert tag != "link" or node["attributes"]["rel"] == "stylesheet"
            check_attributes(tag, node["attributes"])


def ids_of(value: Any) -> list[int]:
    return sorted(node["id"] for node in nodes_of(value))


def test_a_hostile_recording_keeps_its_nodes_and_loses_what_leads_elsewhere() -> None:
    events = hostile_recording(BAD)
    found = sanitized(events)
    check(found)
    for before, after in zip(events, found, strict=True):
        if before["type"] in {5, 6}:
            assert after is None
        elif after is not None:
            assert ids_of(after) == ids_of(before)
    changed = [
        change["attributes"]
        for event in found
        if event and event["type"] == 3 and event["data"]["source"] == 0
        for change in event["data"]["attributes"]
    ]
    assert RUN not in json.dumps(changed)
    assert not any({"rel", "REL", "srcdoc", "ping"} & attributes.keys() for attributes in changed)


def test_an_ordinary_recording_stays_as_it_is() -> None:
    names = itertools.count(1)

    def element(tag: str, attributes: dict[str, Any], *children: Any) -> dict[str, Any]:
        return {
            "type": 2, "tagName": tag, "attributes": attributes, "id": next(names),
            "childNodes": list(children),
        }  # fmt: skip

    page = element(
        "html", {"lang": "en"},
        element(
            "head", {},
            element("link", {"rel": "stylesheet", "href": "/a.css", "_cssText": "p {}"}),
            # So the recorder leaves most sheets that it took in.
            element("link", {"type": "text/css", "media": "print", "_cssText": "q {}"}),
        ),
        element(
            "body", {"class": "x", "@click": "go", ":key": "k", "data-on": "1"},
            element("img", {"src": "https://shop.example/a.png", "rr_dataURL": "data:image/png;base64,x"}),
            element("video", {"rr_mediaState": "paused"}),
            element("input", {"checked": True, "value": "***"}),
            element("my-tag", {}, {"type": 3, "id": 50, "textContent": "javascript: is a word"}),
        ),
    )  # fmt: skip
    document = {"type": 0, "childNodes": [page], "id": 100}
    changes = {
        "source": 0, "texts": [{"id": 50, "value": "new"}], "removes": [{"parentId": 1, "id": 2}],
        "attributes": [{"id": 4, "attributes": {"style": {"color": "red"}, "title": None}}],
        "adds": [{"parentId": 4, "nextId": None, "node": element("p", {"style": "color: red"})}],
    }  # fmt: skip
    events = [
        {"type": 2, "timestamp": 1, "data": {"node": document, "initialOffset": {"left": 3, "top": 4}}},
        {"type": 3, "timestamp": 2.5, "data": changes},
        {"type": 3, "timestamp": 3, "data": {"source": 3, "id": 4, "x": 0, "y": 9}},
    ]
    assert sanitized(events) == events


WORDS = [
    *sorted(DROPPED_TAGS | DROPPED_ATTRIBUTES), "link", "LINK", "a", "iframe", "rel", "REL", "href", "src",
    "preconnect", "stylesheet", "javascript:x", " jAva\tscript:x", "onclick", "OnLoad", "__proto__",
    "constructor", "rr_dataURL", "style", "toString", "hasOwnProperty", "x", "", BAD,
]  # fmt: skip


class Junk:
    """Makes events whose members are mostly right, and anything else now and then."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def any(self, depth: int = 2) -> Any:
        kinds: list[Callable[[], Any]] = [
            lambda: None, lambda: True, lambda: self._random.randint(-1, 9), lambda: 1.5, self.word,
        ]  # fmt: skip
        if depth:
            kinds += [
                lambda: [self.any(depth - 1) for _ in range(self._random.randint(0, 3))],
                lambda: {self.word(): self.any(depth - 1) for _ in range(self._random.randint(0, 3))},
            ]
        return self._random.choice(kinds)()

    def word(self) -> str:
        return self._random.choice(WORDS)

    def or_any(self, value: Any) -> Any:
        return self.any() if self._random.random() < 0.1 else value

    def attributes(self) -> Any:
        return self.or_any({self.word(): self.or_any(self.word()) for _ in range(4)})

    def change(self) -> Any:
        return {"id": self._random.randint(1, 9), "attributes": self.attributes()}

    def node(self, depth: int = 3) -> Any:
        children = [self.node(depth - 1) for _ in range(self._random.randint(0, 3))] if depth else []
        made = {
            "type": self.or_any(2), "tagName": self.or_any(self.word()), "attributes": self.attributes(),
            "id": self._random.randint(1, 9), "childNodes": self.or_any(children), "isSVG": self.any(0),
            "isCustom": self.any(0), "isShadowHost": self.any(0), "name": self.any(),
        }  # fmt: skip
        return self.or_any(made)

    def event(self) -> Any:
        many = range(self._random.randint(0, 3))
        mutation = {
            "source": self.or_any(0), "texts": self.any(), "removes": self.any(),
            "adds": self.or_any([self.or_any({"node": self.node()}) for _ in many]),
            "attributes": self.or_any([self.or_any(self.change()) for _ in many]),
        }  # fmt: skip
        kind, data = self._random.choice([(2, {"node": self.node()}), (3, mutation), (4, self.any())])
        return self.or_any(
            {"type": self.or_any(kind), "timestamp": self.or_any(1), "data": self.or_any(data)}
        )


@pytest.mark.parametrize("seed", range(3))
def test_no_event_breaks_the_sanitizer_or_gets_past_it(seed: int) -> None:
    junk = Junk(seed)
    events = [junk.event() for _ in range(2000)]
    found = sanitized(events)
    assert len(found) == len(events)
    assert sum(event is not None for event in found) > 300
    check(found)


def test_no_picture_is_asked_for_with_cookies() -> None:
    """A request with ``crossorigin=use-credentials`` carries them, whatever the stage's headers say."""
    named = {"src": "https://cdn.example/a.png", "CrossOrigin": "use-credentials"}
    picture = {"type": 2, "id": 2, "tagName": "img", "childNodes": [], "attributes": named}
    page = {"node": {"type": 0, "id": 1, "childNodes": [picture]}}
    change = {"source": 0, "attributes": [{"id": 2, "attributes": {"crossorigin": "use-credentials"}}]}
    found = sanitized(
        [{"type": 2, "timestamp": 1, "data": page}, {"type": 3, "timestamp": 2, "data": change}]
    )
    assert "use-credentials" not in json.dumps(found)
    assert "https://cdn.example/a.png" in json.dumps(found)
