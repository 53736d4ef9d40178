"""A start that takes long: who may come in is decided at once, and no request waits without end."""

from __future__ import annotations

import asyncio
import hashlib
import re
from pathlib import Path
from typing import Any, Literal, get_args

import aiohttp
import pytest

from rrd.disk.disk import OsDisk
from rrd.http.services import Bounds
from rrd.inventory import census
from rrd.objects.identity import MARKER_KEY, has_marked
from tests.harness import DEADLINE_S, Keys, LocalDaemon, eventually, running, until
from tests.http.api import check_cors, visiting
from tests.http.test_http_access import ENDPOINTS, Endpoint
from tests.samples import ndjson, new_id, some_events

ORIGIN = "https://shop.example"


@pytest.fixture(params=sorted(ENDPOINTS))
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    return ENDPOINTS[request.param]


async def ask(daemon: LocalDaemon, endpoint: Endpoint, key: str) -> tuple[int, aiohttp.ClientResponse]:
    headers = {"Origin": ORIGIN, "Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
    method = endpoint.method
    if method == "WS":
        method = "GET"
        headers |= {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
    async with (
        asyncio.timeout(DEADLINE_S),
        aiohttp.ClientSession() as session,
        session.request(method, daemon.url + endpoint.path, data=endpoint.body, headers=headers) as reply,
    ):
        check_cors(reply.headers, ORIGIN)
        assert (await reply.json())["error"]["message"]
        return reply.status, reply


async def test_while_starting_a_key_decides_first_and_then_the_wait_has_an_end(
    tmp_path: Path, endpoint: Endpoint
) -> None:

    async def starting(daemon: LocalDaemon) -> None:
        status, _ = await ask(daemon, endpoint, "secret_key_rr_wrong")
        assert status == 401
        status, reply = await ask(daemon, endpoint, daemon.key())
        assert status == 503
        assert int(reply.headers["Retry-After"]) > 0

    async with running(tmp_path, before_recovery=starting, bounds=Bounds(ready_wait_s=0.05)):
        pass


Mode = Literal["refuses", "errs", "hangs", "denies lists", "denies puts", "works"]


class Bucket:
    """As much of S3 as a start needs, or less. ``requests`` counts what came."""

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.requests = 0
        self._objects: dict[str, bytes] = {}
        self._let_go = asyncio.Event()
        self._server: asyncio.Server | None = None
        self.endpoint = ""

    async def __aenter__(self) -> Bucket:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.endpoint = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        if self.mode == "refuses":
            self._server.close()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._let_go.set()
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = re.search(r"^content-length: (\d+)", head, re.MULTILINE)
        if "expect: 100-continue" in head and self.mode != "hangs":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(int(length[1])) if length and self.mode != "hangs" else b""
        self.requests += 1
        if self.mode == "hangs":
            await self._let_go.wait()
        method, target, _ = head.split(maxsplit=2)
        status, answer = self._answer(method, target, body)
        tag = hashlib.md5(answer or body).hexdigest()
        fields = f'Content-Length: {len(answer)}\r\nETag: "{tag}"\r\nConnection: close'
        if status == 206:
            fields += f"\r\nContent-Range: bytes 0-{len(answer) - 1}/{len(answer)}"
        writer.write(f"HTTP/1.1 {status} Told\r\n{fields}\r\n\r\n".encode())
        if method != "head":
            writer.write(answer)
        writer.close()

    def _answer(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        denied = 403, b"<Error><Code>AccessDenied</Code></Error>"
        path = target.partition("?")[0]
        if self.mode == "errs":
            return 503, b"<Error><Code>SlowDown</Code></Error>"
        if method == "put":
            if self.mode == "denies puts":
                return denied
            self._objects[path] = body
            return 200, b""
        if path.endswith(MARKER_KEY):
            known = self._objects.get(path)
            return (404, b"<Error><Code>NoSuchKey</Code></Error>") if known is None else (206, known)
        if self.mode == "denies lists":
            return denied
        return 200, b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"

    def settings(self, directory: Path) -> dict[str, Any]:
        credentials = directory / "credentials"
        credentials.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
        return {
            "object_store": "s3",
            "s3_endpoint": self.endpoint,
            "s3_bucket": "recordings",
            "s3_credentials_file": str(credentials),
            "s3_timeout_s": 1,
        }


@pytest.mark.parametrize("mode", get_args(Mode))
async def test_a_first_start_takes_events_whatever_the_bucket_says(
    tmp_path: Path, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mode == "hangs":
        monkeypatch.setattr("rrd.daemon.assembly.STORE_WAIT_S", 0.2)
    elif mode in {"denies lists", "works"}:  # On a busy machine an answer takes its time.
        monkeypatch.setattr("rrd.daemon.assembly.STORE_WAIT_S", DEADLINE_S)
    recording_id, sent = new_id(), some_events(3)
    async with Bucket(mode) as bucket:

        def listens(_: LocalDaemon) -> None:
            assert bucket.requests == 0, "the bucket was asked before visitors could connect"

        settings = bucket.settings(tmp_path)
        async with (
            asyncio.timeout(DEADLINE_S),
            running(tmp_path / "data", before_recovery=listens, **settings) as daemon,
            visiting(daemon) as api,
        ):
            assert (await api.post(recording_id, ndjson(sent))).status == 200
            assert await api.events(recording_id) == sent
            assert (await api.get("/-/ready", key="")).status == 200
            assert has_marked(daemon.data_dir, OsDisk()) == (mode in {"denies lists", "works"})


async def test_a_start_with_an_index_takes_events_beside_a_silent_bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rrd.daemon.assembly.STORE_WAIT_S", 0.2)
    async with Bucket("works") as bucket, asyncio.timeout(DEADLINE_S):
        settings = bucket.settings(tmp_path)
        async with running(tmp_path / "data", **settings) as daemon, visiting(daemon) as api:
            await api.post(recording_id := new_id(), ndjson(some_events(3)))
        bucket.mode = "hangs"
        async with running(tmp_path / "data", **settings) as daemon, visiting(daemon) as api:
            assert (await api.post(recording_id, ndjson(some_events(5)[3:]))).status == 200


async def test_an_index_that_is_lost_waits_for_its_bucket_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(census, "WAIT_S", (0.001, 0.01))
    recording_id, told = new_id(), []
    async with Bucket("works") as bucket, asyncio.timeout(DEADLINE_S):
        settings = bucket.settings(tmp_path)
        with pytest.MonkeyPatch.context() as patch:
            # A busy machine must not keep the bucket from being marked.
            patch.setattr("rrd.daemon.assembly.STORE_WAIT_S", DEADLINE_S)
            patient = settings | {"s3_timeout_s": 30}
            async with running(tmp_path / "data", **patient) as daemon, visiting(daemon) as api:
                await api.post(recording_id, ndjson(some_events(3)))
        assert has_marked(str(tmp_path / "data"), OsDisk())
        for path in (tmp_path / "data").glob("index.sqlite*"):
            path.unlink()
        bucket.mode = "errs"

        def starting(daemon: LocalDaemon) -> None:
            told.append(asyncio.create_task(meanwhile(daemon)))

        async def meanwhile(daemon: LocalDaemon) -> None:
            async with visiting(daemon) as api:

                async def waits_for_it() -> bool:
                    reply = await api.get("/-/ready", key="")
                    assert (reply.status, reply.error["code"]) == (503, "not_ready")
                    message: str = reply.error["message"]
                    assert bucket.endpoint not in message
                    return "needs an answer of the object store" in message

                await eventually(waits_for_it, what="the reason in /-/ready")
                assert (await api.get(f"/recordings/{recording_id}", key="")).status == 401
                assert (await api.post(recording_id, ndjson(some_events(1)))).status == 503
                bucket.mode = "works"

        async with (
            running(
                tmp_path / "data", before_recovery=starting, bounds=Bounds(ready_wait_s=0.05), **settings
            ) as daemon,
            visiting(daemon) as api,
        ):
            await told[0]
            assert await api.events(recording_id) == some_events(3)


async def test_keys_made_and_revoked_during_a_start_count_at_once(tmp_path: Path) -> None:
    heard: list[int] = []

    async def starting(daemon: LocalDaemon) -> None:
        # Not the daemon's own, which tell the gate.
        keys = Keys(daemon.data_dir)
        key = keys.key()

        async def has_status(status: int) -> bool:
            heard.append((await ask(daemon, ENDPOINTS["statistics"], key))[0])
            return heard[-1] == status

        await eventually(lambda: has_status(503), what="the new key to count")
        keys.revoke(key)
        await eventually(lambda: has_status(401), what="the revocation to count")

    async with running(tmp_path, before_recovery=starting, bounds=Bounds(ready_wait_s=0.01)):
        pass
    # Refused until it counts, then asked to wait for the start, then refused for good.
    assert list(dict.fromkeys(heard)) in ([401, 503], [503, 401])


async def test_a_start_that_stops_refuses_those_who_wait(tmp_path: Path) -> None:
    waiting: list[asyncio.Task[tuple[int, str]]] = []

    class Fails(Exception):
        pass

    async def waits(daemon: LocalDaemon) -> tuple[int, str]:
        async with visiting(daemon) as api:
            reply = await api.get("/recordings")
            return reply.status, reply.error["code"]

    async def starting(daemon: LocalDaemon) -> None:
        before = daemon.services.requests
        waiting.append(asyncio.create_task(waits(daemon)))
        await until(lambda: before._count == 1, what="a request that waits")
        raise Fails

    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(Fails):
            async with running(
                tmp_path, before_recovery=starting, bounds=Bounds(ready_wait_s=10 * DEADLINE_S)
            ):
                pass
        assert await waiting[0] == (503, "shutting_down")
