"""Real answers of a daemon, one for each path, method and status that the document tells of.

A scene is a daemon in some state, which provokes some statuses on every operation that may answer them. Each
answer is held against the document: status, content type, shape, code. No status may be left over.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from rrd.access.signing import sign
from rrd.config import Config
from rrd.http.openapi.document import document
from rrd.http.services import Bounds, WatchBounds
from tests.harness import LocalDaemon, eventually, running
from tests.http.raw_client import Connection, RawReply, Socket
from tests.openapi.contract import Described, Told
from tests.samples import dump, meta_event, ndjson, new_id, some_events

pytestmark = pytest.mark.table

KEY_OF = {"ingest": "all", "read": "all", "erase": "erase"}
WRONG_KEY_OF = {"ingest": "read", "read": "ingest", "erase": "all"}
HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
BODY = ndjson(some_events(3))
CLOSED = dump({"type": 5, "timestamp": 1_800_000_000_000, "data": {"tag": "close-permanent", "payload": {}}})
BELOW = {
    400: "{method} {target} HTTP/1.1\r\nHost: rrd.test\r\nno colon\r\n\r\n",
    417: "{method} {target} HTTP/1.1\r\nHost: rrd.test\r\nExpect: a miracle\r\n\r\n",
    431: "{method} {target} HTTP/1.1\r\nHost: rrd.test\r\nX-Long: " + "x" * 40_000 + "\r\n\r\n",
    501: "{method} {target} HTTP/1.1\r\nHost: rrd.test\r\nTransfer-Encoding: gzip\r\n\r\n",
    505: "{method} {target} HTTP/3.0\r\nHost: rrd.test\r\n\r\n",
}
AWAY: dict[str, Any] = {
    "object_store": "s3",
    "s3_endpoint": "http://127.0.0.1:9",  # The port to throw things away: nothing answers there.
    "s3_bucket": "rrd",
    "s3_timeout_s": 1,
}


@pytest.fixture(scope="module")
def told() -> Told:
    return Told(document(Config()))


class Caller:
    """Sends what an operation takes to a daemon, and checks each answer against the document."""

    def __init__(self, told: Told, daemon: LocalDaemon) -> None:
        self.told = told
        self.daemon = daemon
        self.keys = {scope: daemon.key(scope) for scope in ("all", "read", "ingest", "erase")}

    async def send(self, found: Described, text: bytes, *, method: str = "") -> RawReply:
        """Send a request as it stands here; check and return the answer."""
        connection = await Connection.open(self.daemon.url)
        connection.writer.write(text)
        reply = await connection.reply(method=method or found.method)
        await connection.hang_up()
        self.told.check(found, reply.status, reply.headers, reply.body)
        return reply

    async def ask(
        self,
        found: Described,
        *,
        recording_id: str = "",
        query: str = "",
        scope: str | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> RawReply:
        """Ask for an operation with a key that may, or that of ``scope``; an empty one is none."""
        target, query = self.target(found, recording_id or new_id(), query)
        key = KEY_OF.get(found.right, "") if scope is None else scope
        sent = {"Host": "rrd.test"}
        sent |= HANDSHAKE if found.is_socket else {}
        sent |= {"Authorization": f"Bearer {self.keys[key]}"} if key else {}
        if found.method == "POST":
            body = body if body is not None else b'{"a":1}' if found.name == "postMetadata" else BODY
            sent |= {"Content-Length": str(len(body))}
        sent |= headers or {}
        fields = "".join(f"{name}: {value}\r\n" for name, value in sent.items() if value)
        head = f"{found.method} {target}{'?' * bool(query)}{query} HTTP/1.1\r\n{fields}\r\n"
        return await self.send(found, head.encode() + (body or b""))

    def target(self, found: Described, recording_id: str, query: str = "") -> tuple[str, str]:
        """Return a path and a query that make sense."""
        if "meta" in (known := found.parameters("query")) and found.name != "listRecordings":
            query = f"meta[a]=1&{query}"
        if known.get("recordingId"):
            query = f"recordingId={recording_id}&{query}"
        if found.name == "getMetadataValues" and "key=" not in query:
            query = f"key=a&{query}"
        path = found.path.replace("{recordingId}", recording_id)
        return path.replace("{groupingProp}", "a").replace("{replayValue}", "1"), query.rstrip("&")

    def each(self, status: int, *, right: str = "") -> Iterator[Described]:
        """Return the operations that may answer a status, of one right or of all."""
        for found in self.told.operations:
            if status in found.statuses and (not right or found.right == right):
                yield found

    async def filled(self, *, events: bytes = BODY) -> str:
        """Make a recording with metadata, and return its id."""
        recording_id = new_id()
        body = meta_event(1, a="1") + b"\n" + events
        await self.ask(self.told.by_name["postIngest"], recording_id=recording_id, body=body)
        return recording_id


async def what_is_below_the_handlers(tmp_path: Path, told: Told) -> None:
    async with running(tmp_path, bounds=Bounds(head_s=0.3)) as daemon:
        caller = Caller(told, daemon)

        async def refused(found: Described, status: int) -> None:
            target, _ = caller.target(found, new_id())
            text = BELOW[status].format(method=found.method, target=target)
            assert (await caller.send(found, text.encode())).status == status

        for status in BELOW:
            await asyncio.gather(*(refused(found, status) for found in told.operations))

        async def late(found: Described) -> None:
            reply = await caller.send(found, f"{found.method} {found.path} HTTP/1.1\r\nHost:".encode())
            assert reply.status == 408

        await asyncio.gather(*map(late, told.operations))


async def a_daemon_that_takes_no_more_connections(tmp_path: Path, told: Told) -> None:
    async with running(tmp_path) as daemon:
        caller = Caller(told, daemon)
        daemon.services.connections_max = 0
        for found in told.operations:
            assert (await caller.ask(found)).status == 503


async def keys_that_are_missing_or_of_another_scope(tmp_path: Path, told: Told) -> None:
    async with running(tmp_path) as daemon:
        caller = Caller(told, daemon)
        for found in told.operations:
            if found.right:
                assert (await caller.ask(found, scope="")).status == 401
                assert (await caller.ask(found, scope=WRONG_KEY_OF[found.right])).status == 403
            else:
                assert not {401, 403} & found.statuses
                assert (await caller.ask(found, scope="")).status in {200, 302, 404}


async def a_quota_that_is_used_up(tmp_path: Path, told: Told) -> None:
    async with running(tmp_path, requests_tenant_max=1, sockets_tenant_max=1) as daemon:
        caller = Caller(told, daemon)
        busy = await Connection.open(daemon.url)
        fields = {"Authorization": f"Bearer {caller.keys['all']}", "Content-Length": "1000"}
        socket = await Socket.upgrade(f"{daemon.url}/ws?token={caller.keys['all']}")
        busy.send_head("POST", f"/recordings/{new_id()}/ingest", fields)

        async def is_busy() -> bool:
            return (await caller.ask(told.by_name["getStatistics"])).status == 429

        await eventually(is_busy, what="a request that is under way")
        for found in caller.each(429):
            reply = await caller.ask(found)
            assert reply.status == 429
            assert int(reply.headers["retry-after"]) > 0
        await socket.drop()
        await busy.drop()


async def a_bug(tmp_path: Path, told: Told) -> None:
    """A part that isn't there stands for all bugs: the caller hears of one in the shape of an error."""
    async with running(tmp_path) as daemon:
        caller = Caller(told, daemon)
        admission, daemon.services.admission = daemon.services.admission, None  # type: ignore[assignment]
        try:
            for found in caller.each(500):
                reply = await caller.ask(found)
                assert (reply.status, reply.json()["error"]["code"]) == (500, "internal")
        finally:
            daemon.services.admission = admission


async def a_full_disk_and_a_body_that_is_too_large(tmp_path: Path, told: Told) -> None:
    small: dict[str, Any] = {
        "metadata_keys_max": 1,
        "metadata_key_bytes_max": 8,
        "metadata_value_bytes_max": 8,
    }
    async with running(tmp_path / "small", body_bytes_max=1024, **small) as daemon:
        caller = Caller(told, daemon)
        for found in caller.each(413):
            assert (await caller.ask(found, body=b" " * 2000)).status == 413
    async with running(tmp_path / "full", disk_reserve_bytes=1 << 60) as daemon:
        caller = Caller(told, daemon)
        for found in caller.each(507):
            assert (await caller.ask(found)).status == 507
        assert "warning" in (await caller.ask(told.by_name["getReady"])).json()


async def what_is_sent(tmp_path: Path, told: Told) -> None:
    async with running(tmp_path) as daemon:
        caller = Caller(told, daemon)
        erased = await caller.filled()
        await caller.ask(told.by_name["eraseRecording"], recording_id=erased)
        for found in caller.each(410):
            assert (await caller.ask(found, recording_id=erased)).status == 410
        for found in itertools.chain(caller.each(200, right="ingest"), caller.each(101)):
            assert (await caller.ask(found)).status in {200, 101}
        for found in caller.each(415):
            query = "contentEncoding=lzma" if found.is_socket else ""
            reply = await caller.ask(found, query=query, headers={"Content-Encoding": "lzma"})
            assert reply.status == 415
        for found in caller.each(411):
            assert (await caller.ask(found, body=b"", headers={"Content-Length": ""})).status == 411
        for found in caller.each(426):
            reply = await caller.ask(found, headers={"Sec-WebSocket-Version": "1"})
            assert reply.status == 426


BAD_BODIES = {
    "no events": (b"not json\n" * 3, {}),
    "bad pair": (b'{"":1,"b":{}}', {}),
    "no object": (b"[]", {}),
    "packed badly": (b"\x1f\x8bnothing", {"Content-Encoding": "gzip"}),
    "a bad chunk": (b"zz\r\n", {"Transfer-Encoding": "chunked", "Content-Length": ""}),
    "good and bad lines": (BODY + b"not json\n", {}),
    "good and bad metadata": (b'{"a":1,"b":[]}', {}),
    "bad metadata in an event": (meta_event(1, **{"": "x", "a": "y"}), {}),
}


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_bodies_that_are_bad_in_part_or_as_a_whole(tmp_path: Path, told: Told, name: str) -> None:
    body, headers = BAD_BODIES[name]
    async with running(tmp_path) as daemon:
        caller = Caller(told, daemon)
        for found in caller.each(200, right="ingest"):
            reply = await caller.ask(found, body=body, headers=headers)
            assert reply.status in {200, 400}
            if reply.status == 400:
                assert reply.json()["error"]["code"] != "bad_http"


async def what_is_read(tmp_path: Path, told: Told) -> None:
    async with running(tmp_path, bounds=Bounds(watch=WatchBounds(closed_s=0.01))) as daemon:
        caller = Caller(told, daemon)
        recording_id = await caller.filled(events=BODY + CLOSED)
        for found in caller.each(200):
            if found.right not in {"ingest", "erase"}:
                assert (await caller.ask(found, recording_id=recording_id)).status == 200
        for found in caller.each(304):
            # Whatever the answer is called, the caller has it.
            reply = await caller.ask(found, recording_id=recording_id, headers={"If-None-Match": "*"})
            assert reply.status == 304
        for found in caller.each(404):
            assert (await caller.ask(found)).status == 404
        events = told.by_name["getEvents"]
        ask: dict[str, Any] = {"recording_id": recording_id}
        assert (await caller.ask(events, **ask, query="form=stored")).status == 406
        live = await caller.ask(events, **ask, query="follow=true")
        assert live.headers["content-type"] == "text/event-stream"
        assert (await caller.ask(events, **ask, query="follow=true&after=4")).status == 204
        page = await caller.ask(events, **ask, query="limit=2")
        assert 'rel="next"' in page.headers["link"]
        for query in ("sort=bytes", "includeSignedUrls=false&limit=1&offset=0", "live=true", "from=0&to=1"):
            await caller.ask(told.by_name["listRecordings"], query=query)
        for shape in ("list", "object"):
            await caller.ask(told.by_name["getRecording"], **ask, query=f"shape={shape}")


async def what_is_damaged(tmp_path: Path, told: Told) -> None:
    async with running(tmp_path) as daemon:
        caller = Caller(told, daemon)
        recording_id = await caller.filled()
        (segment,) = daemon.segments("active")
        segment.write_bytes(b"\0" * segment.stat().st_size)
        for name in ("getEvents", "getExport", "getPages", "getReplay", "getReplayOf"):
            reply = await caller.ask(told.by_name[name], recording_id=recording_id, query="salvage=false")
            assert (reply.status, reply.json()["error"]["code"]) == (500, "recording_damaged")
            reply = await caller.ask(told.by_name[name], recording_id=recording_id, query="salvage=true")
            assert int(reply.headers["rrd-missing-events"]) > 0


async def what_is_erased_here_and_while_the_store_is_away(tmp_path: Path, told: Told) -> None:
    credentials = await asyncio.to_thread(_credentials, tmp_path)
    names = ("eraseRecording", "eraseRecordings")
    async with running(tmp_path / "data") as daemon:
        caller = Caller(told, daemon)
        for name in names:
            recording_id = await caller.filled()
            assert (await caller.ask(told.by_name[name], recording_id=recording_id)).status == 200
        left = [await caller.filled() for _ in names]
    async with running(tmp_path / "data", **AWAY, s3_credentials_file=credentials) as daemon:
        caller = Caller(told, daemon)
        for name, recording_id in zip(names, left, strict=True):
            reply = await caller.ask(told.by_name[name], recording_id=recording_id)
            assert (reply.status, reply.json()["pending"]) == (202, 1)


def _credentials(directory: Path) -> str:
    directory.mkdir()
    path = directory / "credentials"
    path.write_text("[default]\naws_access_key_id = someone\naws_secret_access_key = nothing\n")
    return str(path)


async def a_link_for_people(tmp_path: Path, told: Told) -> None:
    found = told.by_name["getPreview"]
    for console, status in ((True, 302), (False, 404)):
        async with running(tmp_path / str(console), console=console) as daemon:
            assert (await Caller(told, daemon).ask(found)).status == status


async def test_ids_that_are_none(tmp_path: Path, told: Told) -> None:
    async with running(tmp_path, console=True) as daemon:
        caller = Caller(told, daemon)
        for found in told.operations:
            if "recordingId" in found.parameters("path") | found.parameters("query"):
                reply = await caller.ask(found, recording_id="7")
                assert (reply.status, reply.json()["error"]["code"]) == (400, "bad_recording_id")


async def test_a_presigned_url_opens_what_the_document_says_and_nothing_else(
    tmp_path: Path, told: Told
) -> None:
    async with running(tmp_path) as daemon:
        caller = Caller(told, daemon)
        row = daemon.signing_key()
        for found in told.operations:
            if not found.right:
                continue
            recording_id = await caller.filled()
            target, _ = caller.target(found, recording_id)
            has_id = "recordingId" in found.parameters("path") | found.parameters("query")
            query = sign(
                secret=row.secret, key_id=row.key_id, tenant="acme", expires_s=4_000_000_000,
                method="POST" if found.right == "ingest" else "GET",
                scope_path=f"/recordings/{recording_id}" if has_id else target,
            )  # fmt: skip
            reply = await caller.ask(found, recording_id=recording_id, query=query, scope="")
            is_told = any("presignedSignature" in way for way in found.told["security"])
            assert reply.status in ({200, 101} if is_told else {401, 403}), found.name


# Parameters


def wrong_values(schema: Mapping[str, Any]) -> list[str]:
    """Return values that a schema excludes."""
    found = ["other"] if "enum" in schema or "const" in schema or schema.get("type") != "string" else []
    found += [str(schema["minimum"] - 1)] if "minimum" in schema else []
    found += [str(schema["maximum"] + 1)] if "maximum" in schema else []
    found += ["x" * (schema["maxLength"] + 1)] if "maxLength" in schema else []
    found += [""] if schema.get("minLength") else []
    return found


async def test_each_parameter_is_taken_and_kept_within_its_bounds(tmp_path: Path, told: Told) -> None:
    async with running(tmp_path) as daemon:
        caller = Caller(told, daemon)
        recording_id = await caller.filled()
        cursor = await caller.ask(told.by_name["getEvents"], recording_id=recording_id, query="limit=1")
        asked = refused = 0
        for found in told.operations:
            for name, each in found.parameters("query").items():
                if name in {"meta", "recordingId"} or "x-alias-of" in found.told:
                    continue
                value = each.get("example", cursor.headers["link"].partition("cursor=")[2].partition(">")[0])
                ask: dict[str, Any] = {"recording_id": recording_id, "query": f"{name}={value}"}
                assert (await caller.ask(found, **ask)).status in {200, 101}, (found.name, name)
                asked += 1
                for wrong in wrong_values(each["schema"]):
                    ask["query"] = f"{name}={wrong}"
                    reply = await caller.ask(found, **ask)
                    assert reply.status in {400, 415}, (found.name, name, wrong)
                    assert reply.status == 415 or reply.json()["error"]["parameter"] == name
                    refused += 1
        assert asked > 30
        assert refused > 50


async def test_parameters_that_are_not_told_of_are_answered_as_the_description_says(
    tmp_path: Path, told: Told
) -> None:
    async with running(tmp_path) as daemon:
        caller = Caller(told, daemon)
        for found in told.operations:
            recording_id = await caller.filled()
            reply = await caller.ask(found, recording_id=recording_id, query="unheard=of")
            is_refused = "A parameter that is not described here is refused" in found.told["description"]
            assert is_refused != ("not described here are passed over" in found.told["description"])
            if "unless one looks like a filter" in found.told["description"]:
                misspelt = await caller.ask(found, recording_id=await caller.filled(), query="filter=a")
                assert (misspelt.status, misspelt.json()["error"]["parameter"]) == (400, "filter")
            if found.name == "getEvents":
                for beside in ("at=1", "after=0", "limit=1", "maxBytes=65536", "clock=server", "follow=true"):
                    assert f"`{beside.partition('=')[0]}`" in found.told["description"].partition("unless")[2]
                    query = f"{beside}&unheard=of"
                    assert (await caller.ask(found, recording_id=recording_id, query=query)).status == 400
            if found.name == "getPreview":
                assert reply.status in {302, 404}
            elif is_refused:
                assert (reply.status, reply.json()["error"]["parameter"]) == (400, "unheard")
            else:
                assert reply.status in {200, 101}


SCENES = (
    what_is_below_the_handlers,
    a_daemon_that_takes_no_more_connections,
    keys_that_are_missing_or_of_another_scope,
    a_quota_that_is_used_up,
    a_bug,
    a_full_disk_and_a_body_that_is_too_large,
    what_is_sent,
    what_is_read,
    what_is_damaged,
    what_is_erased_here_and_while_the_store_is_away,
    a_link_for_people,
)


async def test_each_status_that_the_document_tells_of_is_answered_as_it_says(
    tmp_path: Path, told: Told
) -> None:
    for number, scene in enumerate(SCENES):
        await scene(tmp_path / str(number), told)
    assert told.missing() == []
