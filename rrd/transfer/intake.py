"""The import as a whole: which files, whose events they are, and what became of them.

An import is a sender like any other: it writes to a daemon that runs, over HTTP, and whatever the daemon
promises to senders holds for it. So to import a file again stores nothing again, wherever the first time
ended.

A directory that ``rrd export --format dir`` made says all about its files; these go out as they are, still
compressed. Of any other file each event is looked at here, so that a line that is no event is told with its
number; it is not sent, since a daemon would keep it in quarantine once more each time.

Metadata goes as a ``recording-meta`` event, which a daemon recognises when it comes again, rather than over
``/meta``, which counts a new version each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, NamedTuple

from rrd import layout
from rrd.access.keys import KeyStore
from rrd.config import Config
from rrd.errors import BadRequest, WireError
from rrd.ids import is_tenant, parse_recording_id
from rrd.transfer.posting import BODY_BYTES_MAX, Answer, Daemon, PostFailed, Sender, connected, minted_key
from rrd.transfer.progress import Progress
from rrd.transfer.reading import CHUNK_BYTES, Ids, Piece, Source, limits_of, read_pieces
from rrd.transfer.sidecar import META_SUFFIX, Sidecar, metadata_events, read_sidecar

STDIN = "-"
EVENT_SUFFIXES = (".ndjson", ".jsonl", ".json")
PACKED_SUFFIXES = ("", ".gz", ".zst", ".br")
REFUSED_TOLD_MAX = 20
"""Refused lines of a file that are told one by one; then only how many."""


class File(NamedTuple):
    """One file to import."""

    path: str
    sidecar: Sidecar | None = None
    """What the export said about it."""


@dataclass(frozen=True)
class Choice:
    """What the caller chose. ``url`` and ``key`` go together; without them the settings tell the daemon."""

    tenant: str | None = None
    recording: str | None = None
    ids: Ids = "auto"
    url: str = ""
    key: str = ""


@dataclass
class Outcome:
    """What became of everything."""

    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    """By tenant and recording."""
    refused: int = 0
    """Lines that are no events, and were not sent."""
    failed: int = 0
    """Files, or recordings of one, that did not go in whole."""

    def add(self, tenant: str, recording: str, answer: Answer) -> None:
        known = self.answers.get((tenant, recording), Answer())
        self.answers[tenant, recording] = Answer(*map(sum, zip(known, answer, strict=True)))


def find_files(paths: Sequence[str]) -> Iterator[File]:
    """Yield the files that ``paths`` name, those below directories in order. Raises ``BadRequest``,
    ``OSError``.

    Below a directory only what looks like events counts; a file that is named counts whatever it looks like.
    """
    for path in paths:
        if path == STDIN:
            yield File(path)
        elif os.path.isdir(path):
            yield from _below(path)
        else:
            os.stat(path)
            yield File(path, read_sidecar(path))


def _below(directory: str) -> Iterator[File]:
    for place, directories, names in os.walk(directory):
        directories.sort()
        for name in sorted(names):
            stem = name.lower()
            for suffix in PACKED_SUFFIXES:
                stem = stem.removesuffix(suffix)
            # What an export that was broken off left behind begins with a dot.
            if stem.endswith(EVENT_SUFFIXES) and not name.endswith(META_SUFFIX) and not name.startswith("."):
                path = os.path.join(place, name)
                yield File(path, read_sidecar(path))


async def run_import(config: Config, files: Sequence[File], choice: Choice, progress: Progress) -> Outcome:
    """Import files one after another. What goes wrong with one is told, and the next one is begun.

    Raises ``RrdError`` for what concerns all of them: nobody answers, the key is no good, no tenant is named.
    Cancelled, everything that was acked so far stays.
    """
    url = choice.url or f"http://{_reachable(config.host)}:{config.port}"
    async with connected(url) as daemon, contextlib.AsyncExitStack() as stack:
        intake = _Intake(config, choice, daemon, stack, progress)
        for file in files:
            await intake.take(file)
        return intake.outcome


class _Intake:
    """One import under way."""

    def __init__(
        self,
        config: Config,
        choice: Choice,
        daemon: Daemon,
        stack: contextlib.AsyncExitStack,
        progress: Progress,
    ) -> None:
        self._config = config
        self._choice = choice
        self._daemon = daemon
        self._stack = stack
        self._progress = progress
        self._keys: dict[str, str] = {}
        self._body_bytes_max = min(BODY_BYTES_MAX, config.body_bytes_max // 2)
        self.outcome = Outcome()

    async def take(self, file: File) -> None:
        """Import one file."""
        tenant = self._choice.tenant or (file.sidecar.tenant if file.sidecar else None) or self._only_tenant()
        key = await self._key(tenant)
        told = os.path.basename(file.path) if file.path != STDIN else "stdin"
        self._progress.begin(told, total=_size(file.path))
        try:
            if file.sidecar is not None and file.sidecar.raw_bytes <= self._body_bytes_max:
                await self._take_exported(file.path, file.sidecar, tenant, key)
            else:
                await self._take_any(file, tenant, key)
        except WireError as error:
            self._fail(f"{told}: {error}. What came before that went in")
        except PostFailed as error:
            if error.concerns_all:
                raise PostFailed(
                    f"{told}: {error}. What went in stays; do the same again later to send the rest",
                    answered=error.answered,
                ) from error
            self._fail(f"{told}: {error}")
        except OSError as error:
            self._fail(f"{told}: {error.strerror}")

    async def _take_exported(self, path: str, sidecar: Sidecar, tenant: str, key: str) -> None:
        """Send a file of our own export as it is."""
        recording = self._choice.recording or sidecar.recording
        await self._send_metadata(sidecar, tenant, recording, key)
        if not sidecar.events:
            return
        post = self._daemon.post(recording, key, encoding="zstd")
        try:
            with _opened(path) as reader:
                for chunk in self._chunks(reader):
                    await post.put(chunk)
            answer = await post.finish()
        finally:
            await post.cancel()
        self.outcome.add(tenant, recording, answer)
        if answer.stored + answer.repeated < sidecar.events:
            self._fail(
                f"{path}: {sidecar.events} events should be in it, the daemon found "
                f"{answer.stored + answer.repeated}, and {answer.quarantined} lines that are none"
            )

    async def _send_metadata(self, sidecar: Sidecar, tenant: str, recording: str, key: str) -> None:
        lines = list(metadata_events(sidecar))
        if not lines:
            return
        post = self._daemon.post(recording, key)
        try:
            for line in lines:
                await post.put(line)
            answer = await post.finish()
        finally:
            await post.cancel()
        self.outcome.add(tenant, recording, Answer())
        if answer.quarantined:
            self._fail(f"{recording}: its metadata was not taken: more keys than a recording may have")

    async def _take_any(self, file: File, tenant: str, key: str) -> None:
        """Read a file's events and send them, a body for each recording that stands in it."""
        sidecar = file.sidecar
        source = Source(
            name=file.path,
            parse_id=self._parse_id,
            recording=self._choice.recording or (sidecar.recording if sidecar else None),
            named=self._parse_id(os.path.basename(file.path).partition(".")[0]),
            ids="keep" if sidecar else self._choice.ids,
        )
        if sidecar is not None:
            await self._send_metadata(sidecar, tenant, source.recording or sidecar.recording, key)
        fresh: str | None = None
        refused = 0
        sender = Sender(
            self._daemon,
            key,
            bytes_max=self._body_bytes_max,
            done=lambda recording, answer: self.outcome.add(tenant, recording, answer),
            fail=self._fail,
        )
        try:
            with _opened(file.path) as reader:
                pieces = read_pieces(self._chunks(reader), source, limits_of(self._config))
                async for piece in _in_a_thread(pieces):
                    refused = self._tell_refused(file.path, piece, refused)
                    if piece.recording is None and fresh is None:
                        fresh = str(uuid.uuid4())
                        self._progress.tell(
                            f"{file.path}: nothing says whose its events are; they go to {fresh}"
                        )
                    await sender.send(piece.recording or fresh or "", piece.batch)
            await sender.finish()
        except WireError:
            # What came before it is good.
            await sender.finish()
            raise
        finally:
            await sender.cancel()

    def _tell_refused(self, path: str, piece: Piece, refused: int) -> int:
        for bad in piece.batch.rejected:
            refused += 1
            self.outcome.refused += 1
            if refused <= REFUSED_TOLD_MAX:
                self._progress.tell(f"rrd: {path}: line {bad.line} is no event: {bad.reason}")
            elif refused == REFUSED_TOLD_MAX + 1:
                self._progress.tell(f"rrd: {path}: more such lines follow; they are counted only")
        return refused

    def _chunks(self, reader: IO[bytes]) -> Iterator[bytes]:
        while chunk := reader.read(CHUNK_BYTES):
            self._progress.add(len(chunk))
            yield chunk

    def _parse_id(self, text: str) -> str | None:
        return parse_recording_id(text, self._config.recording_ids)

    async def _key(self, tenant: str) -> str:
        if tenant not in self._keys:
            key = self._choice.key or self._stack.enter_context(minted_key(self._config.data_dir, tenant))
            await self._daemon.admit(key)
            self._keys[tenant] = key
        return self._keys[tenant]

    def _only_tenant(self) -> str:
        if self._choice.key:
            return ""  # The key knows it.
        with KeyStore(layout.keys_path(self._config.data_dir), create=False) as store:
            tenants = {row.tenant for row in store.list_keys() if row.revoked_ms is None}
        if len(tenants) != 1:
            raise BadRequest("nothing says whose recordings these are. Use --tenant")
        return tenants.pop()

    def _fail(self, message: str) -> None:
        self.outcome.failed += 1
        self._progress.tell(f"rrd: {message}")


async def _in_a_thread(pieces: Iterator[Piece]) -> AsyncIterator[Piece]:
    """Read in a worker thread, so that what is being sent goes on meanwhile."""
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


def _size(path: str) -> int:
    return os.path.getsize(path) if path != STDIN else 0


@contextlib.contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    if path == STDIN:
        yield sys.stdin.buffer
        return
    with open(path, "rb") as reader:
        yield reader


def check_choice(choice: Choice, config: Config) -> Choice:
    """Return the choice with its recording id in canonical form. Raises ``BadRequest``."""
    if bool(choice.url) != bool(choice.key):
        raise BadRequest("--url and --key go together: a key is good for one daemon")
    if choice.tenant is not None and not is_tenant(choice.tenant):
        raise BadRequest(f"{choice.tenant!r} is no tenant")
    if choice.recording is None:
        return choice
    recording = parse_recording_id(choice.recording, config.recording_ids)
    if recording is None:
        raise BadRequest(
            f'{choice.recording!r} is not a recording id: a UUID, or more where `recording_ids` is "any"'
        )
    return Choice(choice.tenant, recording, choice.ids, choice.url, choice.key)


def _reachable(host: str) -> str:
    """Return an address to reach a daemon at that listens on ``host``."""
    if host in {"", "0.0.0.0"}:  # noqa: S104 - compared with, not listened on
        return "127.0.0.1"
    host = "::1" if host == "::" else host
    return f"[{host}]" if ":" in host else host
