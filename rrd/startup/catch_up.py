"""What a start does where there is an index: telling it of the blocks in ``active/`` that it lacks.

After ``kill -9`` these are few. After a power cut it may be the last block of each recording there is, since
a commit of blocks isn't synced, and each of these blocks may be torn. So recordings are taken together, many
at a time: one question to the index at most, one look at the files in one thread, one transaction. A crash in
between leaves those behind that were not told yet, and the next start finds them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple, TypeVar

from rrd.disk.disk import Readable
from rrd.errors import StoreAway
from rrd.index.contract import Index
from rrd.index.rows import Commit, RecordingRow, SegmentRow
from rrd.inventory.census import Patience, StoreFiles
from rrd.inventory.survey import PlacedFile, Survey, Surveyed
from rrd.layout import SegmentName
from rrd.log import emit
from rrd.objects.store import ObjectStore
from rrd.shelf.holdings import Holdings
from rrd.tombstones import Tombstones

_TOGETHER_MAX = 1000
"""Recordings taken up at a time: a few MB of memory. More gains nothing."""

STORE_WAIT_S = 3.0
"""How long a start waits for the object store at most: events are taken without it, too. Less than a request
waits for the start (``http.services.Bounds``), so that a silent store refuses no sender."""

_T = TypeVar("_T")

logger = logging.getLogger(__name__)


async def catch_up(
    survey: Survey, index: Index, tombstones: Tombstones | None, store: ObjectStore | None = None
) -> None:
    """Bring the index up to what ``active/`` holds; ``survey.result`` counts what that was.

    ``store`` is asked only about files that should be in an object, too: these are removed if they are, and
    otherwise kept and told. While it is away they are kept.
    """
    objects = None
    if store is not None:
        objects = StoreFiles(store, asyncio.get_running_loop(), _Hurry())
    files = await asyncio.to_thread(survey.list_active)
    active = {
        SegmentName(tenant, recording_id, segment.number): (row_id, segment)
        for tenant, recording_id, row_id, segment in await index.active_segments()
    }
    sizes = {name: segment.size for name, (_, segment) in active.items()}
    suspects = await asyncio.to_thread(survey.not_as_known, files, sizes)
    recordings = [list(group) for _, group in groupby(suspects, key=lambda file: file.name[:2])]
    for start in range(0, len(recordings), _TOGETHER_MAX):
        behind = await _what_is_known(index, active, recordings[start : start + _TOGETHER_MAX])
        looked_at = await asyncio.to_thread(_look, survey, behind, tombstones, objects)
        await _take_up(survey, index, looked_at)
    missing = {name: active[name][0] for name in sorted(active.keys() - {file.name for file in files})}
    await _seal_or_tell(survey, index, missing)


class _Behind(NamedTuple):
    """A recording of which the index may lack something, and what it knows."""

    files: list[PlacedFile]
    """Its segments in ``active/``, by number."""
    row_id: int | None
    """None if it is not known."""
    segments: Mapping[int, SegmentRow]
    """By number; all that are known, of those in ``files`` at least."""
    row: RecordingRow | None
    """What the index knows, where it was asked."""


class _Hurry(Patience):
    """Lets all questions together take as long as a start may wait for the store."""

    def __init__(self) -> None:
        super().__init__(wait=False)
        self._end = asyncio.get_running_loop().time() + STORE_WAIT_S

    async def ask(self, question: Callable[[], Awaitable[_T]]) -> _T:
        """Return the answer. Raises ``StoreAway`` when the time is over, too."""
        try:
            async with asyncio.timeout_at(self._end):
                return await question()
        except TimeoutError:
            raise StoreAway(
                f"no answer within {STORE_WAIT_S:g} s, which is as long as a start waits"
            ) from None


async def _what_is_known(
    index: Index, active: Mapping[SegmentName, tuple[int, SegmentRow]], recordings: Sequence[list[PlacedFile]]
) -> list[_Behind]:
    """Return what the index knows of recordings, given their files. ``active``: its active segments."""
    behind: list[_Behind] = []
    # Mostly a segment has just grown. The index is asked once more only about those with another file.
    others = [files for files in recordings if any(file.name not in active for file in files)]
    rows = await index.recordings([files[0].name[:2] for files in others])
    row_of = {files[0].name[:2]: row for files, row in zip(others, rows, strict=True)}
    for files in recordings:
        key = files[0].name[:2]
        if key not in row_of:
            row_id = active[files[0].name][0]
            segments = {file.name.number: active[file.name][1] for file in files}
            behind.append(_Behind(files, row_id, segments, None))
        elif (row := row_of[key]) is not None:
            segments = {segment.number: segment for segment in row.segments}
            behind.append(_Behind(files, row.row_id, segments, row))
        else:
            behind.append(_Behind(files, None, {}, None))
    return behind


def _look(
    survey: Survey, behind: Sequence[_Behind], tombstones: Tombstones | None, objects: Readable | None
) -> list[tuple[_Behind, list[Surveyed]]]:
    """Look at the segments of recordings: blocking."""
    proven: list[SegmentName] = []
    here: list[tuple[_Behind, list[PlacedFile]]] = []
    for recording in behind:
        if _is_buried(survey, recording, tombstones):
            survey.result.buried += 1
            continue
        copies = _copies(recording)
        proven += [file.name for file, key in copies.items() if survey.is_copy(file, key, objects)]
        here.append((recording, [file for file in recording.files if file not in copies]))
    survey.shelf.remove_active(proven)
    surveyed = survey.look_at_all(
        (files, {number: segment.size for number, segment in recording.segments.items()})
        for recording, files in here
    )
    return [(recording, found) for (recording, _), found in zip(here, surveyed, strict=True)]


def _is_buried(survey: Survey, recording: _Behind, tombstones: Tombstones | None) -> bool:
    """Tell whether it was erased: whoever began that finishes it, and must find nothing taken up anew."""
    if recording.row_id is not None or tombstones is None:
        return False
    identities = filter(None, map(survey.identity, recording.files))
    key = recording.files[0].name[:2]
    return any(tombstones.covers(*key, identity.created_ms) for identity in identities)


def _copies(recording: _Behind) -> dict[PlacedFile, str]:
    """Return the files that should be in a published object, with its key.

    As a rule a power cut left them, in the middle of a move or an eviction. That they hold just what the
    object holds, their bytes alone say. They are not taken up.
    """
    if recording.row is None:
        return {}
    holdings = Holdings.of(recording.row)
    found = {
        file: holdings.covering(file.name.number)
        for file in recording.files
        if file.name.number not in recording.segments
    }
    return {file: holdings.key(entry) for file, entry in found.items() if entry is not None}


async def _take_up(survey: Survey, index: Index, looked_at: Sequence[tuple[_Behind, list[Surveyed]]]) -> None:
    """Tell the index of the blocks found, finish what sealing had begun, and seal what is damaged."""
    commits: list[Commit] = []
    to_seal: list[tuple[int, int]] = []
    to_move: list[SegmentName] = []
    for recording, surveyed in looked_at:
        row_id = recording.row_id
        if any(found.blocks for found in surveyed):
            row_id = index.take_row_id() if row_id is None else row_id
            # Looked at only where the recording is new to the index.
            created_ms = next(found.identity.created_ms for found in surveyed if found.identity is not None)
            for found in surveyed:
                commits += found.commits(row_id=row_id, created_ms=created_ms)
            survey.result.recordings += 1
        if row_id is None:
            continue
        for found in surveyed:
            name = found.file.name
            segment = recording.segments.get(name.number)
            is_active = segment.state == "active" if segment is not None else bool(found.blocks)
            if is_active and not found.is_whole:
                # So that it is never appended to.
                to_seal.append((row_id, name.number))
                to_move.append(name)
            elif segment is not None and not is_active:
                to_move.append(name)
    await index.apply(commits)
    await index.seal(to_seal)
    if to_move:
        await asyncio.to_thread(survey.shelf.move_to_sealed, to_move)


async def _seal_or_tell(survey: Survey, index: Index, missing: Mapping[SegmentName, int]) -> None:
    """See to segments that the index has as active, and ``active/`` doesn't hold; with their row ids."""
    are_sealed = await asyncio.to_thread(survey.are_sealed, missing)
    to_seal: list[tuple[int, int]] = []
    for (name, row_id), is_sealed in zip(missing.items(), are_sealed, strict=True):
        if is_sealed:
            to_seal.append((row_id, name.number))
        else:
            survey.result.missing += 1
            emit(
                logger, logging.ERROR, "segment_missing", recording=name.recording_id, segment=name.number,
                next_step="restore the file from a backup, or run rrd reindex to forget it",
            )  # fmt: skip
    await index.seal(to_seal)
