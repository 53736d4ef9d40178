"""``tombstones.sqlite``: which recordings were removed, and why. Nothing can rebuild it.

A tombstone is laid, durably, before anything of a recording goes, so that a removal which a crash interrupts
is finished at the next start. One that says *erased* stays for ``tombstone_days`` and keeps late events from
bringing the recording back; one that says *expired* keeps nothing out, and stays to tell where the recording
went.

A recording that expired may begin anew under its old id, so a tombstone belongs to one life of it: to the
time at which it began, which is in every segment and in the prefix of its objects.

The way of a tombstone: *begun*, then *gone here* (nothing of it is left in the index and in local files, for
good; what is in the object store is still to go), then *done*.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import orjson

from rrd.disk.sqlite_file import Keeper, SqliteFile

Reason = Literal["erased", "expired"]
State = Literal["begun", "gone_here", "done"]

SCHEMA_VERSION = 1

SELECT = (
    "SELECT tenant, recording, created_ms, reason, state, at_ms, events, size, objects, late_lines"
    " FROM tombstones"
)
"""Every tombstone, in the order of ``Tombstone``'s fields."""
_BURY = """
INSERT INTO tombstones VALUES (?, ?, ?, ?, 'begun', ?, ?, ?, ?, 0)
ON CONFLICT DO UPDATE SET
  state = 'begun',
  at_ms = excluded.at_ms,
  reason = CASE reason WHEN 'erased' THEN reason ELSE excluded.reason END
"""

_SCHEMA = (
    """
CREATE TABLE tombstones (
  tenant TEXT NOT NULL,
  recording TEXT NOT NULL,
  created_ms INTEGER NOT NULL,   -- when the recording began
  reason TEXT NOT NULL CHECK (reason IN ('erased', 'expired')),
  state TEXT NOT NULL CHECK (state IN ('begun', 'gone_here', 'done')),
  at_ms INTEGER NOT NULL,        -- when its removal began
  events INTEGER NOT NULL,
  size INTEGER NOT NULL,
  objects INTEGER NOT NULL,
  late_lines INTEGER NOT NULL,
  PRIMARY KEY (tenant, recording, created_ms)
) STRICT, WITHOUT ROWID
""",
    "CREATE INDEX unfinished ON tombstones (at_ms) WHERE state <> 'done'",
)
_GONE_HERE = """
UPDATE tombstones SET state = 'gone_here', events = ?, size = ?
WHERE (tenant, recording, created_ms) = (?, ?, ?) AND state = 'begun'
"""
_DONE = """
UPDATE tombstones SET state = 'done', events = ?, size = ?, objects = ?
WHERE (tenant, recording, created_ms) = (?, ?, ?)
"""


class Tombstone(NamedTuple):
    """What is left of a recording that was removed."""

    tenant: str
    recording_id: str
    created_ms: int
    """When the recording began."""
    reason: Reason
    state: State
    at_ms: int
    """When its removal began."""
    events: int
    size: int
    """Bytes that it took at rest."""
    objects: int
    """Objects that were removed from the store; until it is done, that the index knew of."""
    late_lines: int
    """Lines that came for it since, and were refused."""

    def covers(self, created_ms: int) -> bool:
        """Tell whether this records the removal of the life that began at ``created_ms``.

        An erasure is of all that had come under the id by then, however often it began. What began after it
        is another matter: nothing says that it should go.
        """
        return created_ms == self.created_ms or (self.reason == "erased" and created_ms <= self.at_ms)


ADVICE = "Restore it from a backup: without it, late events bring erased recordings back"
"""What to do if the file is damaged."""


class Tombstones(Keeper):
    """The open file. Safe to use from several threads; every call may block for a few milliseconds.

    All methods raise ``RrdError`` when SQLite can't read or write the file.
    """

    def __init__(self, path: str) -> None:
        """Open ``path``; make it, and its directory, if it isn't there."""
        self.path = path
        self._file = SqliteFile(
            path,
            {0: _SCHEMA},
            version=SCHEMA_VERSION,
            advice=ADVICE,
        )

    def bury(
        self,
        tenant: str,
        recording_id: str,
        *,
        created_ms: int,
        reason: Reason,
        at_ms: int,
        events: int = 0,
        size: int = 0,
        objects: int = 0,
    ) -> Tombstone:
        """Lay a tombstone; the removal may begin when this returns. ``events`` and so on: as far as is known.

        One that stands already is begun again, and keeps its counts; *erased* is never lowered to *expired*.
        """
        with self._file.writing() as db:
            db.execute(_BURY, (tenant, recording_id, created_ms, reason, at_ms, events, size, objects))
            (row,) = db.execute(
                f"{SELECT} WHERE (tenant, recording, created_ms) = (?, ?, ?)",
                (tenant, recording_id, created_ms),
            )
        return Tombstone(*row)

    def gone_here(self, tombstone: Tombstone, *, events: int, size: int) -> None:
        """Note, durably, that nothing is left of it on this machine: only its objects are still to go."""
        with self._file.writing() as db:
            db.execute(_GONE_HERE, (events, size, *_life(tombstone)))

    def done(self, tombstone: Tombstone, *, events: int, size: int, objects: int) -> None:
        """Note, durably, that nothing is left of it anywhere."""
        with self._file.writing() as db:
            db.execute(_DONE, (events, size, objects, *_life(tombstone)))

    def pending(self) -> list[Tombstone]:
        """Return those that are not done, in the order in which they were begun."""
        return self._select("state <> 'done' ORDER BY at_ms, tenant, recording, created_ms")

    def erased(self, tenant: str, recording_id: str) -> Tombstone | None:
        """Return the tombstone that keeps a recording from coming back; None if it is free to come."""
        found = self._select("(tenant, recording) = (?, ?) AND reason = 'erased'", tenant, recording_id)
        return found[-1] if found else None

    def get(self, tenant: str, recording_id: str) -> Tombstone | None:
        """Return what is known about a recording's end: one that says *erased*, else the latest."""
        return self.erased(tenant, recording_id) or next(reversed(self.lives(tenant, recording_id)), None)

    def lives(self, tenant: str, recording_id: str) -> list[Tombstone]:
        """Return all tombstones of one id, the oldest life first."""
        return self._select("(tenant, recording) = (?, ?) ORDER BY created_ms", tenant, recording_id)

    def lives_of(self, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], list[Tombstone]]:
        """Return all tombstones of each (tenant, recording), as ``lives``; nothing where there are none."""
        found = self._select(
            "(tenant, recording) IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]')"
            " FROM json_each(?)) ORDER BY created_ms",
            orjson.dumps(names).decode(),
        )
        lives: dict[tuple[str, str], list[Tombstone]] = {}
        for stone in found:
            lives.setdefault((stone.tenant, stone.recording_id), []).append(stone)
        return lives

    def covers(self, tenant: str, recording_id: str, created_ms: int) -> bool:
        """Tell whether files and objects of the recording that began at ``created_ms`` must not be here.

        ``created_ms``: -1 if it is not known, which an erasure covers by the id alone.
        """
        return any(life.covers(created_ms) for life in self.lives(tenant, recording_id))

    def count_late(self, tenant: str, recording_id: str, lines: int) -> None:
        """Count lines that came for an erased recording. Not synced: a power cut may take some off again."""
        with self._file.writing(synced=False) as db:
            db.execute(
                "UPDATE tombstones SET late_lines = late_lines + ?3"
                " WHERE (tenant, recording, created_ms) = (?1, ?2, (SELECT max(created_ms) FROM tombstones"
                " WHERE (tenant, recording) = (?1, ?2) AND reason = 'erased'))",
                (tenant, recording_id, lines),
            )

    def forget(self, before_ms: int) -> int:
        """Remove those that are done, and were begun before ``before_ms``. Return how many."""
        with self._file.writing() as db:
            return db.execute(
                "DELETE FROM tombstones WHERE state = 'done' AND at_ms < ?", (before_ms,)
            ).rowcount

    def count_done(self, before_ms: int) -> tuple[int, int]:
        """Return how many are done and were begun before ``before_ms``, and how many there are in all."""
        with self._file.reading() as db:
            row = db.execute(
                "SELECT coalesce(sum(state = 'done' AND at_ms < ?), 0), count(*) FROM tombstones",
                (before_ms,),
            ).fetchone()
        return int(row[0]), int(row[1])

    def _select(self, where: str, *values: str | int) -> list[Tombstone]:
        with self._file.reading() as db:
            rows = db.execute(f"{SELECT} WHERE {where}", values)
            return [Tombstone(*row) for row in rows]


def _life(tombstone: Tombstone) -> tuple[str, str, int]:
    return tombstone.tenant, tombstone.recording_id, tombstone.created_ms
