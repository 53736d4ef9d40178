"""The stage by itself: what the console and the document in which recordings play tell each other.

A page of the console makes a stage of its own, as a player does, and feeds it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.assets.building import built_assets
from tests.client.hostile_page import NO_CHANGE
from tests.console.hostile import Scene
from tests.console.lab import START_MS, ConsoleDaemon, ConsoleWindow, OpenWindow

pytestmark = pytest.mark.client

LAB = """(async () => {
  const { StageLink } = await import('/console/stage_link.js');
  const told = [];
  const hangs = [];
  document.querySelector('#main').replaceChildren();
  const onmessage = (message) => told.push(message);
  const parent = document.querySelector('#main');
  const link = new StageLink({ parent, onmessage, onhang: (is) => hangs.push(is) });
  Object.assign(window, { told, hangs, link });
  window.feed = (piece, lines, isLast) => {
    const { buffer } = new TextEncoder().encode(lines.map((line) => `${line}\\n`).join(''));
    link.send({ type: 'feed', piece, buffer, isLast }, [buffer]);
  };
})()"""
TEXT = "document.querySelector('h2').textContent"


class Stage:
    """A stage in a page of the console, and what it told."""

    def __init__(self, window: ConsoleWindow) -> None:
        self.window = window
        window.goto("#/list")
        window.evaluate(LAB)

    def send(self, kind: str, **fields: Any) -> None:
        self.window.evaluate(f"link.send({json.dumps({'type': kind, **fields})})")

    def feed(self, piece: int, events: Sequence[Any], *, is_last: bool = True) -> dict[str, Any]:
        """Feed events, or lines that are none; return what the stage told then."""
        lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
        before = len(self.told("fed"))
        self.window.evaluate(f"feed({piece}, {json.dumps(lines)}, {json.dumps(is_last)})")
        self.window.wait(f"told.filter(({{ type }}) => type === 'fed').length > {before}")
        return self.told("fed")[-1]

    def told(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.window.evaluate(
            f"told.filter(({{ type }}) => type === {json.dumps(kind)})"
        )
        return found

    def troubles(self) -> list[tuple[int, str]]:
        return [(trouble["piece"], trouble["kind"]) for trouble in self.told("trouble")]

    def show(self, piece: int, t: float, *, plays: bool = False) -> None:
        before = len(self.told("shown"))
        self.send("show", piece=piece, t=t, isPlaying=plays, speed=1)
        self.window.wait(f"told.filter(({{ type }}) => type === 'shown').length > {before}")

    def pause(self, t: float | None = None) -> float:
        """Pause, at a time or now; return the time that the stage tells."""
        self.window.evaluate("void (told.length = 0)")
        self.send("pause", **({} if t is None else {"t": t}))
        self.window.wait("told.some(({ type, isPlaying }) => type === 'time' && !isPlaying)")
        return float(self.told("time")[-1]["t"])

    def text(self) -> str:
        return str(self.window.evaluate(TEXT, where="replay"))


@pytest.fixture
def stage(console: ConsoleDaemon, open_window: OpenWindow) -> Iterator[Stage]:
    built_assets()
    made = Stage(open_window(console))
    yield made
    made.window.check("Failed to adapt css")


def counting(times: Sequence[float]) -> list[dict[str, Any]]:
    """Return a recording whose heading says how many of ``times`` (ms from its beginning) have been."""
    scene = Scene()
    scene.heading["textContent"] = "0"
    meta, snapshot, _ = scene.events()
    heading = scene.heading["id"]
    texts = [
        {**NO_CHANGE, "texts": [{"id": heading, "value": str(number)}]} for number in range(1, len(times) + 1)
    ]
    changes = [
        {"type": 3, "timestamp": START_MS + at, "data": text} for at, text in zip(times, texts, strict=True)
    ]
    return [{**meta, "timestamp": START_MS}, {**snapshot, "timestamp": START_MS}, *changes]


def expected(times: Sequence[float], at: float) -> str:
    return str(sum(time <= at for time in times))


@pytest.mark.parametrize("seed", range(2))
def test_any_time_shows_what_had_happened_by_then(stage: Stage, seed: int) -> None:
    pick = random.Random(seed)
    times = sorted(pick.choice([pick.randint(1, 5000), 1000, 2000]) for _ in range(300))
    stage.send("open", piece=1, calm=False)
    fed = stage.feed(1, counting(times))
    assert (fed["first"], fed["last"], fed["count"]) == (START_MS, START_MS + times[-1], 302)
    stage.show(1, START_MS + 2500)
    assert stage.text() == expected(times, 2500)
    for _ in range(30):
        at = pick.choice([pick.randint(0, 5000), pick.choice(times), pick.choice(times) - 1])
        assert stage.pause(START_MS + at) == START_MS + at
        assert stage.text() == expected(times, at)
    for speed in (1, 4):
        at = pick.randint(0, 2000)
        stage.window.evaluate("void (told.length = 0)")
        stage.send("play", t=START_MS + at, speed=speed)
        stage.window.wait(f"told.some(({{ type, t }}) => type === 'time' && t > {START_MS + at + 700})")
        now = stage.pause()
        assert now > START_MS + at + 700
        assert stage.text() == expected(times, now - START_MS)


def test_the_next_piece_is_drawn_before_the_last_one_goes(stage: Stage) -> None:
    stage.send("open", piece=1, calm=False)
    stage.feed(1, counting([10, 20]))
    stage.show(1, START_MS + 20)
    stage.send("open", piece=2, calm=True)
    stage.feed(2, counting([10, 20, 30]))
    assert stage.text() == "2"
    stage.show(2, START_MS + 30)
    assert stage.text() == "3"
    frames = (
        "[...document.querySelectorAll('.screen')]"
        ".map((one) => one.querySelectorAll('iframe, .replayer-mouse-tail').length)"
    )
    # A calm one draws no tail behind the pointer.
    assert stage.window.evaluate(frames, where="stage") == [1]
    stage.send("open", piece=3, calm=False)
    stage.send("open", piece=4, calm=False)
    stage.send("drop", piece=4)
    stage.send("open", piece=5, calm=False)
    stage.feed(5, counting([1]))
    assert stage.window.evaluate(frames, where="stage") == [2, 1]


def test_what_comes_while_it_is_shown_is_applied(stage: Stage) -> None:
    times = list(range(100, 10_000, 100))
    events = counting(times)
    stage.send("open", piece=1, calm=False)
    stage.feed(1, events[:5], is_last=False)
    stage.show(1, START_MS + 5000)
    stage.feed(1, events[5:61], is_last=False)
    assert stage.text() == "50"
    assert stage.pause(START_MS + 5900) == START_MS + 5900
    # Late by less than five seconds: it is applied now. Late by more: the page that it changed is gone.
    early = {
        **events[10],
        "data": {**NO_CHANGE, "texts": [{"id": events[10]["data"]["texts"][0]["id"], "value": "early"}]},
    }
    stage.feed(1, [{**early, "timestamp": START_MS + 500}], is_last=False)
    assert stage.troubles() == [(1, "late")]
    late = {
        **early,
        "timestamp": START_MS + 4000,
        "data": {**early["data"], "texts": [{"id": early["data"]["texts"][0]["id"], "value": "late"}]},
    }
    stage.feed(1, [late], is_last=False)
    stage.pause(START_MS + 5950)
    assert stage.text() == "late"
    stage.feed(1, events[61:])
    stage.pause(START_MS + 9900)
    assert stage.text() == "99"


def broken() -> list[dict[str, Any]]:
    """Return a piece whose document the replayer can't build."""
    events = counting([10])
    document = events[1]["data"]["node"]
    document["childNodes"].reverse()
    return events


def test_what_can_not_be_shown_is_told_and_the_next_piece_plays(stage: Stage) -> None:
    stage.send("open", piece=1, calm=False)
    stage.feed(1, ["{", "", "[1", *map(json.dumps, counting([10])[2:])])
    assert stage.troubles() == [(1, "unread"), (1, "no-snapshot")]
    stage.send("open", piece=2, calm=False)
    stage.feed(2, broken())
    stage.send("show", piece=2, t=START_MS + 10, isPlaying=True, speed=1)
    stage.window.wait("told.some(({ kind }) => kind === 'broken')")
    stage.send("open", piece=3, calm=False)
    stage.feed(3, counting([10, 20]))
    stage.show(3, START_MS + 20)
    assert stage.text() == "2"
    stage.window.expected += ["HierarchyRequestError", "Failed to rebuild"]


def test_a_burst_is_left_out_until_the_next_snapshot(stage: Stage) -> None:
    scene = Scene()
    body = scene.body["id"]
    for _ in range(4):
        nodes = [scene.make.element("i") for _ in range(2000)]
        scene.later.append(
            {**NO_CHANGE, "adds": [{"parentId": body, "nextId": None, "node": node} for node in nodes]}
        )
    events = scene.events()
    stage.send("open", piece=1, calm=False)
    stage.feed(1, events)
    stage.show(1, events[-1]["timestamp"])
    assert stage.troubles() == [(1, "burst")]
    count = "document.querySelectorAll('i').length"
    assert stage.window.evaluate(count, where="replay") == 4000
    assert stage.text() == "still here"


def test_the_console_lives_while_the_stage_hangs(stage: Stage) -> None:
    scene = Scene()
    inner = scene.make.text("x")
    for _ in range(150):
        inner = scene.make.element("div", {"style": "columns: 2"}, inner)
    scene.body["childNodes"].append(inner)
    stage.send("open", piece=1, calm=False)
    events = scene.events()
    lines = json.dumps([json.dumps(event) for event in events])
    stage.window.evaluate(f"feed(1, {lines}, true)")
    stage.send("show", piece=1, t=START_MS, isPlaying=False, speed=1)
    stage.window.wait("hangs.length === 1 && hangs[0] === true")
    stage.window.evaluate("link.reload()")
    stage.window.wait("link.isReady")
    stage.send("open", piece=2, calm=False)
    stage.feed(2, counting([10]))
    stage.show(2, START_MS + 10)
    assert stage.text() == "1"


ROWS: list[tuple[int, Any, dict[str, Any] | None]] = [
    (
        4,
        {"href": "https://shop.example/a\n b", "width": 1, "height": 1},
        {"kind": "page", "text": "https://shop.example/a b"},
    ),
    (
        5,
        {"tag": "bought", "payload": {"items": 3}},
        {"kind": "custom", "text": "bought", "detail": '{"items":3}'},
    ),
    (
        5,
        {"tag": "$exception", "payload": "x" * 300},
        {"kind": "error", "text": "$exception", "detail": "x" * 199 + "…"},
    ),
    (
        6,
        {"plugin": "rrweb/console@1", "payload": {"level": "warn", "payload": ['"a"', "1"]}},
        {"kind": "console", "text": '"a" 1', "detail": "warn"},
    ),
    (
        6,
        {"plugin": "rrweb/console@1", "payload": {"level": "error", "payload": "b"}},
        {"kind": "error", "text": "b", "detail": "error"},
    ),
    (6, {"plugin": "rrweb/network@1", "payload": {}}, None),
    (3, {"source": 2, "type": 2, "id": "BUTTON"}, {"kind": "click", "text": "Buy now"}),
    (3, {"source": 2, "type": 4, "id": "ICON"}, {"kind": "click", "text": "Buy now", "detail": "double"}),
    (3, {"source": 2, "type": 2, "id": 12345}, {"kind": "click", "text": ""}),
    (3, {"source": 2, "type": 0, "id": "BUTTON"}, None),
    (3, {"source": 5, "id": "FIELD", "text": "A"}, None),
    (3, {"source": 5, "id": "FIELD", "text": "Ad"}, {"kind": "input", "text": "Your name", "detail": "Ad"}),
    (3, {"source": 3, "id": 1, "x": 0, "y": 5}, None),
]


def test_rows_are_plain_texts(stage: Stage) -> None:
    scene = Scene()
    icon = scene.make.element("path", isSVG=True)
    button = scene.make.element(
        "button", {}, scene.make.element("svg", {}, icon, isSVG=True), scene.make.text(" Buy\n now ")
    )
    name = scene.make.element("input", {"placeholder": "Your name"})
    scene.body["childNodes"] += [button, name]
    ids = {"BUTTON": button["id"], "ICON": icon["id"], "FIELD": name["id"]}
    meta, snapshot, _ = scene.events()
    at = START_MS + 10
    made = [
        {
            "type": kind,
            "timestamp": at + number,
            "data": {**data, "id": ids.get(str(data.get("id")), data.get("id"))},
        }
        for number, (kind, data, _) in enumerate(ROWS)
    ]
    stage.send("open", piece=1, calm=False)
    rows = stage.feed(1, [meta, snapshot, *made])["rows"][1:]
    wanted = [row for *_, row in ROWS if row]
    assert [{key: value for key, value in row.items() if key != "t"} for row in rows] == wanted
    assert all(isinstance(row["t"], int) for row in rows)


def test_hosts_that_were_held_back_are_told_once_for_each_file(stage: Stage) -> None:
    scene = Scene()
    for source in (
        "https://cdn.example.com/a.png",
        "https://cdn.example.com/a.png",
        "https://cdn.example.com/b.png",
        "http://plain.example.com/c.png",
        "https://127.0.0.1/d.png",
        "https://intranet/e.png",
        "relative.png",
    ):
        scene.body["childNodes"].append(scene.make.element("img", {"src": source}))
    stage.send("open", piece=1, calm=False)
    stage.feed(1, scene.events())
    stage.show(1, START_MS)
    stage.window.wait("told.some(({ type, count }) => type === 'blocked' && count === 2)")
    assert {message["host"] for message in stage.told("blocked")} == {"cdn.example.com"}
    stage.window.forget_seen()


def test_only_the_console_and_its_stage_are_listened_to(stage: Stage) -> None:
    stage.send("open", piece=1, calm=False)
    stage.feed(1, counting([10]))
    stage.show(1, START_MS + 10)
    stage.window.evaluate("void (told.length = 0, postMessage({ type: 'shown', piece: 7 }, '*'))")
    for sender in ("window", "document.querySelector('iframe').contentWindow"):
        post = f"{sender}.eval ? void postMessage({{ type: 'drop', piece: 1 }}, '*') : 0"
        stage.window.evaluate(post, where="stage")
    stage.window.evaluate("void parent.postMessage({ type: 'constructor' }, '*')", where="stage")
    stage.send("constructor")
    stage.pause(START_MS)
    assert stage.text() == "0"
    assert stage.told("shown") == []


@pytest.mark.parametrize(
    ("page", "room", "scale"),
    [((1600, 900), (800, 800), 0.5), ((500, 2000), (800, 500), 0.25), ((300, 200), (800, 600), 1.0)],
)
def test_a_page_is_made_as_small_as_the_room_and_never_larger(
    stage: Stage, page: tuple[int, int], room: tuple[int, int], scale: float
) -> None:
    events = counting([10])
    events[0]["data"] |= {"width": page[0], "height": page[1]}
    stage.send("fit", width=room[0], height=room[1])
    stage.send("open", piece=1, calm=False)
    stage.feed(1, events)
    stage.show(1, START_MS)
    size = stage.told("size")[-1]
    assert (size["width"], size["height"]) == page
    box = (
        "(({ width, height }) => [width, height])"
        "(document.querySelector('.screen iframe').getBoundingClientRect())"
    )
    width, height = stage.window.evaluate(box, where="stage")
    assert (width, height) == (page[0] * scale, page[1] * scale)
