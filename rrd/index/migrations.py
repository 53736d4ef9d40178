"""Makes an index file, or brings an older one up to date.

``PRAGMA user_version`` counts the scripts that a file has been through; each script runs in one
transaction with its count, so that a file is always at a whole version. Scripts are added at the
end of the list and never edited.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import aiosqlite

from rrd.errors import IndexDamaged

APPLICATION_ID = 0x72726469  # "rrdi", set by schema.sql, shown by file(1).


def scripts() -> list[str]:
    """Return the SQL scripts: the n-th one, from 0, makes version n + 1 out of version n."""
    names = ("schema.sql", "v2.sql", "v3.sql")
    return [files("rrd.index").joinpath(name).read_text(encoding="utf-8") for name in names]


async def migrate(db: aiosqlite.Connection, path: str, steps: Sequence[str]) -> None:
    """Bring ``db`` (autocommit, opened at ``path``) to version ``len(steps)``.

    Raises ``IndexDamaged`` if the file is newer than that, or is another program's database;
    ``sqlite3.DatabaseError`` if it is no database at all. The file is then as it was.
    """
    version = await _pragma(db, "user_version")
    if version > len(steps):
        raise IndexDamaged(
            f"{path}: written by a newer rrd (index version {version}, this one knows up to {len(steps)}). "
            "Next: start the newer rrd again, or rebuild the index with `rrd reindex`."
        )
    is_foreign = await _pragma(db, "application_id") != APPLICATION_ID
    # schema_version counts changes of the schema: 0 in a file that nobody has used yet.
    if is_foreign and (version > 0 or await _pragma(db, "schema_version") > 0):
        raise IndexDamaged(
            f"{path}: an SQLite database, but not an index of rrd. "
            "Next: move it away if it is yours, then rebuild the index with `rrd reindex`."
        )
    for number, script in enumerate(steps[version:], start=version + 1):
        try:
            await db.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
        except BaseException:
            await db.rollback()
            raise


async def _pragma(db: aiosqlite.Connection, name: str) -> int:
    for (value,) in await db.execute_fetchall(f"PRAGMA {name}"):
        return int(value)
    return 0
