"""Hostile recordings whose vectors are events: canvas, fonts, sheets, wrong types, storms, endless pages."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from tests.client.hostile_page import NO_CHANGE, RUN, Node, adds_of
from tests.console.hostile import END, HTML, Event, Scene

Data = dict[str, Any]
Vector = Callable[[Scene, str], list[Data]]
"""Puts nodes into a scene if it needs any; returns the data of the incremental events that follow."""


def _placed(scene: Scene, tag: str, **attributes: Any) -> int:
    node = scene.make.element(tag, attributes, scene.make.text("x"))
    scene.body["childNodes"].append(node)
    return int(node["id"])


def _canvas(scene: Scene, bad: str) -> list[Data]:
    canvas = _placed(scene, "canvas", width="9", height="9")
    image = {"rr_type": "HTMLImageElement", "src": f"{bad}/canvas.png"}
    calls: list[Data] = [
        {"property": "drawImage", "args": [image, 0, 0]},
        {"property": "drawImage", "args": [{"rr_type": "Worker", "args": [f"data:text/javascript,{RUN}"]}]},
        {"property": "fillText", "args": [{"rr_type": "EventSource", "args": [f"{bad}/events"]}]},
        {"property": "constructor", "args": [RUN]},
        {"property": "__proto__", "args": [{"polluted": 1}], "setter": True},
        {"property": "filter", "args": [f"url({bad}/filter.svg#x)"], "setter": True},
        {"property": "drawImage", "args": [{"rr_type": "Function", "args": [RUN]}]},
        {
            "property": "drawImage",
            "args": [{"rr_type": "ImageBitmap", "args": [{"rr_type": "Blob", "args": []}]}],
        },
    ]
    kinds = itertools.product((0, 1, 2), calls)
    return [
        {"source": 9, "id": canvas, "type": 0, "commands": calls},
        *({"source": 9, "id": canvas, "type": kind, **call} for kind, call in kinds),
    ]


def _fonts(scene: Scene, bad: str) -> list[Data]:
    sources = [
        f"url({bad}/font)",
        f"url('{bad}/font') format('woff2')",
        f"url(data:,x), url({bad}/second)",
        f"local(x), url({bad}/local)",
        f'url("data:font/woff2,x") , url({bad}/third)',
        f"\\75rl({bad}/escaped)",
    ]
    return [
        {
            "source": 10,
            "family": "f",
            "fontSource": source,
            "buffer": buffer,
            "descriptors": {"display": "block"},
        }
        for source in (*sources, "[1,2,3]", "{", 7, None)
        for buffer in (False, True)
    ]


def _sheets(scene: Scene, bad: str) -> list[Data]:
    style = _placed(scene, "style")
    rules = [
        f"@import url({bad}/rule.css)",
        f"p {{ background: url({bad}/rule.png) }}",
        f"@font-face {{ font-family: f; src: url({bad}/rule.woff2) }}",
        f"@media all {{ p {{ mask: url({bad}/m.svg) }} }}",
    ]
    adds = [{"rule": rule, "index": index} for rule in rules for index in (0, [0], [0, 0], None, "x")]
    text = "".join(rules)
    return [
        {"source": 8, "id": style, "adds": adds, "removes": [{"index": 0}, {"index": [9, 9]}]},
        {"source": 8, "id": style, "replace": text},
        {"source": 8, "styleId": 1, "replaceSync": text, "adds": adds},
        {"source": 13, "id": style, "index": [0], "set": {"property": "mask", "value": f"url({bad}/set)"}},
        {"source": 13, "id": style, "index": [0], "set": {"property": "--x", "value": f"url({bad}/var)"}},
        {"source": 13, "id": style, "index": [0] * 50_000, "remove": {"property": "color"}},
        *(
            {
                "source": 15,
                "id": place,
                "styleIds": [1, 2],
                "styles": [{"styleId": number, "rules": adds} for number in (1, 2)],
            }
            for place in (scene.host["id"], style, 1, 12345)
        ),
        {"source": 15, "id": scene.host["id"], "styleIds": ["x", {}, 9], "styles": "none"},
    ]


def _interactions(scene: Scene, bad: str) -> list[Data]:
    link = _placed(scene, "a", href=f"{bad}/a", ping=f"{bad}/ping", target="_top", onclick=RUN)
    field = _placed(scene, "input", type="submit", formaction=f"{bad}/f")
    where = {"x": 5, "y": 5}
    return [
        *(
            {"source": 2, "type": kind, "id": node, **where}
            for kind in (*range(-1, 13), 0.5)
            for node in (link, field, 1, -1)
        ),
        *({"source": 5, "id": node, "text": HTML, "isChecked": True} for node in (link, field, 1)),
        *({"source": 3, "id": node, "x": 1e9, "y": -1e9} for node in (link, 1)),
        {
            "source": 1,
            "positions": [{**where, "id": link, "timeOffset": -400}, {**where, "id": 1, "timeOffset": 0}],
        },
        *({"source": 7, "id": node, "type": 0, "currentTime": 1e300, "volume": 99} for node in (link, 1)),
        {"source": 14, "ranges": [{"start": link, "startOffset": 9, "end": 1, "endOffset": -1}, None]},
        {"source": 16, "define": {"name": "x-y"}},
        {"source": "constructor"},
        {"source": 99},
        {"source": -1},
    ]


def _one_id_for_many(scene: Scene, bad: str) -> list[Data]:
    """An id that stands for a harmless element, or seems to, when a leading one gets its attributes."""
    data = []
    body = scene.body["id"]
    for tag, change in (
        ("link", {"rel": "preconnect", "href": bad}),
        ("iframe", {"src": f"{bad}/frame"}),
        ("a", {"href": f"{bad}/a"}),
    ):
        first = _placed(scene, tag, rel="stylesheet", href="data:text/css,")
        harmless: Node = {"type": 2, "id": first, "tagName": "p", "attributes": {}, "childNodes": []}
        turns: list[Data] = [
            {"adds": [{"parentId": body, "nextId": 987_654, "node": harmless}]},
            {"adds": [{"parentId": 987_654, "nextId": None, "node": harmless}]},
            {"removes": [{"parentId": 987_654, "id": first}]},
            {
                "removes": [{"parentId": str(body), "id": first}],
                "adds": [{"parentId": body, "nextId": -1, "node": harmless}],
            },
            {"adds": [{"parentId": body, "nextId": None, "node": {**harmless, "tagName": tag}}]},
            {
                "removes": [{"parentId": body, "id": str(first)}],
                "adds": [{"parentId": body, "nextId": None, "node": harmless}],
            },
        ]
        for turn in turns:
            data += [
                {**NO_CHANGE, **turn},
                {**NO_CHANGE, "attributes": [{"id": first, "attributes": dict(change)}]},
            ]
    return data


def _documents(scene: Scene, bad: str) -> list[Data]:
    html = scene.make.element("html", {}, scene.make.element("body", {}, scene.make.text("inner")))
    inner = scene.make.document(html)
    places = (scene.body["id"], scene.host["id"], scene.heading["id"], scene.frame["id"], 1, 2, 3)
    nested = {**scene.make.document({**html, "id": 70_001}), "compatMode": "BackCompat"}
    add = {"nextId": None, "node": {**inner, "childNodes": [html, html, nested]}}
    return [
        *({**NO_CHANGE, "adds": [{"parentId": place, **add}]} for place in places),
        {**NO_CHANGE, "adds": [{"parentId": scene.frame["id"], "nextId": None, "node": nested}]},
        {
            **NO_CHANGE,
            "adds": [
                {"parentId": 1, "nextId": None, "node": {"type": kind, "id": 80_000 + kind}}
                for kind in range(8)
            ],
        },
    ]


def _deep(scene: Scene, bad: str) -> list[Data]:
    """Ten thousand elements in each other, at once, one by one, from the innermost; then moved together."""
    make, body = scene.make, scene.body["id"]
    tags = itertools.cycle(("div", "span", "section", "b"))
    chains = []
    for _ in range(3):
        nodes = [make.element(next(tags)) for _ in range(3000)]
        parents = [body, *(node["id"] for node in nodes)]
        chains.append(
            [
                {"parentId": parent, "nextId": None, "node": node}
                for parent, node in zip(parents, nodes, strict=False)
            ]
        )
    inner = make.element("b", {})
    for _ in range(400):
        inner = make.element("div", {}, inner)
    scene.body["childNodes"].append(inner)
    moves = [
        {"parentId": chain[150]["node"]["id"], "nextId": None, "node": other[0]["node"]}
        for chain, other in itertools.permutations(chains, 2)
    ]
    return [
        {**NO_CHANGE, "adds": chains[0]},
        *({**NO_CHANGE, "adds": [add]} for add in chains[1][:400]),
        {**NO_CHANGE, "adds": chains[2][::-1]},
        {**NO_CHANGE, "adds": moves},
        *({**NO_CHANGE, "adds": [move]} for move in moves),
    ]


def _large(scene: Scene, bad: str) -> list[Data]:
    node = scene.make.element(
        "p", {f"data-{number}": "x" * 100 for number in range(2000)}, scene.make.text("y" * 500_000)
    )
    node["attributes"] |= {
        "style": "width: " + "9" * 100_000 + "px",
        "class": "z " * 50_000,
        "n" * 100_000: "name",
    }
    css = "p" + ":not(p" * 3000 + ")" * 3000 + " { color: red }" + "a{" * 20_000
    style = scene.make.element("style", {"_cssText": css})
    scene.body["childNodes"] += [
        node,
        style,
        scene.make.element("style", {}, scene.make.text(css, isStyle=True)),
    ]
    return [
        {**NO_CHANGE, "adds": [*adds_of({**node, "id": 90_001}, scene.body["id"])]},
        {"source": 4, "width": 1e9, "height": 1e9},
        {"source": 4, "width": -5, "height": "x"},
        {"source": 4},
    ]


def _storms(scene: Scene, bad: str) -> list[Data]:
    node = _placed(scene, "p")
    rows = [scene.make.element("i", {}) for _ in range(2500)]
    storm = [
        {"id": node, "attributes": {"class": f"c{number}", "style": {"--x": str(number)}}}
        for number in range(20_000)
    ]
    tables = []
    for number in range(6):
        fresh = [{**row, "id": 200_000 + 3000 * number + index} for index, row in enumerate(rows)]
        tables.append(
            {**NO_CHANGE, "adds": [{"parentId": node, "nextId": None, "node": row} for row in fresh]}
        )
    return [{**NO_CHANGE, "attributes": storm}, *tables]


def _junk(seed: int) -> Vector:
    """Events whose fields have any type at all."""

    def vector(scene: Scene, bad: str) -> list[Data]:
        pick = random.Random(seed)
        known = [scene.body["id"], scene.host["id"], scene.frame["id"], scene.heading["id"]]
        words = [
            "",
            "constructor",
            "__proto__",
            RUN,
            f"{bad}/junk",
            HTML,
            "link",
            "script",
            "rel",
            "preconnect",
            "style",
            "src",
        ]
        fields = [
            "id",
            "x",
            "y",
            "type",
            "text",
            "positions",
            "adds",
            "removes",
            "attributes",
            "texts",
            "styles",
            "styleIds",
            "ranges",
            "index",
            "set",
            "remove",
            "node",
            "parentId",
            "nextId",
            "tagName",
            "childNodes",
            "value",
            "source",
            "width",
            "height",
            "timeOffset",
            "isSVG",
            "isShadow",
            "isShadowHost",
            "isCustom",
            "rootId",
            "textContent",
        ]

        def junk(depth: int) -> Any:
            kinds: list[Callable[[], Any]] = [
                lambda: pick.choice([None, True, 0, -1, 1e308, 0.5]),
                lambda: pick.choice(words),
                lambda: pick.choice(known),
            ]
            if depth:
                kinds += [
                    lambda: [junk(depth - 1) for _ in range(pick.randint(0, 4))],
                    lambda: {pick.choice(fields): junk(depth - 1) for _ in range(pick.randint(0, 8))},
                ]
            return pick.choice(kinds)()

        made: list[Data] = []
        for number in range(400):
            data = {field: junk(4) for field in pick.sample(fields, 12)}
            made.append({**data, "source": number % 18})
        return made

    return vector


VECTORS: dict[str, Vector] = {
    "canvas": _canvas,
    "fonts": _fonts,
    "sheets": _sheets,
    "interactions": _interactions,
    "one id for many": _one_id_for_many,
    "documents": _documents,
    "deep": _deep,
    "large": _large,
    "storms": _storms,
    **{f"junk {seed}": _junk(seed) for seed in range(6)},
}


def recording_of_events(name: str, bad: str) -> list[Event]:
    """Return a recording with this vector, and a page like its own at its end."""
    scene = Scene()
    scene.later += VECTORS[name](scene, bad)
    events = json.loads(json.dumps(scene.events()))
    # What comes in bursts is not shown before the next snapshot.
    scene.heading["textContent"], scene.later = END, []
    last_ms = events[-1]["timestamp"]
    return [*events, *({**event, "timestamp": last_ms + 1} for event in scene.events())]


def odd_recordings(bad: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield recordings whose events themselves are odd; what can be shown of them says no text at all."""
    whole = Scene().events()
    yield "no window", [event for event in whole if event["type"] != 4]
    yield (
        "other events in between",
        [
            *whole[:2],
            {**whole[1], "type": 5, "data": {"tag": "error", "payload": {"html": HTML, "url": f"{bad}/x"}}},
            {
                **whole[1],
                "type": 6,
                "data": {"plugin": "rrweb/console@1", "payload": {"level": "error", "payload": [HTML]}},
            },
            {
                **whole[1],
                "type": 6,
                "data": {"plugin": "rrweb/network@1", "payload": json.loads(f'{{"url": "{bad}/n"}}')},
            },
            {**whole[1], "type": 9, "data": {}},
            *whole[2:],
        ],
    )
