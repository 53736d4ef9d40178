"""Row 9: how fast is a recording read, beside nginx sending the same bytes as a file?

One recording of 100 MB, real events, is read over one keep-alive connection by a client that drops what it
gets:

- as JSON, in a replayer's order with ids put in: what ``GET /events`` answers by default;
- stored as it is: the lines as they were sent, zstd as it lies on disk, for who takes recordings elsewhere;
- as NDJSON compressed on the way, which is stated, and compared with nothing.

Each once while the recording is in segments, just as it arrived, and once from the object that the roll-up
made of it: two daemons, each with its own copy. nginx sends the very bodies that rrd answered, with
``sendfile``. All of them lie in the page cache. What is sent is what is counted: MB of the body, compressed
or not.
"""

from __future__ import annotations

import contextlib
import http.client
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec
import zstandard

from bench import stage
from bench.corpus import long_recording
from bench.daemon import Daemon, daemon
from bench.fetch import Answer, fetch, read, request
from bench.floors.nginx import FILES, Nginx, find, nginx
from bench.result import Check, Options, Rate, Row, rate
from bench.rows import run_alone
from bench.stage import Lane, Turn, Worker, client_core, server_core
from rrd import layout

TITLE = "reading a long recording"
MB = 1e6

_POST_TIMEOUT_S = 120.0
_ROLL_UP_TIMEOUT_S = 180.0
_ALONE_SHARE = 0.8
"""What server and load run together when they are alone; the rest is the kernel's, and waking up."""

_SEGMENTS = {"RRD_SEAL_IDLE_S": "3600", "RRD_ROLLUP_DELAY_S": "3600"}
_OBJECT = {"RRD_SEAL_IDLE_S": "1", "RRD_ROLLUP_DELAY_S": "0"}
_PLACES = {"from segments": _SEGMENTS, "from an object": _OBJECT}
"""Where the recording lies → settings that bring it there, or leave it."""


class Form(NamedTuple):
    """How the events are asked for."""

    name: str
    query: str
    media_type: str
    encoding: str
    """Content coding, or ``identity``."""
    times: int
    """Requests a round: a small body is sent in milliseconds."""
    bar: float | None
    """Of nginx's rate; None where there is no comparison."""


JSON = Form("JSON", "", "application/json", "identity", 2, 0.25)
STORED = Form("stored as it is", "?form=stored", "application/x-ndjson", "zstd", 20, 0.50)
PACKED = Form("zstd NDJSON", "", "application/x-ndjson", "zstd", 1, None)
FORMS = (JSON, STORED, PACKED)


class Subject(NamedTuple):
    """One body, which rrd sends, and nginx for comparison."""

    name: str
    form: Form
    target: Daemon
    asked: bytes
    body_bytes: int
    file: str
    """Its name below nginx's ``FILES``."""

    @property
    def theirs(self) -> str:
        """What nginx's lane is called."""
        return f"nginx, {self.name}"


class _Event(msgspec.Struct):
    timestamp: float
    sequence_id: int = msgspec.field(name="sequenceId")
    recording_id: str = msgspec.field(name="recordingId")


def measure(options: Options) -> Row:
    """Measure row 9. Takes a minute at full scale, most of it for the two daemons to get their recording."""
    if find() is None:
        return Row(
            9,
            TITLE,
            [],
            notes=["nginx is missing (Debian: nginx-light), so there is nothing to compare with."],
        )
    lines = long_recording(options.pick(100_000_000, 20_000_000, 1_000_000))
    recording_id = str(uuid.uuid4())
    with contextlib.ExitStack() as stack:
        files = stack.enter_context(nginx())
        subjects: list[Subject] = []
        for place, settings in _PLACES.items():
            target = stack.enter_context(_holder(recording_id, lines, settings))
            subjects += [
                _subject(f"{form.name}, {place}", form, target, recording_id, lines, files) for form in FORMS
            ]
        client = stack.enter_context(stage.worker(client_core()))
        return _compare(options, subjects, files, client, lines)


# The scene


@contextlib.contextmanager
def _holder(recording_id: str, lines: list[bytes], settings: dict[str, str]) -> Iterator[Daemon]:
    """A daemon that has the recording: in segments, or if ``settings`` say so in an object."""
    with (
        tempfile.TemporaryDirectory(prefix="rrd-bench-") as data_dir,
        daemon(settings, core=server_core(), data_dir=data_dir) as target,
    ):
        _post(target, recording_id, lines)
        if settings is _OBJECT:
            wait_for_object(data_dir)
        yield target


def _post(target: Daemon, recording_id: str, lines: list[bytes]) -> None:
    """Send the recording, in one body, since a line that comes again in another is a repeat."""
    connection = http.client.HTTPConnection(target.host, target.port, timeout=_POST_TIMEOUT_S)
    headers = {"Authorization": f"Bearer {target.key}", "Content-Type": "application/x-ndjson"}
    with contextlib.closing(connection):
        connection.request("POST", f"/recordings/{recording_id}/ingest", b"\n".join(lines), headers)
        answer = connection.getresponse()
        body = answer.read()
    if answer.status != 200 or msgspec.json.decode(body).get("successful_rows") != len(lines):
        raise RuntimeError(f"{len(lines)} events were sent, and the answer was {answer.status}: {body!r}")


def wait_for_object(data_dir: str) -> None:
    """Wait until all that is in a data directory is in objects. Raises ``RuntimeError``."""
    deadline = time.monotonic() + _ROLL_UP_TIMEOUT_S
    roots = (layout.active_dir(data_dir), layout.sealed_root(data_dir), f"{data_dir}/objects")
    while time.monotonic() < deadline:
        active, sealed, objects = (len(list(Path(root).rglob(f"*{layout.SUFFIX}"))) for root in roots)
        if objects and not active and not sealed:
            return
        time.sleep(0.1)
    raise RuntimeError(f"not rolled up: {active} active and {sealed} sealed segments, {objects} objects")


def _subject(
    name: str, form: Form, target: Daemon, recording_id: str, lines: list[bytes], files: Nginx
) -> Subject:
    """Fetch a body and give it to nginx. Raises ``RuntimeError`` if it doesn't hold the recording."""
    headers = {
        "Authorization": f"Bearer {target.key}",
        "Accept": form.media_type,
        "Accept-Encoding": form.encoding,
    }
    asked = request(f"/recordings/{recording_id}/events{form.query}", headers)
    answer, body = fetch(target.port, asked)
    if not _is_whole(form, answer, body, recording_id, lines):
        raise RuntimeError(f"{name} is not the recording that was sent: {answer}")
    file = f"{name.replace(' ', '-').replace(',', '')}.body"
    (files.files / file).write_bytes(body)
    return Subject(name, form, target, asked, len(body), file)


def _is_whole(form: Form, answer: Answer, body: bytes, recording_id: str, lines: list[bytes]) -> bool:
    """Tell whether an answer has the form that was asked for, and every event that was sent, in order."""
    encoding = answer.headers.get("content-encoding", "identity")
    media_type = answer.headers.get("content-type", "").partition(";")[0]
    if (answer.status, media_type, encoding) != (200, form.media_type, form.encoding):
        return False
    if encoding == "zstd":
        body = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True).decompress(body)
    if form is STORED:
        return body == b"".join(line + b"\n" for line in lines)
    events = (
        msgspec.json.decode(body, type=list[_Event])
        if form is JSON
        else msgspec.json.Decoder(_Event).decode_lines(body)
    )
    sent = msgspec.json.Decoder(_Sent).decode_lines(b"\n".join(lines))
    expected = [(event.timestamp, number, recording_id) for number, event in enumerate(sent, 1)]
    return [(event.timestamp, event.sequence_id, event.recording_id) for event in events] == expected


class _Sent(msgspec.Struct):
    timestamp: float


# The comparison


def _compare(
    options: Options,
    subjects: list[Subject],
    files: Nginx,
    client: Worker,
    lines: list[bytes],
) -> Row:
    rounds = options.pick(9, 2, 1)
    waits: dict[str, list[float]] = {}
    lanes = []
    for subject in subjects:
        assert subject.target.pid is not None
        sides = [(subject.name, subject.target.port, subject.target.pid, subject.asked)]
        if subject.form.bar is not None:
            sides.append((subject.theirs, files.port, files.pid, request(f"{FILES}/{subject.file}", {})))
        for name, port, pid, asked in sides:
            waits[name] = []
            lanes.append(_lane(name, port, pid, asked, subject, client, waits[name]))
    laps = stage.in_turn(lanes, rounds=rounds, warm_up=options.scale != "smoke")
    checks: list[Check] = []
    for subject in subjects:
        if subject.form.bar is not None:
            what = f"of nginx sending the same bytes: {subject.name}"
            checks += stage.compare(laps, subject.name, subject.theirs, what, bar=subject.form.bar)
    checks += [_first_byte(name, found) for name, found in waits.items()]
    raw = sum(len(line) + 1 for line in lines) / MB
    return Row(
        9,
        TITLE,
        checks,
        rates=[*stage.rates(laps, "MB"), *_event_rates(subjects, laps, raw)],
        notes=[_note(subjects, raw, len(lines)), *_crowd(laps), *stage.notes(laps)],
    )


def _first_byte(name: str, waits_s: list[float]) -> Check:
    """Sum up all requests of a lane, those of the warm-up too: the most is that of a first read."""
    ms = [1000 * wait for wait in waits_s]
    return Check(f"until the first byte: {name}", median(ms), "ms", None, "at most", min(ms), max(ms))


def _lane(
    name: str, port: int, pid: int, asked: bytes, subject: Subject, client: Worker, waits_s: list[float]
) -> Lane:
    body_bytes, times = subject.body_bytes, subject.form.times

    def go() -> Turn:
        reading = client.call(read, port, asked, body_bytes=body_bytes, times=times)
        waits_s.extend(reading.first_byte_s)
        return Turn(reading.wall_s, reading.client_s)

    return Lane(name, pid, times * body_bytes / MB, go)


def _event_rates(subjects: list[Subject], laps: dict[str, stage.Lap], raw: float) -> list[Rate]:
    """Return what compressed bodies are worth: MB of the events in them."""
    return [
        rate(
            f"events in {subject.name}",
            "MB/s",
            [value * raw * MB / subject.body_bytes for value in laps[subject.name].wall],
        )
        for subject in subjects
        if subject.form.encoding != "identity"
    ]


def _note(subjects: list[Subject], raw: float, count: int) -> str:
    sizes = ", ".join(f"{subject.name} {subject.body_bytes / MB:.2f}" for subject in subjects)
    return f"{count:,} events, {raw:.1f} MB as they were sent; MB of the bodies: {sizes}."


def _crowd(laps: dict[str, stage.Lap]) -> list[str]:
    """Say so if others had the cores: one side waits for the other, but never both at once."""
    shares = {
        name: min(
            wall / busy + client for wall, busy, client in zip(lap.wall, lap.busy, lap.client, strict=True)
        )
        for name, lap in laps.items()
    }
    name, share = min(shares.items(), key=lambda pair: pair[1])
    if share >= _ALONE_SHARE:
        return []
    return [
        f"Server and load together ran for as little as {share:.0%} of the time ({name}): others had the "
        "cores, so go by processor time."
    ]


if __name__ == "__main__":
    run_alone(measure)
