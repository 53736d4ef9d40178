"""What ``keys.sqlite`` looks like inside: its tables, how older files become today's, and what a row says."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Literal

import orjson

from rrd.access.rows import KeyRow, SigningKeyRow

SCHEMA_VERSION = 3

Table = Literal["keys", "signing_keys"]
ID_COLUMNS: Mapping[Table, str] = {"keys": "id", "signing_keys": "key_id"}

_KEYS = """
CREATE TABLE keys (
  id TEXT PRIMARY KEY,         -- short and public: for list, revoke and logs
  hash BLOB NOT NULL UNIQUE,   -- SHA-256 of the key
  tenant TEXT NOT NULL,
  scope TEXT NOT NULL CHECK (scope IN ('ingest', 'read', 'all', 'erase')),
  origins TEXT NOT NULL,       -- JSON list; empty: any origin
  label TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  revoked_ms INTEGER           -- NULL while it is good; rows are never deleted
) STRICT
"""
_SIGNING_KEYS = """
CREATE TABLE signing_keys (
  key_id TEXT PRIMARY KEY,     -- over all tenants, since a presigned URL doesn't name its tenant
  tenant TEXT NOT NULL,
  secret TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  revoked_ms INTEGER
) STRICT
"""
_LIFETIMES = (
    "ALTER TABLE keys ADD COLUMN expires_ms INTEGER",  # NULL: never
    "ALTER TABLE keys ADD COLUMN successor TEXT",  # the id of the key that a rotation made in its place
    "ALTER TABLE signing_keys ADD COLUMN label TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE signing_keys ADD COLUMN expires_ms INTEGER",
    "ALTER TABLE signing_keys ADD COLUMN successor TEXT",
    # Apart from the keys: these rows are written again and again, and may be of keys that are elsewhere.
    """
    CREATE TABLE uses (
      kind TEXT NOT NULL,        -- 'keys' or 'signing_keys'
      id TEXT NOT NULL,
      used_ms INTEGER NOT NULL,  -- the minute
      PRIMARY KEY (kind, id)
    ) STRICT, WITHOUT ROWID
    """,
)
MIGRATIONS: Mapping[int, Sequence[str]] = {0: (_KEYS, _SIGNING_KEYS, *_LIFETIMES), 2: _LIFETIMES}
"""From which version on → what makes it today's. Version 1 was never released."""


def read_keys(connection: sqlite3.Connection) -> list[tuple[bytes, KeyRow]]:
    """Return all API keys with their hashes, oldest first."""
    rows = connection.execute(
        "SELECT hash, id, tenant, scope, origins, label, created_ms, revoked_ms, expires_ms, successor"
        " FROM keys ORDER BY rowid"
    )
    return [
        (digest, KeyRow(key_id, tenant, scope, tuple(orjson.loads(origins)), *rest))
        for digest, key_id, tenant, scope, origins, *rest in rows
    ]


def read_signing_keys(connection: sqlite3.Connection) -> list[SigningKeyRow]:
    """Return all signing keys, oldest first."""
    rows = connection.execute(
        "SELECT key_id, tenant, secret, created_ms, revoked_ms, label, expires_ms, successor"
        " FROM signing_keys ORDER BY rowid"
    )
    return [SigningKeyRow(*row) for row in rows]


def exists(connection: sqlite3.Connection, table: Table, value: str) -> bool:
    """Tell whether a table has a row with this id."""
    query = f"SELECT 1 FROM {table} WHERE {ID_COLUMNS[table]} = ?"  # noqa: S608 - constants of this module
    return connection.execute(query, (value,)).fetchone() is not None


def change(connection: sqlite3.Connection, table: Table, row_id: str, **columns: object) -> None:
    """Set columns of one row. Their names are the callers' constants, never what was typed."""
    if not columns:
        return
    sets = ", ".join(f"{name} = ?" for name in columns)
    query = f"UPDATE {table} SET {sets} WHERE {ID_COLUMNS[table]} = ?"  # noqa: S608 - see above
    connection.execute(query, (*columns.values(), row_id))


def write_uses(connection: sqlite3.Connection, uses: Mapping[tuple[Table, str], int]) -> None:
    """Note when keys were used last; an earlier time than the one that is noted changes nothing."""
    connection.executemany(
        "INSERT INTO uses VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET used_ms = max(used_ms, excluded.used_ms)",
        [(*key, used_ms) for key, used_ms in uses.items()],
    )


def read_uses(connection: sqlite3.Connection) -> dict[tuple[str, str], int]:
    """Return when each key was used last, by table and id."""
    return {(kind, row_id): ms for kind, row_id, ms in connection.execute("SELECT * FROM uses")}
