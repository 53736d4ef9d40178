"""The import as a whole: which files, whose events they are, and what became of them.

An import is a sender like any other: it writes to a daemon that runs, over HTTP, and whatever the daemon
promises to senders holds for it. So to import a file again stores nothing again, wherever the first time
ended: each recording's events go under the same id and in the same bodies each time.

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
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, TypeVar

from rrd import layout
from rrd.access.keys import KeyStore
from rrd.access.temporary import temporary_key
from rrd.config import Config
from rrd.errors import BadRequest, TooLarge, WireError
from rrd.exchange.archives import Kind, kind_of_archive, unpacked
from rrd.exchange.files import STDIN, InputFile, is_visible, is_wanted, opened, size_of
from rrd.exchange.origins import metadata_line, named_id
from rrd.exchange.posting import (
    BODY_BYTES_MAX,
    Answer,
    Daemon,
    PostFailed,
    connected,
    send_frames,
    url_of,
)
from rrd.exchange.reading import CHUNK_BYTES, EventGroup, Ids, Input, file_limits_of, read_pieces
from rrd.exchange.sidecar import Sidecar, exported_recording, metadata_events, read_sidecar
from rrd.exchange.spool import BATCH_BYTES, BodySpool, Bundle, bodies
from rrd.ids import check_recording_id, is_tenant, parse_recording_id
from rrd.progress import Progress

ARCHIVE_LEVELS_MAX = 4
"""An archive may be made so that it holds itself."""

REFUSED_TOLD_MAX = 20
"""Refused lines of a file that are told one by one; then only how many."""


@dataclass(frozen=True)
class Choice:
    """What the caller chose. ``url`` and ``key`` go together; without them the settings tell the daemon."""

    tenant: str | None = None
    recording_id: str | None = None
    ids: Ids = "auto"
    url: str = ""
    key: str = ""
    batch_bytes: int = BATCH_BYTES
    """Events that are checked and compressed together."""


@dataclass
class ImportOutcome:
    """What became of everything."""

    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    """By tenant and recording."""
    refused: int = 0
    """Lines that are no events, and were not sent."""
    failed: int = 0
    """Files, or recordings of one, that did not go in whole."""

    def add(self, tenant: str, recording_id: str, answer: Answer) -> None:
        known = self.answers.get((tenant, recording_id), Answer())
        self.answers[tenant, recording_id] = Answer(*map(sum, zip(known, answer, strict=True)))


async def run_import(
    config: Config, files: Sequence[InputFile], choice: Choice, progress: Progress
) -> ImportOutcome:
    """Import files one after another. What goes wrong with one is told, and the next one is begun.

    Raises ``RrdError`` for what concerns all of them: no daemon answers, no good key, no tenant named.
    Cancelled, everything that was acked so far stays.
    """
    async with (
        connected(choice.url or url_of(config.host, config.port)) as daemon,
        contextlib.AsyncExitStack() as stack,
    ):
        intake = _Intake(config, choice, daemon, stack, progress)
        await intake.admit(files)
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
        self._limits = file_limits_of(config, batch_bytes=choice.batch_bytes)
        self._choice = choice
        self._daemon = daemon
        self._stack = stack
        self._progress = progress
        self._keys: dict[str, str] = {}
        self._body_bytes_max = min(BODY_BYTES_MAX, config.body_bytes_max // 2)
        self.outcome = ImportOutcome()

    async def admit(self, files: Sequence[InputFile]) -> None:
        """Make sure before anything is sent that the daemon takes events for every tenant that is named."""
        tenants = {file.sidecar.tenant for file in files if file.sidecar is not None}
        if self._choice.key and len(tenants) > 1:
            raise BadRequest(
                f"these are exports of {len(tenants)} tenants ({', '.join(sorted(tenants))}), and a key "
                "writes to one: import one tenant's directory at a time, each with its key"
            )
        for tenant in dict.fromkeys(self._tenant_of(file) for file in files):
            await self._key(tenant)

    def _tenant_of(self, file: InputFile) -> str:
        if self._choice.key:
            return ""  # The key knows it.
        told = file.sidecar.tenant if file.sidecar is not None else None
        return self._choice.tenant or told or self._only_tenant()

    async def take(self, file: InputFile) -> None:
        """Import one file, or all that is in an archive."""
        kind: Kind | None = None
        try:
            kind = kind_of_archive(file.path) if file.path != STDIN and file.sidecar is None else None
            if kind is None:
                await self._take_file(file)
            else:
                await self._take_archive(file, kind)
        except WireError as error:
            self._fail(f"{file.told}: {error}")
        except PostFailed as error:
            if error.concerns_all and kind is not None:
                raise  # It was told of a file inside.
            if error.concerns_all:
                raise PostFailed(
                    f"{file.told}: {error}. What went in stays; do the same again later to send the rest",
                    answered=error.answered,
                ) from error
            self._fail(f"{file.told}: {error}")
        except OSError as error:
            place = f" ({error.filename})" if error.filename not in {None, file.path} else ""
            self._fail(f"{file.told}: {error.strerror}{place}. Temporary files go to TMPDIR")

    async def _take_archive(self, file: InputFile, kind: Kind) -> None:
        if file.level >= ARCHIVE_LEVELS_MAX:
            raise TooLarge(
                f"more than {ARCHIVE_LEVELS_MAX} archives inside one another: unpack the outer ones"
            )
        # Where no name says that it is one of events, what is in the files does.
        if not (
            await self._take_members(file, kind, is_wanted)
            or await self._take_members(file, kind, is_visible)
        ):
            self._fail(f"{file.told}: a {kind} archive in which there is no file")

    async def _take_members(self, file: InputFile, kind: Kind, wanted: Callable[[str], bool]) -> bool:
        """Import the members of an archive whose names are wanted; tell whether there are any."""
        is_any = False
        archive = unpacked(file.path, kind, wanted=wanted)
        try:
            async for member in _in_a_thread(archive):
                is_any = True
                told = f"{file.in_archive or os.path.basename(file.path)}/{member.name}"
                if member.damage:
                    self._fail(f"{told}: {member.damage}")
                await self.take(InputFile(member.path, read_sidecar(member.path), told, file.level + 1))
        finally:
            await asyncio.to_thread(archive.close)
        return is_any

    async def _take_file(self, file: InputFile) -> None:
        tenant = self._tenant_of(file)
        key = await self._key(tenant)
        self._progress.begin(file.told, total=size_of(file))
        if file.sidecar is not None and file.sidecar.raw_bytes <= self._body_bytes_max:
            await self._take_exported(file.path, file.sidecar, tenant, key)
        else:
            await self._take_any(file, tenant, key)

    async def _take_exported(self, path: str, sidecar: Sidecar, tenant: str, key: str) -> None:
        """Send a file of our own export as it is."""
        recording_id = self._choice.recording_id or sidecar.recording_id
        await self._send_metadata(sidecar, tenant, recording_id, key)
        if not sidecar.events:
            return

        async def chunks() -> AsyncGenerator[bytes, None]:
            with opened(path) as reader:
                for chunk in self._chunks(reader):
                    yield chunk

        answer = await self._daemon.send(recording_id, key, chunks, encoding="zstd")
        self.outcome.add(tenant, recording_id, answer)
        if answer.stored + answer.repeated < sidecar.events:
            self._fail(
                f"{path}: {sidecar.events} events should be in it, the daemon found "
                f"{answer.stored + answer.repeated}, and {answer.quarantined} lines that are none"
            )

    async def _send_metadata(self, sidecar: Sidecar, tenant: str, recording_id: str, key: str) -> None:
        lines = list(metadata_events(sidecar))
        if not lines:
            return

        async def chunks() -> AsyncGenerator[bytes, None]:
            for line in lines:
                yield line

        answer = await self._daemon.send(recording_id, key, chunks)
        self.outcome.add(tenant, recording_id, Answer())
        if answer.quarantined:
            self._fail(f"{recording_id}: its metadata was not taken: more keys than a recording may have")

    async def _take_any(self, file: InputFile, tenant: str, key: str) -> None:
        """Read a file's events, and send them: a body for each recording that stands in it."""
        sidecar = file.sidecar
        exported = sidecar.recording_id if sidecar is not None else exported_recording(file.path)
        named = exported or named_id(file.stem, self._parse_id)
        source = Input(
            name=file.path,
            parse_id=self._parse_id,
            recording_id=self._choice.recording_id or exported,
            named=named,
            ids="keep" if exported else self._choice.ids,
        )
        if sidecar is not None:
            await self._send_metadata(sidecar, tenant, source.recording_id or sidecar.recording_id, key)
        failure: WireError | None = None
        with BodySpool(batch_bytes=self._choice.batch_bytes) as spool:
            try:
                await self._read(file, source, spool)
            except WireError as error:
                failure = error  # What came before it is good.
            for bundle in await asyncio.to_thread(spool.bundles, self._parse_id, session=named):
                if bundle.is_made:
                    self._progress.tell(
                        f"{file.told}: nothing says whose its events are; they go to {bundle.recording_id}, "
                        "an id made of them"
                    )
                await self._send_bundle(file, spool, bundle, tenant, key)
        if failure is not None:
            raise failure

    async def _read(self, file: InputFile, source: Input, spool: BodySpool) -> None:
        refused = 0
        with opened(file.path) as reader:
            pieces = read_pieces(self._chunks(reader), source, self._limits)
            async for piece in _in_a_thread(pieces):
                refused = self._tell_refused(file.told, piece, refused)
                await asyncio.to_thread(spool.add, piece.owner, piece.batch)

    async def _send_bundle(
        self, file: InputFile, spool: BodySpool, bundle: Bundle, tenant: str, key: str
    ) -> None:
        first = b""
        if bundle.metadata:
            at_ms = min((frame.first_ts for frame in bundle.frames if not frame.is_metadata), default=0.0)
            first = metadata_line(dict(bundle.metadata), at_ms)
        for body in bodies(bundle.frames, bytes_max=self._body_bytes_max):
            try:
                answer = await send_frames(self._daemon, bundle.recording_id, key, spool, body, first=first)
            except PostFailed as error:
                if error.concerns_all:
                    raise
                # An erased recording, for instance: the others go on.
                self._fail(f"{file.told}: {bundle.recording_id}: {error}")
                return
            self.outcome.add(tenant, bundle.recording_id, answer)
            first = b""

    def _tell_refused(self, path: str, piece: EventGroup, refused: int) -> int:
        for bad in piece.batch.rejected:
            refused += 1
            self.outcome.refused += 1
            if refused <= REFUSED_TOLD_MAX:
                self._progress.tell(f"rrd: {path}: line {bad.line} is no event: {bad.reason}")
            elif refused == REFUSED_TOLD_MAX + 1:
                self._progress.tell(f"rrd: {path}: more such lines follow; they are counted only")
        return refused

    def _chunks(self, reader: IO[bytes]) -> Iterator[bytes]:
        while chunk := reader.read(min(CHUNK_BYTES, self._choice.batch_bytes)):
            self._progress.add(len(chunk))
            yield chunk

    def _parse_id(self, text: str) -> str | None:
        return parse_recording_id(text, self._config.recording_ids)

    async def _key(self, tenant: str) -> str:
        if tenant not in self._keys:
            if not self._choice.key:
                self._check_tenant(tenant)
            path = layout.keys_path(self._config.data_dir)
            key = self._choice.key or self._stack.enter_context(temporary_key(path, tenant))
            await self._daemon.admit(key, is_new=not self._choice.key)
            self._keys[tenant] = key
        return self._keys[tenant]

    def _check_tenant(self, tenant: str) -> None:
        """Refuse a tenant that the caller names and no key knows: it is more likely misspelt than new."""
        if self._choice.tenant is not None and tenant not in (known := self._tenants()):
            names = ", ".join(sorted(known)) or "none yet"
            raise BadRequest(
                f"there is no tenant {tenant!r} here (known: {names}). To begin one: "
                f"rrd keys create --tenant {tenant} --scope ingest"
            )

    def _tenants(self) -> set[str]:
        """Return the tenants that have a key."""
        with KeyStore(layout.keys_path(self._config.data_dir), create=False) as store:
            return {row.tenant for row in store.list_keys() if row.revoked_ms is None}

    def _only_tenant(self) -> str:
        tenants = self._tenants()
        if len(tenants) != 1:
            raise BadRequest("nothing says whose recordings these are. Use --tenant")
        return tenants.pop()

    def _fail(self, message: str) -> None:
        self.outcome.failed += 1
        self._progress.tell(f"rrd: {message}")


T = TypeVar("T")


async def _in_a_thread(found: Iterator[T]) -> AsyncIterator[T]:
    """Read in a worker thread, so that the connection is looked after meanwhile."""
    while (item := await asyncio.to_thread(next, found, None)) is not None:
        yield item


def check_choice(choice: Choice, config: Config) -> Choice:
    """Return the choice with its recording id in canonical form. Raises ``BadRequest``."""
    if choice.key and choice.tenant is not None:
        raise BadRequest("--tenant and --key don't go together: a key writes to its own tenant")
    if bool(choice.url) != bool(choice.key):
        raise BadRequest("--url and --key go together: a key is good for one daemon")
    if choice.tenant is not None and not is_tenant(choice.tenant):
        raise BadRequest(f"{choice.tenant!r} is no tenant")
    if choice.recording_id is None:
        return choice
    return replace(choice, recording_id=check_recording_id(choice.recording_id, config.recording_ids))
