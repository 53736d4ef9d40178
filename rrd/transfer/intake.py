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
import zipfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO

from rrd import layout
from rrd.access.keys import KeyStore
from rrd.config import Config
from rrd.errors import BadRequest, WireError
from rrd.ids import is_tenant, parse_recording_id
from rrd.transfer.content_ids import ContentIds
from rrd.transfer.documents import Owner, is_intended
from rrd.transfer.files import STDIN, File, opened, size_of, stdin_kept
from rrd.transfer.posting import BODY_BYTES_MAX, Answer, Daemon, PostFailed, Sender, connected, minted_key
from rrd.transfer.progress import Progress
from rrd.transfer.reading import CHUNK_BYTES, Ids, Piece, Source, limits_of, read_pieces
from rrd.transfer.recognise import HEAD_BYTES, description_of, is_empty
from rrd.transfer.sidecar import Sidecar, metadata_events

REFUSED_TOLD_MAX = 20
"""Refused lines of a file that are told one by one; then only how many."""


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


async def run_import(config: Config, files: Sequence[File], choice: Choice, progress: Progress) -> Outcome:
    """Import files one after another. What goes wrong with one is told, and the next one is begun.

    Raises ``RrdError`` for what concerns all of them: nobody answers, the key is no good, no tenant is named.
    Cancelled, everything that was acked so far stays.
    """
    url = choice.url or f"http://{_reachable(config.host)}:{config.port}"
    async with connected(url) as daemon, contextlib.AsyncExitStack() as stack:
        intake = _Intake(config, choice, daemon, stack, progress)
        # A wrong key or tenant must show before the first file is sent, not after half of them.
        for file in files:
            await intake.admit(file)
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
        self.limits = limits_of(config)
        self._told_ids: set[str] = set()
        self.outcome = Outcome()

    async def admit(self, file: File) -> None:
        """Make sure that a file may be sent. Raises ``BadRequest``, ``PostFailed``."""
        await self._key(self._tenant(file))

    def _tenant(self, file: File) -> str:
        return self._choice.tenant or (file.sidecar.tenant if file.sidecar else None) or self._only_tenant()

    async def take(self, file: File) -> None:
        """Import one file."""
        tenant = self._tenant(file)
        key = await self._key(tenant)
        self._progress.begin(file.name if file.path != STDIN else "stdin", total=size_of(file))
        try:
            if file.sidecar is not None and file.sidecar.raw_bytes <= self._body_bytes_max:
                await self._take_exported(file, file.sidecar, tenant, key)
            else:
                await self._take_any(file, tenant, key)
        except WireError as error:
            self._fail(f"{file}: {error}. What came before that went in")
        except PostFailed as error:
            if error.concerns_all:
                raise PostFailed(
                    f"{file}: {error}. What went in stays; do the same again later to send the rest",
                    answered=error.answered,
                ) from error
            self._fail(f"{file}: {error}")
        except (OSError, zipfile.BadZipFile) as error:
            self._fail(f"{file}: {getattr(error, 'strerror', None) or error}")

    async def _take_exported(self, file: File, sidecar: Sidecar, tenant: str, key: str) -> None:
        """Send a file of our own export as it is."""
        recording = self._choice.recording or sidecar.recording
        await self._send_metadata(sidecar, tenant, recording, key)
        if not sidecar.events:
            return
        post = self._daemon.post(recording, key, encoding="zstd")
        try:
            with opened(file, None) as reader:
                for chunk in self.chunks(reader):
                    await post.put(chunk)
            answer = await post.finish()
        finally:
            await post.cancel()
        self.outcome.add(tenant, recording, answer)
        if answer.stored + answer.repeated < sidecar.events:
            self._fail(
                f"{file}: {sidecar.events} events should be in it, the daemon found "
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
        with contextlib.ExitStack() as stack:
            stdin = None
            if file.path == STDIN:
                stdin = await asyncio.to_thread(stack.enter_context, stdin_kept())
            source = self._source(file)
            if sidecar is not None:
                await self._send_metadata(sidecar, tenant, source.recording or sidecar.recording, key)
            sender = Sender(
                self._daemon,
                key,
                bytes_max=self._body_bytes_max,
                done=lambda recording, answer: self.outcome.add(tenant, recording, answer),
                fail=self._fail,
            )
            try:
                await self._send_events(_Reader(self, file, stdin, source), sender)
                await sender.finish()
            except WireError:
                # What came before it is good.
                await sender.finish()
                raise
            finally:
                await sender.cancel()

    def _source(self, file: File) -> Source:
        name = file.name.partition(".")[0]
        return Source(
            name=file.member or file.path,
            parse_id=self._parse_id,
            recording=self._choice.recording or (file.sidecar.recording if file.sidecar else None),
            named=self._parse_id(name) if is_intended(name) else None,
            ids="keep" if file.sidecar else self._choice.ids,
        )

    async def _send_events(self, reader: _Reader, sender: Sender) -> None:
        refused = events = 0
        ids: ContentIds | None = None
        with reader.pieces() as pieces:
            async for piece in _in_a_thread(pieces):
                refused = self._tell_refused(str(reader.file), piece, refused)
                events += piece.batch.event_count + len(piece.batch.metadata)
                owner = Owner(piece.recording, piece.window)
                recording = piece.recording
                if reader.source.recording is None and (recording is None or piece.window is not None):
                    if ids is None:
                        ids = await asyncio.to_thread(reader.survey)
                    recording = ids.id_of(owner)
                    self._tell_id(reader.file, owner, recording)
                await sender.send(recording or "", piece.batch)
        if not events:
            head = await asyncio.to_thread(reader.head)
            if is_empty(head):
                self._progress.tell(f"{reader.file}: no events in it")
            else:
                self._fail(f"{reader.file}: no events in it; {description_of(head)}")

    def _tell_id(self, file: File, owner: Owner, recording: str) -> None:
        if recording == owner.recording or recording in self._told_ids:
            return
        self._told_ids.add(recording)
        which = (
            f"its events of window {owner.window}"
            if owner.window
            else "nothing says whose its events are; they"
        )
        self._progress.tell(f"{file}: {which} go to {recording}, an id made of what they are")

    def _tell_refused(self, path: str, piece: Piece, refused: int) -> int:
        for bad in piece.batch.rejected:
            refused += 1
            self.outcome.refused += 1
            if refused <= REFUSED_TOLD_MAX:
                self._progress.tell(f"rrd: {path}: line {bad.line} is no event: {bad.reason}")
            elif refused == REFUSED_TOLD_MAX + 1:
                self._progress.tell(f"rrd: {path}: more such lines follow; they are counted only")
        return refused

    def chunks(self, reader: IO[bytes]) -> Iterator[bytes]:
        while chunk := reader.read(CHUNK_BYTES):
            self._progress.add(len(chunk))
            yield chunk

    def _parse_id(self, text: str) -> str | None:
        return parse_recording_id(text, self._config.recording_ids)

    async def _key(self, tenant: str) -> str:
        if tenant not in self._keys:
            if not self._choice.key:
                self._check_tenant(tenant)
            key = self._choice.key or self._stack.enter_context(minted_key(self._config.data_dir, tenant))
            await self._daemon.admit(key, is_own=not self._choice.key)
            self._keys[tenant] = key
        return self._keys[tenant]

    def _only_tenant(self) -> str:
        if self._choice.key:
            return ""  # The key knows it.
        tenants = self._tenants()
        if len(tenants) != 1:
            raise BadRequest("nothing says whose recordings these are. Use --tenant")
        return tenants.pop()

    def _check_tenant(self, tenant: str) -> None:
        """Refuse a tenant that the caller names and no key knows: it is more likely misspelt than new."""
        if self._choice.tenant is not None and tenant not in (known := self._tenants()):
            names = ", ".join(sorted(known)) or "none yet"
            raise BadRequest(
                f"there is no tenant {tenant!r} here (known: {names}). To begin one: "
                f"rrd keys create --tenant {tenant} --scope ingest"
            )

    def _tenants(self) -> set[str]:
        with KeyStore(layout.keys_path(self._config.data_dir), create=False) as store:
            return {row.tenant for row in store.list_keys() if row.revoked_ms is None}

    def _fail(self, message: str) -> None:
        self.outcome.failed += 1
        self._progress.tell(f"rrd: {message}")


class _Reader:
    """One file, which can be read from its beginning as often as it takes."""

    def __init__(self, intake: _Intake, file: File, stdin: IO[bytes] | None, source: Source) -> None:
        self.file = file
        self.source = source
        self._intake = intake
        self._stdin = stdin

    @contextlib.contextmanager
    def pieces(self, *, is_told: bool = True) -> Iterator[Iterator[Piece]]:
        """Open the file; give out what it holds. ``is_told``: the progress bar follows."""
        with opened(self.file, self._stdin) as reader:
            chunks = self._intake.chunks(reader) if is_told else iter(lambda: reader.read(CHUNK_BYTES), b"")
            yield read_pieces(chunks, self.source, self._intake.limits)

    def survey(self) -> ContentIds:
        """Read the whole file for the ids of what nothing names. Blocking."""
        if self._stdin is not None:
            at = self._stdin.tell()
        with self.pieces(is_told=False) as pieces:
            ids = ContentIds(_as_far_as_it_goes(pieces))
        if self._stdin is not None:
            self._stdin.seek(at)
        return ids

    def head(self) -> bytes:
        """Return the first bytes of the file, as it lies there. Blocking."""
        with opened(self.file, self._stdin) as reader:
            return reader.read(HEAD_BYTES)


def _as_far_as_it_goes(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Yield pieces up to a place where the file can't be read: the import itself reports that."""
    with contextlib.suppress(WireError):
        yield from pieces


async def _in_a_thread(pieces: Iterator[Piece]) -> AsyncIterator[Piece]:
    """Read in a worker thread, so that what is being sent goes on meanwhile."""
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


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
