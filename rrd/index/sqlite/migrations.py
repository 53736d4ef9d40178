"""Makes an index file, or brings an older one up to date.

``PRAGMA user_version`` is the version of a file: the first script makes ``FIRST_VERSION``, each further one
the next version. A script runs in one transaction with its number, so that a file is always at a whole
version. Scripts are added, and never edited once they are released.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import aiosqlite

from rrd.errors import IndexDamaged

FIRST_VERSION = 3
"""The version that ``schema.sql`` makes. Earlier ones were never released, and have to be made anew."""

APPLICATION_ID = 0x72726469  # "rrdi", set by schema.sql, shown by file(1).


def scripts() -> list[str]:
    """Return the SQL scripts: the n-th one, from 0, makes version ``FIRST_VERSION`` + n of the one before.

    They are ``schema.sql``, then ``v{version}.sql`` for each later version.
    """
    directory = files("rrd.index.sqlite")
    found = [directory.joinpath("schema.sql")]
    while (following := directory.joinpath(f"v{FIRST_VERSION + len(found)}.sql")).is_file():
        found.append(following)
    return [script.read_text(encoding="utf-8") for script in found]


async def migrate(db: aiosqlite.Connection, path: str, steps: Sequence[str]) -> None:
    """Bring ``db`` (autocommit, opened at ``path``) to the version that the last of ``steps`` makes.

    Raises ``IndexDamaged`` if the file is of a version that they don't know, or another program's database;
    ``sqlite3.DatabaseError`` if it is no database at all. The file is then as it was.
    """
    version = await _pragma(db, "user_version")
    last_version = FIRST_VERSION + len(steps) - 1
    if version > last_version:
        raise IndexDamaged(
            f"{path}: written by a newer rrd (index version {version}, this one knows up to {last_version}). "
            "Next: start the newer rrd again, or rebuild the index with `rrd reindex`."
        )
    is_foreign = await _pragma(db, "application_id") != APPLICATION_ID
    # schema_version counts changes of the schema: 0 in a file that nobody has used yet.
    if is_foreign and (version > 0 or await _pragma(db, "schema_version") > 0):
        raise IndexDamaged(
            f"{path}: an SQLite database, but not an index of rrd. "
            "Next: move it away if it is yours, then rebuild the index with `rrd reindex`."
        )
    if 0 < version < FIRST_VERSION:
        raise IndexDamaged(
            f"{path}: written before the first release (index version {version}). "
            "Next: rebuild the index with `rrd reindex`."
        )
    first_version = version + 1 if version else FIRST_VERSION
    for number, script in enumerate(steps[first_version - FIRST_VERSION :], start=first_version):
        try:
            await db.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
        except BaseException:
            await db.rollback()
            raise


async def _pragma(db: aiosqlite.Connection, name: str) -> int:
    for (value,) in await db.execute_fetchall(f"PRAGMA {name}"):
        return int(value)
    return 0
