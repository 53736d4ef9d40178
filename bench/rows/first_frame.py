"""How soon does a player that begins at 90 % of a very long recording get its first byte?

Two recordings of 500 MB, as a browser sends them: a body of some 60 kB every few seconds. One is a single
page view, whose snapshot is at its start; the other has 24. Each is asked for what a player needs from 90 %
of its time on (``at=``), all of it and a first megabyte of it (``maxBytes=``), and for its page views
(``/pages``, which are kept for a while once they are counted), while it is in segments and when it is in an
object. nginx sends files with the same bytes. All in turn; each connection is new, and closed after the
first byte. Memory is the daemon's most (``VmHWM``, proc(5)) over all that and one whole answer.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import re
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench import stage
from bench.daemon import Daemon, daemon
from bench.fetch import HOST, TIMEOUT_S, fetch, request
from bench.floors.nginx import FILES, Nginx, find, nginx
from bench.result import Check, Options, Row
from bench.rows import run_alone
from bench.rows.reads import wait_for_object

TITLE = "a replay that begins at 90 %"
MIB, MB = 1 << 20, 1e6

_FIRST_BYTE_MS = 150.0
_MEMORY_MIB = 200.0
_BODY_BYTES = 62_000
_EVENT_MS = 45
_SNAPSHOT_BYTES = 200_000
_SEGMENTS = {"RRD_SEAL_IDLE_S": "3600", "RRD_ROLLUP_DELAY_S": "3600"}
_OBJECT = {
    "RRD_SEAL_IDLE_S": "1",
    "RRD_ROLLUP_DELAY_S": "0",
    "RRD_ROLLUP_LEVEL": "3",
    "RRD_KEEP_LOCAL_S": "0",
}
_PATHS = {
    "all": "/events?at={at_ms}",
    "1 MB": "/events?at={at_ms}&maxBytes=1000000",
    "/pages": "/pages",
}


class Asked(NamedTuple):
    """A request whose first byte is waited for."""

    name: str
    port: int
    asked: bytes


def measure(options: Options) -> Row:
    """Measure it. Takes five minutes at full scale, most of it for sending and rolling up."""
    if find() is None:
        return Row(17, TITLE, [], notes=["nginx is missing (Debian: nginx-light)."])
    size = options.pick(500_000_000, 50_000_000, 2_000_000)
    with contextlib.ExitStack() as stack:
        files = stack.enter_context(nginx())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="rrd-bench-"))
        checks: list[Check] = []
        ids = {1: str(uuid.uuid4()), 24: str(uuid.uuid4())}
        for place, settings in (("segments", _SEGMENTS), ("an object", _OBJECT)):
            with daemon(settings, core=stage.server_core(), data_dir=folder) as target:
                if settings is _SEGMENTS:
                    at_ms = {pages: _send(target, recording, pages, size) for pages, recording in ids.items()}
                else:
                    wait_for_object(folder)
                checks += _compare(options, target, files, place, ids, at_ms)
        return Row(17, TITLE, checks, notes=[f"{size / MB:.0f} MB each; the bar is for rrd."])


def _send(target: Daemon, recording_id: str, pages: int, size: int) -> int:
    """Send a recording; return 90 % of its time."""
    chance = random.Random(pages)
    connection = http.client.HTTPConnection(target.host, target.port, timeout=TIMEOUT_S)
    headers = {"Authorization": f"Bearer {target.key}", "Content-Type": "application/x-ndjson"}
    start = at = 1_700_000_000_000
    sent = begun = 0
    with contextlib.closing(connection):
        while sent < size:
            body = bytearray()
            if sent >= begun * size / pages:
                begun += 1
                body += _page(at, chance)
            while len(body) < _BODY_BYTES:
                body += _change(at, chance)
                at += _EVENT_MS
            connection.request("POST", f"/recordings/{recording_id}/ingest", bytes(body), headers)
            answer = connection.getresponse()
            told = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{answer.status}: {told!r}")
            sent += len(body)
    return start + (at - start) * 9 // 10


def _page(at: int, chance: random.Random) -> bytes:
    text = "".join(chance.choices("abcdefghij ", k=1000)) * (_SNAPSHOT_BYTES // 1000)
    return (
        b'{"type":4,"timestamp":%d,"data":{"href":"https://example.org/","width":1280,"height":720}}\n'
        b'{"type":2,"timestamp":%d,"data":{"node":{"id":1,"text":"%s"},"initialOffset":{"left":0,"top":0}}}\n'
    ) % (at, at, text.encode())


def _change(at: int, chance: random.Random) -> bytes:
    number = chance.randrange(10**6)
    adds = b",".join(
        b'{"parentId":%d,"nextId":null,"node":{"type":2,"tagName":"div","attributes":{"class":"c%d"},"id":%d}}'
        % (number % 900, number % 77, number + child)
        for child in range(12)
    )
    return (
        b'{"type":3,"timestamp":%d,"data":{"source":0,"texts":[],"attributes":[],"removes":[{"id":%d}],"adds":[%s]}}\n'
        % (at, number, adds)
    )


def _compare(
    options: Options,
    target: Daemon,
    files: Nginx,
    place: str,
    ids: dict[int, str],
    at_ms: dict[int, int],
) -> Iterator[Check]:
    assert target.pid is not None
    headers = {"Authorization": f"Bearer {target.key}", "Accept": "application/x-ndjson"}
    lanes: list[Asked] = []
    Path(f"/proc/{target.pid}/clear_refs").write_text("5")
    for pages, recording_id in ids.items():
        for name, path in _PATHS.items():
            what = f"{name} of {pages} page view{'s' if pages > 1 else ''}, {place}"
            asked = request(f"/recordings/{recording_id}{path.format(at_ms=at_ms[pages])}", headers)
            answer, body = fetch(target.port, asked)
            if answer.status != 200 or not body.startswith((b'{"type":4,', b'{"recordingId":')):
                raise RuntimeError(f"{what}: {answer}")
            file = re.sub("[ ,/]+", "-", what)
            (files.files / file).write_bytes(body)
            del body
            lanes.append(Asked(what, target.port, asked))
            lanes.append(Asked(f"nginx, {what}", files.port, request(f"{FILES}/{file}", {})))
    found: dict[str, list[float]] = {lane.name: [] for lane in lanes}
    for _ in range(options.pick(21, 5, 1)):
        for lane in lanes:
            found[lane.name].append(1000 * first_byte_s(lane.port, lane.asked))
    for name, waits in found.items():
        bar = None if name.startswith("nginx") else _FIRST_BYTE_MS
        yield Check(
            f"until the first byte: {name}", median(waits), "ms", bar, "at most", min(waits), max(waits)
        )
    peak = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{target.pid}/status").read_text(), re.MULTILINE)
    assert peak is not None
    yield Check(f"memory at most, {place}", int(peak[1]) / 1024, "MiB", _MEMORY_MIB, "at most")


def first_byte_s(port: int, asked: bytes) -> float:
    """Make a request over a new connection; return the time until the first byte of the body, and leave."""
    with socket.create_connection((HOST, port), TIMEOUT_S) as connection:
        started = time.perf_counter()
        connection.sendall(asked)
        head = b""
        # A chunk's size stands before its first byte.
        while not re.search(rb"\r\n\r\n(?:[0-9a-f]+\r\n)?\{", head):
            data = connection.recv(65536)
            if not data:
                raise RuntimeError(f"the connection ended: {head!r}")
            head += data
        return time.perf_counter() - started


if __name__ == "__main__":
    run_alone(measure)
