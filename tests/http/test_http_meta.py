"""Metadata: what sets it, what it becomes, and what must never be kept of a visitor."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from rrd import layout
from rrd.disk.disk import OsDisk
from rrd.segment.reader import read_events, read_notes
from rrd.segment.scan import scan
from tests.harness import LocalDaemon, running
from tests.http.api import COMPRESS, VISITOR_ADDRESS, VISITOR_AGENT, Api, visiting
from tests.samples import dump, meta_event, ndjson, new_id, some_events

pytestmark = pytest.mark.table

VISITOR_ID = "4f6a0f0e-6f2b-4f7e-8a55-93ad1c1b7b9d"


async def post_meta(api: Api, recording_id: str, values: object, **more: Any) -> Any:
    return await api.request("POST", f"/recordings/{recording_id}/meta", body=dump(values), **more)


async def versions(api: Api, recording_id: str) -> dict[str, tuple[str, int]]:
    """Each key's value and version."""
    rows = (await api.get(f"/recordings/{recording_id}")).json()
    for row in rows:
        assert set(row) == {"key", "value", "timestamp", "version"}
        assert row["timestamp"] > 1_600_000_000_000
    return {row["key"]: (row["value"], row["version"]) for row in rows}


async def send(api: Api, way: str, recording_id: str, lines: list[bytes]) -> dict[str, Any]:
    """Send lines by POST or over a socket, and return the counts."""
    if way == "post":
        reply = await api.post(recording_id, ndjson(lines))
        assert reply.status == 200, reply.body
        counts: dict[str, Any] = reply.json()
        return counts
    socket = await api.socket(recording_id)
    await socket.send_text(*lines)
    end = await socket.finish()
    assert end.code == 1000
    return end.last


@pytest.fixture(params=["post", "socket"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_metadata_events_are_never_in_the_stream(api: Api, way: str) -> None:
    recording_id, sent = new_id(), some_events(4)
    start, added = meta_event(1, page="start", n=1), meta_event(2, page="later")
    page_view = dump(
        {"type": 5, "timestamp": 1_700_000_000_001, "data": {"tag": "pageview-meta", "payload": {}}}
    )
    counts = await send(api, way, recording_id, [start, *sent[:2], added, page_view, *sent[2:]])
    assert (counts["successful_rows"], counts["quarantined_rows"]) == (7, 0)
    assert await api.numbered(recording_id) == [
        (1, sent[0]),
        (2, sent[1]),
        (3, page_view),
        (4, sent[2]),
        (5, sent[3]),
    ]
    assert await versions(api, recording_id) == {"page": ("later", 2), "n": ("1", 1)}


async def test_values_become_strings(api: Api, way: str) -> None:
    recording_id = new_id()
    values = {"a": False, "b": 1.5, "c": None, "d": 'qu"ote', "e": 10**30, "f": [1, {"x": 2}], "g": "ü🙂"}
    raw = (
        b'{"type":5,"timestamp":1,"data":{"tag":"recording-meta","payload":{"h":1.50,"i":1e3,"j":"\\ud83d"}}}'
    )
    await send(api, way, recording_id, [meta_event(1, **values), raw, *some_events(1)])
    found = await api.metadata(recording_id)
    assert found.pop("j") == "\ufffd"
    assert found == {
        "a": "false",
        "b": "1.5",
        "c": "null",
        "d": 'qu"ote',
        "e": "1" + "0" * 30,
        "f": '[1,{"x":2}]',
        "g": "ü🙂",
        "h": "1.50",
        "i": "1e3",
    }


async def test_later_values_replace_earlier_ones_and_leave_the_others(api: Api) -> None:
    recording_id = new_id()
    await post_meta(api, recording_id, {"user": "a", "plan": "free"})
    await send(api, "socket", recording_id, [meta_event(5, user="b")])
    reply = await post_meta(api, recording_id, {"user": "c", "more": 1})
    assert (reply.status, reply.json()) == (200, {"successful_keys": 2, "quarantined_keys": 0})
    assert await versions(api, recording_id) == {"user": ("c", 3), "plan": ("free", 1), "more": ("1", 1)}


async def test_the_same_metadata_event_sent_again_changes_nothing(api: Api, way: str) -> None:
    recording_id, sent = new_id(), some_events(2)
    first, second = meta_event(1, page="start", user="a"), meta_event(2, page="later")
    await send(api, way, recording_id, [first, *sent, second])
    # The client's next batches hold all that it has ever sent.
    for _ in range(3):
        counts = await send(api, "post", recording_id, [first, *sent, second])
        assert (counts["successful_rows"], counts["duplicate_rows"]) == (0, 4)
    assert await versions(api, recording_id) == {"page": ("later", 2), "user": ("a", 1)}


async def test_metadata_alone_makes_a_recording_without_events(api: Api) -> None:
    recording_id = new_id()
    await post_meta(api, recording_id, {"user": "a"})
    assert await api.events(recording_id) == []
    listed = (await api.get("/recordings")).json()["recordings"]
    assert [(row["recordingId"], row["metadata"]) for row in listed] == [(recording_id, {"user": "a"})]


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
async def test_metadata_may_come_compressed(api: Api, encoding: str) -> None:
    recording_id = new_id()
    body = COMPRESS[encoding](b'{"user":"a"}')
    headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
    reply = await api.request("POST", f"/recordings/{recording_id}/meta", body=body, headers=headers)
    assert reply.status == 200
    assert await api.metadata(recording_id) == {"user": "a"}


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"[]",
            b"7",
            b"null",
            b"{",
            b'{"a":{}}',
            b'{"a":[1]}',
            b'{"":1}',
            b'{"a":"\xff"}',
            b'{"a":1} x',
        ),
        *(dump({"k" * 257: 1}), dump({"k": "x" * 4097})),
    ],
)
async def test_what_is_no_flat_object_or_over_a_limit_is_refused(api: Api, body: bytes) -> None:
    recording_id = new_id()
    reply = await api.request("POST", f"/recordings/{recording_id}/meta", body=body)
    assert (reply.status, reply.error["code"]) == (400, "bad_metadata")
    assert (await api.get(f"/recordings/{recording_id}")).status == 404


async def test_metadata_far_over_its_limits_is_not_even_read(api: Api) -> None:
    body = COMPRESS["gzip"](b'{"a":"' + b"x" * 20_000_000 + b'"}')
    headers = {"Content-Encoding": "gzip"}
    reply = await api.request("POST", f"/recordings/{new_id()}/meta", body=body, headers=headers)
    assert (reply.status, reply.error["code"]) == (413, "too_large")


async def test_a_recording_holds_so_many_keys_and_no_more(api: Api) -> None:
    recording_id = new_id()
    assert (await post_meta(api, recording_id, {f"a{n}": n for n in range(60)})).status == 200
    reply = await post_meta(api, recording_id, {f"b{n}": n for n in range(60)} | {"a1": "new"})
    assert reply.status == 200
    assert (reply.json()["successful_keys"], reply.json()["quarantined_keys"]) == (41, 20)
    full = [f"b{n}" for n in range(40, 60)]
    assert reply.json()["errors"] == [{"key": key, "reason": "too_many_metadata_keys"} for key in full]
    found = await api.metadata(recording_id)
    assert set(found) == {f"a{n}" for n in range(60)} | {f"b{n}" for n in range(40)}
    # Known keys can still be set, and there is no room for any other.
    assert (await post_meta(api, recording_id, {f"a{n}": "new" for n in range(60)})).status == 200
    reply = await post_meta(api, recording_id, {"c": 1})
    assert (reply.status, reply.error["code"]) == (400, "too_many_metadata_keys")
    counts = await send(
        api,
        "post",
        recording_id,
        [meta_event(1, one_more=1), meta_event(2, a0="newer", more=2), *some_events(2)],
    )
    assert (counts["successful_rows"], counts["quarantined_rows"]) == (3, 2)
    found = await api.metadata(recording_id)
    assert (len(found), found["a0"], found["a1"]) == (100, "newer", "new")


BAD_PAIRS = {
    "value too long": (b'"landingUrl":"%s"' % (b"x" * 4097), "landingUrl", "metadata_value_too_long"),
    "value far too long": (b'"landingUrl":"%s"' % (b"x" * 500_000), "landingUrl", "metadata_value_too_long"),
    "number too long": (b'"n":%s' % (b"1" * 4097), "n", "metadata_value_too_long"),
    "empty key": (b'"":"x"', "", "metadata_key_empty"),
    "key too long": (b'"%s":1' % (b"k" * 257), "k" * 100, "metadata_key_too_long"),
    "value no UTF-8": (b'"v":"\xff"', "v", "metadata_value_invalid"),
    "key no UTF-8": (b'"k\xff":1', "k\ufffd", "metadata_key_invalid"),
}


@pytest.mark.table
@pytest.mark.parametrize("bad", BAD_PAIRS)
@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_bad_pair_is_set_aside_and_its_neighbours_are_kept(
    api: Api, way: str, place: int, bad: str
) -> None:
    text, key, reason = BAD_PAIRS[bad]
    pairs = [b'"userId":"u-1"', b'"domain":"shop.example"']
    pairs.insert(place, text)
    payload = b"{" + b",".join(pairs) + b"}"
    line = b'{"type":5,"timestamp":1,"data":{"tag":"recording-meta","payload":%s}}' % payload
    recording_id, sent = new_id(), some_events(2)
    counts = await send(api, way, recording_id, [line, *sent])
    assert (counts["successful_rows"], counts["quarantined_rows"]) == (3, 1)
    # Sent again, all of it is a repeat: the bad pair, too.
    again = await send(api, "post", recording_id, [line, *sent])
    assert (again["successful_rows"], again["quarantined_rows"], again["duplicate_rows"]) == (0, 0, 3)
    assert await api.metadata(recording_id) == {"userId": "u-1", "domain": "shop.example"}
    listed = (await api.get("/recordings?meta[userId]=u-1")).json()["recordings"]
    assert [row["recordingId"] for row in listed] == [recording_id]
    if not reason.endswith("invalid"):  # A JSON reply can't hold other text.
        posted = new_id()
        reply = await api.request("POST", f"/recordings/{posted}/meta", body=payload)
        assert reply.json() == {
            "successful_keys": 2,
            "quarantined_keys": 1,
            "errors": [{"key": key, "reason": reason}],
        }
        assert (await api.metadata(posted))["userId"] == "u-1"


async def test_metadata_of_bad_pairs_alone_is_an_error_that_names_them(api: Api) -> None:
    line = meta_event(1, **{"": "x", "url": "x" * 5000})
    reply = await api.post(new_id(), ndjson([line]))
    assert (reply.status, reply.error["code"], reply.error["quarantined_rows"]) == (400, "no_valid_events", 2)
    assert reply.error["errors"] == [
        {"line": 1, "key": "", "reason": "metadata_key_empty"},
        {"line": 1, "key": "url", "reason": "metadata_value_too_long"},
    ]


async def test_long_values_are_cut_where_the_settings_say_so(tmp_path: Path) -> None:
    async with running(tmp_path, metadata_value_too_long="cut") as daemon, visiting(daemon) as api:
        recording_id = new_id()
        await send(api, "post", recording_id, [meta_event(1, url="é" * 3000, user="a"), *some_events(1)])
        assert await api.metadata(recording_id) == {"url": "é" * 2048, "user": "a"}


@pytest.mark.parametrize("prefix", ["rrweb-browser-client-visitor-id=", "rrweb-cloud-visitor-id=", ""])
async def test_a_visitor_is_known_by_id_and_not_by_cookie(api: Api, prefix: str, way: str) -> None:
    recording_id = new_id()
    values = {"visitor": prefix + VISITOR_ID, "other": prefix + VISITOR_ID}
    await send(api, way, recording_id, [meta_event(1, **values)])
    assert await api.metadata(recording_id) == {"visitor": VISITOR_ID, "other": prefix + VISITOR_ID}
    await post_meta(api, recording_id, {"visitor": prefix + "other-id"})
    listed = (await api.get("/recordings?meta[visitor]=other-id")).json()["recordings"]
    assert [row["recordingId"] for row in listed] == [recording_id]


async def test_the_pages_origin_is_kept(api: Api, way: str) -> None:
    recording_id = new_id()
    origin = {"Origin": "https://shop.example"}
    if way == "post":
        await api.post(recording_id, ndjson(some_events(1)), headers=origin)
    else:
        socket = await api.socket(recording_id, headers=origin)
        await socket.send_text(*some_events(1))
        await socket.finish()
    assert await api.metadata(recording_id) == {"ingestOrigin": "https://shop.example"}
    await api.post(recording_id, ndjson(some_events(5)), headers=origin)
    assert await versions(api, recording_id) == {"ingestOrigin": ("https://shop.example", 1)}


async def test_an_origin_that_a_page_hides_is_not_kept(api: Api, way: str) -> None:
    """Sandboxed frames and data: URLs say ``null`` (RFC 6454, 7.3)."""
    recording_id = new_id()
    origin = {"Origin": "null"}
    if way == "post":
        await api.post(recording_id, ndjson(some_events(1)), headers=origin)
    else:
        socket = await api.socket(recording_id, headers=origin)
        await socket.send_text(*some_events(1))
        await socket.finish()
    assert await api.metadata(recording_id) == {}


# What must not be kept


def everything_kept(data_dir: str) -> bytes:
    """All bytes of a data directory, and what its segments hold unpacked."""
    parts = []
    disk = OsDisk()
    for directory, _, names in os.walk(data_dir):
        for name in names:
            path = os.path.join(directory, name)
            parts.append(Path(path).read_bytes())
            if name.endswith(layout.SUFFIX):
                for block in scan(disk, path).blocks:
                    parts.append(read_events(disk, path, block))
                    parts.append(repr(read_notes(disk, path, block)).encode())
    return b"".join(parts)


@pytest.mark.parametrize("consent", [{}, {"includePii": False}, {"includePii": "yes"}, {"includePii": None}])
async def test_address_and_user_agent_are_nowhere_without_consent(
    tmp_path: Path, logged: list[str], consent: dict[str, object]
) -> None:
    recording_id = new_id()
    async with running(tmp_path) as daemon, visiting(daemon) as api:
        for way in ("post", "socket"):
            await send(api, way, recording_id, [meta_event(1, page=way, **consent), b"bad", *some_events(3)])
        await post_meta(api, recording_id, {"page": "meta", **consent})
        await api.get("/nowhere")
        assert not {"ipAddress", "userAgent"} & set(await api.metadata(recording_id))
    kept = everything_kept(str(tmp_path))
    assert b"page" in kept
    for secret in (VISITOR_ADDRESS, VISITOR_AGENT):
        assert secret.encode() not in kept
        assert secret not in "\n".join(logged)


async def test_address_and_user_agent_are_kept_with_consent(daemon: LocalDaemon, way: str) -> None:
    async with visiting(daemon) as api:
        recording_id = new_id()
        await send(api, way, recording_id, [meta_event(1, includePii=True), *some_events(1)])
        found = await api.metadata(recording_id)
        assert found == {
            "includePii": "true",
            "ipAddress": VISITOR_ADDRESS,
            "userAgent": VISITOR_AGENT,
        }


@pytest.mark.parametrize(
    ("trusted", "forwarded", "address"),
    [
        ("127.0.0.0/8", "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("127.0.0.0/8,203.0.113.0/24", "198.51.100.1, 203.0.113.9", "198.51.100.1"),
        ("10.0.0.0/8", "203.0.113.9", "127.0.0.1"),
        ("127.0.0.0/8", "not an address", None),
    ],
)
async def test_an_address_is_believed_as_far_as_proxies_are_trusted(
    tmp_path: Path, trusted: str, forwarded: str, address: str | None
) -> None:
    settings: dict[str, Any] = {"trusted_proxies": trusted.split(",")}
    async with running(tmp_path, **settings) as daemon, visiting(daemon) as api:
        recording_id = new_id()
        body = ndjson([meta_event(1, includePii=True)])
        await api.post(recording_id, body, headers={"X-Forwarded-For": forwarded})
        assert (await api.metadata(recording_id)).get("ipAddress") == address


@pytest.mark.parametrize("shape", ["list", "object"])
async def test_the_settings_choose_a_shape_and_the_query_overrides_them(tmp_path: Path, shape: str) -> None:
    async with running(tmp_path, metadata_shape=shape) as daemon, visiting(daemon) as api:
        recording_id = new_id()
        await post_meta(api, recording_id, {"a": 1, "b": "x"})
        found = {
            wanted: json.loads((await api.get(f"/recordings/{recording_id}{query}")).body)
            for wanted, query in {"default": "", "list": "?shape=list", "object": "?shape=object"}.items()
        }
        assert found["default"] == found[shape]
        assert found["object"] == {"metadata": {"a": "1", "b": "x"}}
        assert [(row["key"], row["value"], row["version"]) for row in found["list"]] == [
            ("a", "1", 1),
            ("b", "x", 1),
        ]
        reply = await api.get(f"/recordings/{recording_id}?shape=round")
        assert (reply.status, reply.error["parameter"]) == (400, "shape")
