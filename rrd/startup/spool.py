"""What a census found, kept on disk until all of it is known."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterable

from rrd.extent import Extent
from rrd.index.rows import MetadataChange
from rrd.inventory.census import Entry
from rrd.log import emit

_Key = tuple[str, str]

logger = logging.getLogger(__name__)


def life_of(entry: Entry) -> tuple[str, str, int]:
    """Return which life of which recording an object is of."""
    return entry.tenant, entry.recording_id, entry.created_ms


def warn_unused(orphans: Iterable[Entry]) -> None:
    """Log objects that don't count."""
    for entry in orphans:
        emit(logger, logging.WARNING, "object_not_used", object=entry.key, next_step="rrd verify")


class ObjectSpool:
    """What the objects say, in an unnamed file; in memory only where in it.

    A recording can be there in two lives, the objects of one that was removed not all gone yet. The later
    one counts: it could only begin when the earlier was removed.
    """

    def __init__(self, directory: str) -> None:
        self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - closed in __exit__
        self.places: dict[_Key, tuple[int, tuple[int, ...]]] = {}
        """The latest life of each recording: when it began, and where in the file its objects are."""

    def __enter__(self) -> ObjectSpool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, group: list[Entry]) -> None:
        """Keep objects of one life of a recording."""
        tenant, recording_id, created_ms = life_of(group[0])
        known_ms, offsets = self.places.get((tenant, recording_id), (created_ms, ()))
        if created_ms < known_ms:
            warn_unused(group)
            return
        if created_ms > known_ms:
            warn_unused(self.read((tenant, recording_id), known_ms))
            offsets = ()
        self.places[tenant, recording_id] = (created_ms, (*offsets, self._file.seek(0, os.SEEK_END)))
        # JSON by the standard library: what visitors choose may hold lone surrogates.
        self._file.write(json.dumps(group).encode() + b"\n")

    def read(self, key: _Key, created_ms: int) -> list[Entry]:
        """Return a recording's objects, if they are of the life that began at ``created_ms``."""
        known_ms, offsets = self.places.get(key, (created_ms, ()))
        found: list[Entry] = []
        for offset in offsets:
            self._file.seek(offset)
            found += map(_restored, json.loads(self._file.readline()))
        if known_ms != created_ms:
            warn_unused(found)
            return []
        return found


def _restored(values: list[object]) -> Entry:
    entry = Entry(*values)  # type: ignore[arg-type]  # as it was written
    return entry._replace(
        extent=Extent(*entry.extent),
        quarantine=tuple((offset, stored_ms, count) for offset, stored_ms, count in entry.quarantine),
        metadata=tuple(MetadataChange(*change) for change in entry.metadata),
    )
