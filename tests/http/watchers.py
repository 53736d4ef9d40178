"""A watcher of a recording, as a page or a tool is one: it takes a stream apart as the standard has it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp

from tests.harness import until

SERVER_SENT = "text/event-stream"


@dataclass
class Told:
    """One frame."""

    kind: str
    """``message`` where it is not named."""
    lines: list[bytes]
    last_id: str
    """The last ``id`` that was told, by this frame or an earlier one."""


@dataclass
class Parser:
    """The event stream of https://html.spec.whatwg.org/multipage/server-sent-events.html, 9.2.6."""

    told: list[Told] = field(default_factory=list)
    comments: list[bytes] = field(default_factory=list)
    last_id: str = ""
    retry_ms: int | None = None
    _text: bytes = b""
    _kind: str = ""
    _data: list[bytes] = field(default_factory=list)

    def feed(self, data: bytes) -> None:
        self._text += data
        *lines, self._text = self._text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            self._line(line)

    def _line(self, line: bytes) -> None:
        if not line:
            if self._data:
                self.told.append(Told(self._kind or "message", self._data, self.last_id))
            self._kind, self._data = "", []
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not name:
            self.comments.append(value)
        elif name == b"event":
            self._kind = value.decode()
        elif name == b"data":
            self._data.append(value)
        elif name == b"id":
            self.last_id = value.decode()
        elif name == b"retry" and value.isdigit():
            self.retry_ms = int(value)
        else:
            raise AssertionError(f"a page would pass this line over: {line!r}")


class Watcher:
    """An open stream. ``is_over`` once it has ended; ``broken`` if that was no end as it should be."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self.status = answer.status
        self.headers = answer.headers
        self.parser = Parser()
        self.raw = b""
        self.is_over = False
        self.broken: Exception | None = None
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        is_sse = self.headers.get("Content-Type", "").startswith(SERVER_SENT)
        try:
            async for data in self.answer.content.iter_any():
                if is_sse:
                    self.parser.feed(data)
                else:
                    self.raw += data
        except (aiohttp.ClientError, ConnectionError) as error:
            self.broken = error
        self.is_over = True

    @property
    def events(self) -> list[Any]:
        """All events so far, decoded."""
        if self.raw:
            whole = self.raw[: self.raw.rfind(b"\n") + 1]
            return [json.loads(line) for line in whole.split(b"\n") if line]
        return [
            json.loads(line) for told in self.parser.told if told.kind == "message" for line in told.lines
        ]

    @property
    def numbers(self) -> list[int]:
        return [event["sequenceId"] for event in self.events]

    @property
    def others(self) -> list[tuple[str, str]]:
        """What it was told beside events: (kind, reason)."""
        return [
            (told.kind, json.loads(told.lines[0])["reason"])
            for told in self.parser.told
            if told.kind != "message"
        ]

    async def has(self, count: int) -> list[int]:
        """Wait for so many events; return their numbers."""
        await until(lambda: len(self.events) >= count, what=f"{count} events, there are {len(self.events)}")
        return self.numbers

    async def hears(self, reason: str) -> None:
        await until(lambda: reason in [each for _, each in self.others], what=f"it to hear {reason}")

    async def ends(self) -> None:
        await until(lambda: self.is_over, what="the stream to end")

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self.answer.close()


@contextlib.asynccontextmanager
async def watching(
    url: str,
    recording_id: str,
    key: str,
    *,
    headers: Mapping[str, str] | None = None,
    accept: str = SERVER_SENT,
    tls: ssl.SSLContext | None = None,
    **query: object,
) -> AsyncIterator[Watcher]:
    """Watch a recording of the daemon at ``url`` until the block ends; ``tls``: where ``url`` speaks it."""
    target = f"{url}/recordings/{recording_id}/events?" + urlencode({"follow": "true", **query})
    sent = {"Authorization": f"Bearer {key}", "Accept": accept, **(headers or {})}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    connector = aiohttp.TCPConnector(ssl=tls or True)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
        session.get(target, headers=sent) as answer,
    ):
        watcher = Watcher(answer)
        try:
            yield watcher
        finally:
            await watcher.close()
