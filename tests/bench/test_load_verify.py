"""What was read back, held against what was sent: each kind of damage is noticed.

*Method*: first the comparison itself, told lines that were tampered with; then the whole command, against a
server that acks everything and gives back something else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bench.load import Plan, Target, run
from bench.load.__main__ import main
from bench.load.events import Events
from bench.load.outcome import Findings
from bench.load.verify import Claim, compare

pytestmark = pytest.mark.table

EVENTS = Events("small", seed=5, start_ms=1_795_399_704_824)
RECORDING = "0b1c6b0e-0000-4000-8000-000000000000"
NUMBER, SENT = 3, 600
"""More than the comparison makes at a time."""


def served(lines: list[bytes], recording_id: str = RECORDING) -> list[bytes]:
    """Return events as a server gives them back, that have arrived in this order."""
    return [
        line[:-1] + b',"sequenceId":%d,"recordingId":"%b"}' % (seq, recording_id.encode())
        for seq, line in enumerate(lines, 1)
    ]


def sent(limit: int = SENT) -> list[bytes]:
    return [EVENTS.event(NUMBER, n) for n in range(limit)]


def found(lines: list[bytes], unacked: tuple[tuple[int, int], ...] = ()) -> Findings:
    findings = compare(lines, Claim(NUMBER, SENT, unacked), RECORDING, EVENTS)
    findings.problems.clear()
    return findings


def counts(
    *, stored: int = SENT, lost: int = 0, doubled: int = 0, changed: int = 0, disordered: int = 0
) -> Findings:
    return Findings(1, stored, lost, doubled, changed, disordered)


def test_what_is_as_it_was_sent_is_clean() -> None:
    assert found(served(sent())) == counts()
    assert counts().is_clean


def test_how_a_server_writes_json_does_not_matter() -> None:
    lines = [json.dumps(json.loads(line), sort_keys=True).encode() for line in served(sent())]
    assert found(lines) == counts()
    without_ids = sent()
    assert found(without_ids) == counts()


@pytest.mark.parametrize("n", [0, 1, 255, 256, 300, SENT - 1])
def test_a_lost_event_is_noticed(n: int) -> None:
    lines = sent()
    del lines[n]
    assert found(served(lines)) == counts(stored=SENT - 1, lost=1)


def test_a_recording_that_is_not_there_is_lost_as_a_whole() -> None:
    assert found([]) == counts(stored=0, lost=SENT)


@pytest.mark.parametrize("n", [0, 255, 256, SENT - 1])
def test_a_doubled_event_is_noticed(n: int) -> None:
    lines = sent()
    lines.insert(n, lines[n])
    assert found(served(lines)) == counts(stored=SENT + 1, doubled=1)
    elsewhere = served([*sent(), sent()[0]])
    assert found(elsewhere) == counts(stored=SENT + 1, doubled=1, disordered=1)


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "another type": lambda line: line.replace(b'"type":3', b'"type":4', 1),
    "a field more": lambda line: b'{"x":1,' + line[1:],
    "a number's kind": lambda line: line.replace(b'"type":3', b'"type":3.0', 1),
    "data gone": lambda line: json.dumps({**json.loads(line), "data": None}).encode(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_event_is_noticed_and_not_lost_as_well(change: str) -> None:
    lines = sent()
    n = next(n for n, line in enumerate(lines) if line.startswith(b'{"type":3'))
    assert CHANGES[change](lines[n]) != lines[n]
    lines[n] = CHANGES[change](lines[n])
    assert found(served(lines)) == counts(changed=1)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense",
        b"[1]",
        b'"text"',
        b'{"type":3}',
        b'{"type":3,"timestamp":12,"data":{}}',
        EVENTS.event(NUMBER, SENT),
        *served([EVENTS.event(NUMBER, 5)], "00000000-0000-4000-8000-000000000001"),
    ],
)
def test_what_was_never_sent_is_noticed(line: bytes) -> None:
    assert found([*served(sent()), line]) == counts(stored=SENT + 1, changed=1)


def test_a_changed_timestamp_is_an_event_that_was_never_sent() -> None:
    lines = sent()
    event = json.loads(lines[7])
    lines[7] = json.dumps(event | {"timestamp": event["timestamp"] + 0.5}).encode()
    assert found(served(lines)) == counts(lost=1, changed=1)


def test_a_disordered_event_is_noticed() -> None:
    lines = sent()
    lines[10], lines[11] = lines[11], lines[10]
    assert found(served(lines)) == counts(disordered=1)


def test_what_was_not_acked_may_be_there_or_not() -> None:
    lines = sent()
    assert found(served(lines), ((100, 200), (590, SENT))) == counts()
    assert found(served(lines[:100] + lines[150:590]), ((100, 200), (590, SENT))) == counts(stored=540)


def test_what_was_not_acked_may_not_be_there_twice_or_changed() -> None:
    lines = sent()
    lines[150] = lines[150].replace(b'"type":', b'"typ":')
    lines.insert(120, lines[120])
    assert found(served(lines), ((100, 200),)) == counts(stored=SENT + 1, doubled=1, changed=1)


def test_the_first_problems_are_told() -> None:
    findings = compare(served(sent()[1:]), Claim(NUMBER, SENT, ()), RECORDING, EVENTS)
    assert findings.problems == [f"recording {RECORDING}: 1 events are lost, the first is event 0"]


# The whole command

Tamper = Callable[[list[bytes]], list[bytes]]

TAMPERS: dict[str, tuple[Tamper, str]] = {
    "nothing": (lambda lines: lines, "0 lost, 0 doubled, 0 changed, 0 disordered"),
    "loses": (lambda lines: lines[:3] + lines[4:], "1 lost, 0 doubled, 0 changed, 0 disordered"),
    "doubles": (lambda lines: lines[:3] + lines[2:], "0 lost, 1 doubled, 0 changed, 0 disordered"),
    "changes": (
        lambda lines: [*lines[:3], lines[3].replace(b'"type":', b'"typ":'), *lines[4:]],
        "0 lost, 0 doubled, 1 changed, 0 disordered",
    ),
    "disorders": (
        lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]],
        "0 lost, 0 doubled, 0 changed, 1 disordered",
    ),
}


@contextlib.asynccontextmanager
async def lying_server(tamper: Tamper, *, status: int = 200, stall_s: float = 0.0) -> AsyncIterator[str]:
    """Serve the API below a path, ack everything (or answer ``status``), and tamper with one recording.

    The first body of each recording is answered after ``stall_s``.
    """
    stored: dict[str, list[bytes]] = defaultdict(list)
    tampered: list[str] = []

    async def post(request: web.Request) -> web.Response:
        lines = (await request.read()).splitlines()
        if lines and status != 200:
            return web.json_response({"error": {"code": "no"}}, status=status)
        if lines and request.match_info["id"] not in stored:
            await asyncio.sleep(stall_s)
        stored[request.match_info["id"]] += lines
        return web.json_response({"successful_rows": len(lines)})

    async def get(request: web.Request) -> web.Response:
        recording_id = request.match_info["id"]
        if not stored.get(recording_id):
            return web.json_response({}, status=404)
        lines = served(stored[recording_id], recording_id)
        if not tampered or recording_id in tampered:
            tampered.append(recording_id)
            lines = tamper(lines)
        return web.Response(body=b"\n".join(lines) + b"\n")

    app = web.Application()
    app.router.add_post("/below/recordings/{id}/ingest", post)
    app.router.add_get("/below/recordings/{id}/events", get)
    async with TestServer(app, access_log=None) as server:
        yield str(server.make_url("/below/"))


def command(url: str, *more: str) -> list[str]:
    small = ["--recordings", "2", "--rate", "100", "--for", "0.1", "--batch", "5", "--processes", "1"]
    return ["--url", url, "--key", "the-key", "--post", *small, *more]


@pytest.mark.parametrize("name", TAMPERS)
async def test_the_command_finds_what_a_server_does(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    tamper, words = TAMPERS[name]
    async with lying_server(tamper) as url:
        status = await asyncio.to_thread(main, command(url))
    printed = capsys.readouterr().out
    assert status == (0 if name == "nothing" else 1), printed
    assert words in printed
    assert "20 sent, 20 acked" in printed


async def test_without_verification_nothing_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    async with lying_server(TAMPERS["loses"][0]) as url:
        assert await asyncio.to_thread(main, command(url, "--no-verify")) == 0
    assert "nothing was read back" in capsys.readouterr().out


async def test_a_server_that_refuses_is_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    async with lying_server(TAMPERS["nothing"][0], status=503) as url:
        assert await asyncio.to_thread(main, command(url)) == 1
    assert "20 sent, 0 acked, 20 refused" in capsys.readouterr().out


async def test_a_stall_counts_for_every_event_that_it_delays() -> None:
    plan = Plan(recordings=1, rate=100, for_s=0.1, is_post=True, processes=1)
    async with lying_server(TAMPERS["nothing"][0], stall_s=1.0) as url:
        outcome = await asyncio.to_thread(run, Target(url, "k"), plan)
    assert outcome.is_good
    # The last one was due 0.1 s after the first, and was sent when that had its answer.
    assert outcome.latencies.ms(1) >= 890
    assert outcome.late_s < 0.8, "it was the server that was late"
