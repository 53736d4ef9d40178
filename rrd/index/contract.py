"""What rrd asks of an index, whatever keeps it: typed calls on an event loop.

A commit of blocks is not synced: a power cut may take the newest ones away, in order, and recovery reads them
from the segments again. Sealing is synced, since the file is renamed after it, and recovery doesn't look for
lost blocks in sealed segments. So are the steps that a file's end in one place and its beginning in another
depend on: planning and publishing an object, removing a recording. Eviction told twice is harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, Self

from rrd.index import rows

Filters = Sequence[tuple[str, str]]
"""(key, value) of metadata, all of which a recording must have."""

Encode = Callable[[rows.ListedRecording], bytes]


class Contradiction(Exception):
    """An index was told what can't be: a bug of the caller's. Nothing has changed.

    No ``RrdError``: nothing goes on as if it were trouble with a disk.
    """


class Index(Protocol):
    """The index of one data directory. Opened by ``rrd.index.home``, ended by ``close``.

    Calls may overlap: writes take turns, reads see the last finished write. Any call may raise
    ``IndexDamaged`` when what is stored is found damaged, ``DiskFull`` or ``StorageFailed`` when the disk
    does not do what it should (``IndexBusy`` where another process holds it for long).
    """

    next_row_id: int
    """What ``take_row_id`` returns next: at open, 1 + the greatest row id in the index."""

    async def close(self) -> None:
        """Put everything on disk and close it. Wait for calls under way, allow none after."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def take_row_id(self) -> int:
        """Return the number of the next new recording, never the same one twice."""

    # Writing

    async def apply(self, commits: Sequence[rows.Commit]) -> None:
        """Take in a group of synced blocks, in order, in one transaction: all of them or none.

        Not synced. Raises ``Contradiction``, and changes nothing, if a block would not
        make its segment longer (told twice, or stale), belongs to a sealed segment, or claims the
        row id or the name of another recording: only a bug can. Cancelled, it has been applied
        whole or not at all.
        """

    async def try_write(self) -> None:
        """Write what changes nothing, to learn whether that is possible. Not synced."""

    async def seal(self, sealed: Sequence[tuple[int, int]]) -> None:
        """Mark segments, given as (row_id, number), as sealed: all or none, on disk when this returns.

        Everything applied before is on disk then, too. A segment that is sealed already stays so.
        Raises ``Contradiction`` if one is not known.
        """

    async def plan_object(self, row_id: int, first_number: int, last_number: int) -> None:
        """Promise to make one object of exactly the segments ``first_number`` to ``last_number``.

        Synced. Promised already, it stays so. Raises ``Contradiction`` if these are not all
        sealed, or some of them are in another object.
        """

    async def publish_object(
        self,
        row_id: int,
        row: rows.ObjectRow,
        quarantine: Sequence[tuple[int, int, int]],
        summary: rows.SummaryRow | None = None,
    ) -> None:
        """Take in that the store has a planned object. Synced.

        Its segments become "rolled"; bytes stored change by its size less theirs. ``quarantine``: its
        blocks that hold quarantined lines, as (offset in the object, stored_ms, line count). ``state`` and
        ``has_local`` of ``row`` are not looked at: it is published now, and its segments are still local.
        ``summary`` takes the place of what was known of the whole recording; None leaves that as it is.
        Raises ``Contradiction``, and changes nothing, if no object of that run is planned.
        """

    async def evicted(self, row_id: int, first_number: int) -> None:
        """Take in that the local copies of a published object's segments are gone. Not synced.

        Told again, or of an object that is not known or not published, it changes nothing.
        """

    async def add_object(self, commit: rows.ObjectCommit) -> None:
        """Take in an object that the store was found to have, while a lost index is rebuilt. Not synced.

        Blocks and objects of one recording must be told in order of their segments' numbers, since the last
        metadata told counts. Raises ``Contradiction``, and changes nothing, if something of its run
        is known already, or the row id or the name belongs to another recording.
        """

    async def keep(self, kept: rows.Kept) -> None:
        """Take in what a replaced index knew of a recording and its files no longer show. Not synced.

        To be told after all that the files do show. Nothing that is known already is lessened.
        """

    async def remove(self, tenant: str, recording_id: str) -> rows.RemovedRecording | None:
        """Forget all of a recording, and tell what there was; None if it is not known. Synced.

        What it had is overwritten on disk soon after, by itself. The row id may be used again after the index
        has been opened anew. Blocks of it must not be applied any more: they would make it anew.
        """

    # Reading

    async def to_roll_up(
        self, *, settled_before_ms: int, full_size: int, limit: int
    ) -> list[tuple[int, str, str]]:
        """Return recordings with work for the roll-up, as (row id, tenant, recording), oldest first.

        They have sealed segments, and besides: nothing was stored after ``settled_before_ms``, or one of
        these segments has ``full_size`` bytes or more, or an object is planned.
        """

    async def to_evict(self, *, published_before_ms: int, limit: int) -> list[rows.EvictRow]:
        """Return objects published at ``published_before_ms`` or before with local copies, oldest first."""

    async def oldest(self, *, tenant: str | None, after_row_id: int, limit: int) -> list[rows.AgeRow]:
        """Return recordings, visible or not, in order of creation: a page of up to ``limit``.

        The next page comes after the last row id of this one. ``tenant`` None stands for any.
        """

    async def newest_stored_ms(self) -> int | None:
        """Return when anything was stored last (wall clock); None if nothing is stored. Full scan."""

    async def tenants(self) -> list[rows.TenantRow]:
        """Return the tenants that have anything stored, by name."""

    async def backlog(self) -> rows.Backlog:
        """Return how much is sealed and in no published object yet."""

    async def snapshot(self, data_dir: str) -> None:
        """Write a copy as of one moment into another data directory, while others read and write.

        It is a whole index, private, and not synced. Raises ``FileExistsError`` if there is one. If it fails
        or is cancelled, nothing is left there.
        """

    async def vacuum(self) -> tuple[int, int]:
        """Write the index anew without unused parts, in which scraps of removed values may be left.

        Needs room for a copy of it. For a stopped daemon: other calls wait. Returns its size before and
        after, bytes.
        """

    async def recording(self, tenant: str, recording_id: str) -> rows.RecordingRow | None:
        """Return what is known of a recording, visible or not; None if nothing is."""

    async def recordings(self, names: Sequence[tuple[str, str]]) -> list[rows.RecordingRow | None]:
        """Return what is known of each (tenant, recording), as ``recording`` does: all in one state."""

    async def metadata(self, tenant: str, recording_id: str) -> list[rows.MetadataRow]:
        """Return a recording's metadata, sorted by key; nothing for an unknown recording."""

    async def summary(self, row_id: int) -> rows.SummaryRow | None:
        """Return the recording's summary as it was told last; None if there is none."""

    async def list_recordings(
        self, tenant: str, *, filters: Filters, limit: int, offset: int
    ) -> list[rows.ListedRecording]:
        """Return visible recordings, newest first, that have every (key, value) of ``filters``.

        Skips ``offset``, returns up to ``limit``; both from 0. Raises ``BadRequest`` for more different
        filters than can be joined.
        """

    async def begin_list(
        self,
        tenant: str,
        *,
        filters: Filters,
        limit: int,
        offset: int,
        encode: Encode,
        bytes_max: int,
        wanted: rows.ListQuery | None = None,
    ) -> rows.ListPart:
        """Return the first piece of what ``list_recordings`` would, encoded in the index's thread.

        ``bytes_max``: no further recording is added from there on. With ``wanted``: of those that it says, in
        its order, each with its standing. Raises like ``list_recordings``, and ``BadRequest`` for a url that
        too many begin with.
        """

    async def continue_list(
        self, row_ids: Sequence[int], *, encode: Encode, bytes_max: int, with_standing: bool = False
    ) -> rows.ListPart:
        """Return the next piece of a list: of the ``rest`` of the last one, as far as that is still there."""

    async def metadata_keys(self, tenant: str, *, prefix: str, limit: int) -> list[str]:
        """Return keys that a tenant's recordings have and that begin with ``prefix``, by their UTF-8 bytes.

        Of a tenant with very many keys those count that were seen first.
        """

    async def metadata_values(self, tenant: str, key: str, *, prefix: str, limit: int) -> list[str]:
        """Return values that a tenant's recordings have for ``key``, likewise."""

    async def statistics(self, tenant: str, *, month_start_ms: int) -> rows.Statistics:
        """Return a tenant's counters; all 0 for an unknown one.

        The month is the one (UTC) that ``month_start_ms`` lies in. Recordings count when they
        are visible, bytes always.
        """

    async def active_segments(self) -> list[tuple[str, str, int, rows.SegmentRow]]:
        """Return all segments not sealed, as (tenant, recording, row id, segment), oldest recording first."""

    async def quarantine(self, *, tenant: str | None, recording_id: str | None) -> list[rows.QuarantineRow]:
        """Return the blocks that hold quarantined lines, by recording and place; None stands for any."""
