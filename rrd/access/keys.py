"""``keys.sqlite``: who holds a key to what. The one file of a data directory that nothing can rebuild.

**API keys** are kept as their SHA-256. A key is 256 random bits, so there is nothing to guess and nothing
to look up in a table: a salt and a slow hash, which protect what people make up, would buy nothing here and
cost each request. A lost key can't be shown again.

**Signing keys** are kept in clear, since checking an HMAC needs the secret itself. Hence the file's
mode 0600, which SQLite gives to its ``-wal`` and ``-shm`` files as well.

The store is synchronous and small: the command line writes to it, the daemon's gate polls
``data_version`` and reads it whole when something changed.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import orjson

from rrd import ids
from rrd.access.origins import parse_origin
from rrd.clock import Clock, SystemClock
from rrd.disk.sqlite_file import Keeper, SqliteFile
from rrd.errors import BadRequest, NotFound

Right = Literal["ingest", "read", "erase"]
Scope = Literal["ingest", "read", "all", "erase"]

RIGHTS: Mapping[Scope, frozenset[Right]] = {
    "ingest": frozenset({"ingest"}),
    "read": frozenset({"read"}),
    # Not "erase": whoever plays and records has no need to destroy, and what is erased is gone for good.
    "all": frozenset({"ingest", "read"}),
    "erase": frozenset({"erase"}),
}
# The forms that rrweb cloud mints, and one of ours. Only people read them: what comes in is an opaque string.
PREFIXES: Mapping[Scope, str] = {
    "ingest": "public_key_rr_",
    "read": "secret_key_rr_",
    "all": "ak_",
    "erase": "erase_key_rr_",
}

SCHEMA_VERSION = 2

_KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

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
# From which version on → what makes it today's. Version 1 was never released.
_MIGRATIONS: Mapping[int, Sequence[str]] = {0: (_KEYS, _SIGNING_KEYS)}


@dataclass(frozen=True, slots=True)
class KeyRow:
    """What is known about an API key: everything but the key."""

    id: str
    tenant: str
    scope: Scope
    origins: tuple[str, ...]
    """Serialised origins (RFC 6454, 6.2) that the key is bound to; empty: any, and none at all."""
    label: str
    created_ms: int
    revoked_ms: int | None


@dataclass(frozen=True, slots=True)
class SigningKeyRow:
    """A signing key. Its secret keeps out of ``repr``, and so out of logs."""

    key_id: str
    tenant: str
    secret: str = field(repr=False)
    created_ms: int
    revoked_ms: int | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All keys at one moment, revoked ones too, as the gate looks them up."""

    keys: Mapping[bytes, KeyRow] = field(repr=False)
    """By ``key_hash``."""
    rows: Mapping[str, KeyRow]
    """By the short id."""
    signing_keys: Mapping[str, SigningKeyRow]
    """By key id."""
    live_key_ids: frozenset[str]


def key_hash(key: str) -> bytes:
    """Return what stands for ``key`` in the store. Takes any string, lone surrogates too."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


class KeyStore(Keeper):
    """The open file. Safe to use from several threads; every call may block for a few milliseconds.

    All methods raise ``RrdError`` when SQLite can't read or write the file.
    """

    def __init__(self, path: str, *, create: bool = True, clock: Clock | None = None) -> None:
        """Open ``path``; with ``create`` make it, and its directory, if it isn't there.

        Without ``create`` an absent file raises ``NotFound``.
        """
        self.path = path
        self._clock = clock or SystemClock()
        if not create and not os.path.exists(path):
            raise NotFound(
                f"{path}: there are no keys here. Check --data-dir; `rrd keys create` makes the file"
            )
        self._file = SqliteFile(
            path,
            _MIGRATIONS,
            version=SCHEMA_VERSION,
            advice="Restore it from a backup, or move it away and make new keys",
        )

    def create_key(
        self, *, tenant: str, scope: Scope, origins: Sequence[str] = (), label: str = ""
    ) -> tuple[str, str]:
        """Mint a key and return its id and the key itself, which nobody can get again.

        It is on disk when this returns. Raises ``BadRequest`` for a tenant or origin of bad form.
        """
        _check_tenant(tenant)
        bound = orjson.dumps(list(dict.fromkeys(parse_origin(origin) for origin in origins))).decode()
        key = PREFIXES[scope] + secrets.token_urlsafe(32)  # 43 characters
        with self._file.writing() as connection:
            # 32 random bits name thousands of keys for years; the rare clash draws again.
            while _exists(connection, "keys", "id", key_id := secrets.token_hex(4)):
                pass
            connection.execute(
                "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
                (key_id, key_hash(key), tenant, scope, bound, label, self._clock.now_ms()),
            )
        return key_id, key

    def list_keys(self, tenant: str | None = None) -> list[KeyRow]:
        """Return the keys of one tenant or of all, revoked ones too, oldest first."""
        return [row for _, row in self._keys() if tenant in {None, row.tenant}]

    def revoke_key(self, id_or_key: str) -> KeyRow:
        """Revoke the key that an id, or the key itself, names, and return it as it was.

        Revoking twice changes nothing. Raises ``NotFound``.
        """
        with self._file.writing() as connection:
            digest = key_hash(id_or_key)
            rows = [row for known, row in _read_keys(connection) if row.id == id_or_key or known == digest]
            if not rows:
                # Not echoed: it may be a key, mistyped.
                raise NotFound("there is no such key. `rrd keys list` shows the ids")
            connection.execute(
                "UPDATE keys SET revoked_ms = ? WHERE id = ? AND revoked_ms IS NULL",
                (self._clock.now_ms(), rows[0].id),
            )
        return rows[0]

    def create_signing_key(self, *, tenant: str, key_id: str | None = None) -> SigningKeyRow:
        """Mint a signing key. ``key_id`` is unique over all tenants; by default it tells the month.

        Raises ``BadRequest`` for a tenant or key id of bad form, or a key id that is taken, were it revoked.
        """
        _check_tenant(tenant)
        if key_id is not None and not _KEY_ID.fullmatch(key_id):
            raise BadRequest(f"key id {key_id!r}: use 1 to 64 of A-Za-z0-9._-, a letter or digit first")
        now_ms = self._clock.now_ms()
        with self._file.writing() as connection:
            if key_id is None:
                key_id = _free_key_id(connection, now_ms)
            elif _exists(connection, "signing_keys", "key_id", key_id):
                raise BadRequest(f"key id {key_id!r} is taken. Choose another")
            row = SigningKeyRow(key_id, tenant, secrets.token_hex(32), now_ms, None)
            connection.execute(
                "INSERT INTO signing_keys VALUES (?, ?, ?, ?, NULL)", (key_id, tenant, row.secret, now_ms)
            )
        return row

    def list_signing_keys(self, tenant: str | None = None) -> list[SigningKeyRow]:
        """Return the signing keys of one tenant or of all, revoked ones too, oldest first."""
        return [row for row in self._signing_keys() if tenant in {None, row.tenant}]

    def revoke_signing_key(self, key_id: str) -> SigningKeyRow:
        """Revoke a signing key, and with it every URL that it signed. Return it as it was.

        Revoking twice changes nothing. Raises ``NotFound``.
        """
        with self._file.writing() as connection:
            row = next((row for row in _read_signing_keys(connection) if row.key_id == key_id), None)
            if row is None:
                raise NotFound(f"there is no signing key {key_id!r}. `rrd signing-keys list` shows them")
            connection.execute(
                "UPDATE signing_keys SET revoked_ms = ? WHERE key_id = ? AND revoked_ms IS NULL",
                (self._clock.now_ms(), key_id),
            )
        return row

    def load(self) -> Snapshot:
        """Return all keys as they are now."""
        keys = self._keys()
        return Snapshot(
            keys=dict(keys),
            rows={row.id: row for _, row in keys},
            signing_keys={row.key_id: row for row in self._signing_keys()},
            live_key_ids=frozenset(row.id for _, row in keys if row.revoked_ms is None),
        )

    def data_version(self) -> int:
        """Return a number that differs whenever keys changed since the last call, by any process."""
        return self._file.data_version()

    def _keys(self) -> list[tuple[bytes, KeyRow]]:
        with self._file.reading() as connection:
            return _read_keys(connection)

    def _signing_keys(self) -> list[SigningKeyRow]:
        with self._file.reading() as connection:
            return _read_signing_keys(connection)


def _read_keys(connection: sqlite3.Connection) -> list[tuple[bytes, KeyRow]]:
    rows = connection.execute(
        "SELECT hash, id, tenant, scope, origins, label, created_ms, revoked_ms FROM keys ORDER BY rowid"
    )
    return [
        (digest, KeyRow(key_id, tenant, scope, tuple(orjson.loads(origins)), label, created_ms, revoked_ms))
        for digest, key_id, tenant, scope, origins, label, created_ms, revoked_ms in rows
    ]


def _read_signing_keys(connection: sqlite3.Connection) -> list[SigningKeyRow]:
    rows = connection.execute(
        "SELECT key_id, tenant, secret, created_ms, revoked_ms FROM signing_keys ORDER BY rowid"
    )
    return [SigningKeyRow(*row) for row in rows]


def _exists(connection: sqlite3.Connection, table: str, column: str, value: str) -> bool:
    query = f"SELECT 1 FROM {table} WHERE {column} = ?"  # noqa: S608 - both are constants of this module
    return connection.execute(query, (value,)).fetchone() is not None


def _free_key_id(connection: sqlite3.Connection, now_ms: int) -> str:
    month = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("key-%Y-%m")
    key_id, count = month, 1
    while _exists(connection, "signing_keys", "key_id", key_id):
        count += 1
        key_id = f"{month}-{count}"
    return key_id


def _check_tenant(tenant: str) -> None:
    if not ids.is_tenant(tenant):
        raise BadRequest(f"tenant {tenant!r}: use 1 to 63 of a-z0-9_-, a letter or digit first")
