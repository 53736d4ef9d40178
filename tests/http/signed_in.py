"""People at the console, for tests of what is below ``/console``: a client that checks what replies owe."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from http.cookies import SimpleCookie
from typing import Any

import aiohttp
from yarl import URL

from rrd.clock import SystemClock
from rrd.console.desk import Desk
from tests.harness import LocalDaemon
from tests.http.api import VISITOR, Reply
from tests.samples import ndjson, some_events

COOKIE = "rrd_console"


class ShiftedClock(SystemClock):
    """The machine's clock, and as much more as a test says."""

    def __init__(self) -> None:
        self.shift_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.shift_ms

    def monotonic(self) -> float:
        return super().monotonic() + self.shift_ms / 1000


class Person:
    """A browser with the console open. ``cookie`` is the token that it holds, or empty."""

    def __init__(self, daemon: LocalDaemon, session: aiohttp.ClientSession) -> None:
        self.daemon = daemon
        self.session = session
        self.cookie = ""
        self.set_cookie = ""
        """The header that set the cookie last."""

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str | None] | None = None,
        with_cookie: bool = True,
    ) -> Reply:
        """Ask as the console's page does; ``headers`` add to what it sends, None takes one away.

        Checks that no page of another origin may read the reply.
        """
        sent: dict[str, str | None] = {"Sec-Fetch-Site": "same-origin", "Origin": self.daemon.url}
        if method not in {"GET", "HEAD"}:
            sent["Rrd-Console"] = "1"
        if body is not None:
            sent["Content-Type"] = "application/json"
        if self.cookie and with_cookie:
            sent["Cookie"] = f"{COOKIE}={self.cookie}"
        given = {name: value for name, value in (sent | dict(headers or {})).items() if value is not None}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        url = URL(self.daemon.url + path, encoded=True)
        async with self.session.request(
            method, url, data=data, headers=given, allow_redirects=False
        ) as answer:
            reply = Reply(answer.status, answer.headers, await answer.read())
        check_closed(reply)
        if path.startswith("/console/session") and with_cookie:
            self._keep_cookie(reply)
        return reply

    async def sign_in(self, **secret: str) -> dict[str, Any]:
        """Sign in with ``key`` or ``signIn``; return what the session may do."""
        reply = await self.ask("POST", "/console/session", secret)
        assert reply.status == 200, reply.body
        told: dict[str, Any] = reply.json()
        return told

    async def operate(self) -> dict[str, Any]:
        """Sign in by a one-time token."""
        return await self.sign_in(signIn=self.one_time())

    def one_time(self) -> str:
        """Return a token that signs in once, as ``rrd console`` makes them."""
        token = self.desk.sessions.new_sign_in()
        self.daemon.secrets.append(token)
        return token

    @property
    def desk(self) -> Desk:
        desk = self.daemon.services.desk
        assert desk is not None
        return desk

    async def record(self, recording_id: str, *, tenant: str = "acme") -> None:
        """Store three events, as a page of a site does."""
        key = self.daemon.key("ingest", tenant=tenant)
        url = f"{self.daemon.url}/recordings/{recording_id}/ingest"
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
        async with self.session.post(url, data=ndjson(some_events(3)), headers=headers) as answer:
            assert answer.status == 200

    def _keep_cookie(self, reply: Reply) -> None:
        if (header := reply.headers.get("Set-Cookie")) is not None:
            self.set_cookie = header
            self.cookie = SimpleCookie(header)[COOKIE].value
            if self.cookie:
                self.daemon.secrets.append(self.cookie)


def check_closed(reply: Reply) -> None:
    """Check what each reply below ``/console`` owes."""
    assert not [name for name in reply.headers if name.lower().startswith("access-control-")]
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Referrer-Policy"] == "no-referrer"
    assert reply.headers["Server"] == "rrd"
    assert reply.headers["Cache-Control"]
    assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
    if "Content-Disposition" not in reply.headers:  # An export is a document of its own, and not shown here.
        assert "frame-ancestors " in reply.headers["Content-Security-Policy"]
    if reply.status >= 400 and reply.body:
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.error


@contextlib.asynccontextmanager
async def a_person(daemon: LocalDaemon) -> AsyncIterator[Person]:
    """A ``Person`` who is not signed in, for as long as the block lasts."""
    async with aiohttp.ClientSession(
        headers=VISITOR,
        auto_decompress=False,
        skip_auto_headers=["Accept-Encoding", "Content-Type"],
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=30),
    ) as session:
        yield Person(daemon, session)
