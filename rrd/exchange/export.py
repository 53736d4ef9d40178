"""Recordings → files: which ones, and in which form.

==========  ======================================================================================
``ndjson``  one stream of lines. With several recordings their ids are added, or nobody could tell
            them apart
``json``    an array of events, or an object of such arrays by recording id. White space around an
            event, such as a carriage return, can't be told from the array's when it is read again
``html``    a page that replays one recording (``page``)
``dir``     ``{tenant}/{recordingId}.ndjson.zst`` and beside it ``….meta.json``, for each recording
==========  ======================================================================================

A daemon may run on the data directory: what was acked before a recording's turn came is in, what comes later
is not. A recording that can't be read whole is told, with what is missing, and the others go on. With
``salvage`` every intact event of it is exported, and what is missing is told all the same.

Quarantined lines are not events and don't come along (``rrd quarantine show``); metadata does in the ``dir``
form alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from rrd.assets.files import load_assets
from rrd.config import Config
from rrd.disk.disk import OsDisk
from rrd.errors import BadRequest, CorruptSegment, NotFound, RrdError
from rrd.exchange.lines import read_lines
from rrd.exchange.page import check_page_size, export_page
from rrd.exchange.sidecar import MetadataValue, metadata_of
from rrd.exchange.targets import ExportStopped, Target
from rrd.index.contract import Index
from rrd.index.rows import RecordingRow
from rrd.objects.choose import open_store
from rrd.objects.files import Directly, ObjectFiles
from rrd.playback.salvage import plan_salvage
from rrd.playback.table import Between, PlaybackTable, plan
from rrd.progress import Progress
from rrd.readonly import open_index
from rrd.shelf.holdings import Holdings

_PAGE = 500


@dataclass(frozen=True)
class Selection:
    """Which recordings: those of ``recordings``, or all that have every pair of ``filters`` (none: all)."""

    recordings: tuple[str, ...] = ()
    filters: tuple[tuple[str, str], ...] = ()
    tenant: str | None = None

    @property
    def is_one(self) -> bool:
        return len(self.recordings) == 1


@dataclass
class ExportOutcome:
    exported: int = 0
    skipped: int = 0
    """There already, and whole."""
    failed: int = 0
    incomplete: int = 0
    """Exported as far as they are intact."""


async def run_export(
    config: Config,
    wanted: Selection,
    target: Target,
    progress: Progress,
    *,
    ids: bool,
    between: Between,
    salvage: bool = False,
) -> ExportOutcome:
    """Put all that is wanted into ``target``, and close it. Raises ``RrdError``, ``OSError``.

    ``salvage``: of a damaged recording put what is intact, rather than nothing.

    Cancelled or failed, it leaves nothing unfinished behind, but for what a pipe has taken.
    """
    outcome = ExportOutcome()
    try:
        async with _opened(config) as library:
            async for tenant, recording_id in library.find(wanted, one_tenant=target.is_stream):
                try:
                    found = await library.take(
                        tenant, recording_id, ids=ids, between=between, salvage=salvage
                    )
                    if found is None:
                        continue
                    if target.has(found):
                        outcome.skipped += 1
                        continue
                    progress.begin(recording_id, total=found.raw_bytes)
                    await _in_a_thread(target, found)
                    outcome.exported += 1
                    if found.missing_events:
                        outcome.incomplete += 1
                        progress.tell(f"rrd: {tenant}/{recording_id}: {found.summary}.")
                except RrdError as error:
                    outcome.failed += 1
                    more = await library.explain(tenant, recording_id, error)
                    progress.tell(f"rrd: {tenant}/{recording_id}: {error}{more}")
        target.close(whole=not outcome.failed)
    finally:
        target.discard()
    return outcome


async def _in_a_thread(target: Target, found: _Recorded) -> None:
    """Put one recording. The thread is waited for when this is cancelled, since it writes to the target."""
    putting = asyncio.ensure_future(asyncio.to_thread(target.put, found))
    try:
        await asyncio.shield(putting)
    except asyncio.CancelledError:
        target.stop()
        with contextlib.suppress(ExportStopped, RrdError, OSError):
            await putting
        raise


class _Library:
    """All recordings of a data directory, readable."""

    def __init__(self, config: Config, index: Index, files: ObjectFiles) -> None:
        self._config = config
        self._index = index
        self._files = files
        self._disk = OsDisk()

    async def find(self, wanted: Selection, *, one_tenant: bool) -> AsyncIterator[tuple[str, str]]:
        """Yield tenant and id of what is wanted. Raises ``NotFound``; ``BadRequest`` for several tenants."""
        known = [row.name for row in await self._index.tenants()]
        tenants = [name for name in known if wanted.tenant in {None, name}]
        if wanted.recordings:
            for recording_id in wanted.recordings:
                yield await self._tenant_of(recording_id, tenants), recording_id
            return
        if one_tenant and len(tenants) > 1:
            raise BadRequest(
                f"there are recordings of {len(tenants)} tenants, and ids may be the same in two of them: "
                "choose one with --tenant, or use --format dir"
            )
        for tenant in tenants:
            walk = self._matching(tenant, wanted.filters) if wanted.filters else self._all(tenant)
            async for recording_id in walk:
                yield tenant, recording_id

    async def _tenant_of(self, recording_id: str, tenants: list[str]) -> str:
        having = [name for name in tenants if await self._index.recording(name, recording_id) is not None]
        if not having:
            raise NotFound(
                f"there is no recording {recording_id}. `rrd doctor {recording_id}` tells if there was one"
            )
        if len(having) > 1:
            raise BadRequest(
                f"{recording_id} exists in tenants {', '.join(having)}. Choose one with --tenant"
            )
        return having[0]

    async def _all(self, tenant: str) -> AsyncIterator[str]:
        after = 0
        while page := await self._index.oldest(tenant=tenant, after_row_id=after, limit=_PAGE):
            for row in page:
                yield row.recording_id
            after = page[-1].row_id

    async def _matching(self, tenant: str, filters: tuple[tuple[str, str], ...]) -> AsyncIterator[str]:
        # New ones come at the front of this list while it is paged through, so some may be met again.
        seen: set[str] = set()
        offset = 0
        while page := await self._index.list_recordings(tenant, filters=filters, limit=_PAGE, offset=offset):
            for row in page:
                if row.recording_id not in seen:
                    seen.add(row.recording_id)
                    yield row.recording_id
            offset += len(page)

    async def take(
        self, tenant: str, recording_id: str, *, ids: bool, between: Between, salvage: bool
    ) -> _Recorded | None:
        """Return a recording, ready to be read; None if there is nothing to be shown of it."""
        row = await self._index.recording(tenant, recording_id)
        if row is None or not row.visible:
            return None
        metadata = metadata_of(await self._index.metadata(tenant, recording_id))
        return _Recorded(
            self._config, self._disk, self._files, row, metadata, ids=ids, between=between, salvage=salvage
        )

    async def explain(self, tenant: str, recording_id: str, error: RrdError) -> str:
        """Say what is missing of a recording that is damaged, and what to do; nothing for other errors."""
        row = await self._index.recording(tenant, recording_id)
        if row is None or not isinstance(error, CorruptSegment):
            return ""
        found = await asyncio.to_thread(
            plan_salvage, self._disk, Directly(self._files), self._config.data_dir, row
        )
        return (
            f". {found.summary}. Next: `rrd export --salvage` gives what is intact,"
            f" `rrd doctor {recording_id}`"
            " tells what is damaged"
        )


class _Recorded:
    """One recording, as the index knew it when its turn came."""

    def __init__(
        self,
        config: Config,
        disk: OsDisk,
        files: ObjectFiles,
        row: RecordingRow,
        metadata: list[MetadataValue],
        *,
        ids: bool,
        between: Between,
        salvage: bool,
    ) -> None:
        self._salvage = salvage
        self._config = config
        self._disk = disk
        self._files = files
        self._row = row
        self._ids = ids
        self.tenant = row.tenant
        self.recording_id = row.recording_id
        self.created_ms = row.created_ms
        self.stored_events = row.next_seq - 1
        self.raw_bytes = row.extent.raw_size
        self.between = between
        self.metadata = metadata
        self.missing_events = 0
        """Known once its lines are read."""
        self.summary = ""

    def lines(self) -> Iterator[list[bytes]]:
        """Yield its lines. Blocking. Raises ``RrdError`` where it can't be read any further."""
        try:
            table = self._table()
            yield from read_lines(table, ids=self._ids, bytes_max=self._config.read_bytes_max // 4)
        except OSError as error:
            raise self._unreadable(error) from error

    def page(self) -> Iterator[bytes]:
        """Yield a page that replays it. Blocking. Raises as ``lines``; ``BadRequest`` if it is too long."""
        try:
            table, bytes_max = self._table(), self._config.read_bytes_max // 4
            check_page_size(table, bytes_max=bytes_max, limit=self._config.html_export_bytes_max)
            yield from export_page(
                table, load_assets(), bytes_max=bytes_max, missing_events=self.missing_events
            )
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> CorruptSegment:
        # An error of the disk that it is read from; what is written to has errors of its own.
        return CorruptSegment(
            f"can't be read: {error.strerror}", path=error.filename or self.recording_id, offset=0
        )

    def _table(self) -> PlaybackTable:
        data_dir = self._config.data_dir
        if not self._salvage:
            return plan(self._disk, self._files, data_dir, Holdings.of(self._row), between=self.between)
        found = plan_salvage(self._disk, Directly(self._files), data_dir, self._row, between=self.between)
        self.missing_events, self.summary = found.missing_events, found.summary
        return found.table


@contextlib.asynccontextmanager
async def _opened(config: Config) -> AsyncIterator[_Library]:
    async with contextlib.AsyncExitStack() as stack:
        index = await stack.enter_async_context(open_index(config.data_dir))
        store = await stack.enter_async_context(open_store(config, OsDisk()))
        files = ObjectFiles(
            store,
            asyncio.get_running_loop(),
            cache_bytes_max=config.object_cache_bytes_max,
            deadline_s=config.s3_timeout_s,
        )
        stack.callback(files.close)
        yield _Library(config, index, files)
