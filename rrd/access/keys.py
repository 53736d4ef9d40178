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

import os
import re
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import inf

import orjson

from rrd import ids
from rrd.access import schema
from rrd.access.lifetime import OVERLAP_MS, Expiring, overlap_end, successor_expiry
from rrd.access.origins import changed_origins
from rrd.access.rows import RIGHTS, KeyEdit, KeyRow, Right, Scope, SigningKeyRow, Snapshot, key_hash
from rrd.clock import Clock, SystemClock
from rrd.disk.sqlite_file import Keeper, SqliteFile
from rrd.errors import BadRequest, NotFound
from rrd.ownership import why_absent

__all__ = [
    "KEY_ID",
    "PREFIXES",
    "RIGHTS",
    "KeyEdit",
    "KeyRow",
    "KeyStore",
    "Right",
    "Scope",
    "SigningKeyRow",
    "Snapshot",
    "key_hash",
]

# The forms that rrweb cloud mints, and one of ours. Only people read them: what comes in is an opaque string.
PREFIXES: Mapping[Scope, str] = {
    "ingest": "public_key_rr_",
    "read": "secret_key_rr_",
    "all": "ak_",
    "erase": "erase_key_rr_",
}

KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


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
            otherwise = f"{path}: there are no keys here. Check --data-dir; `rrd keys create` makes the file"
            raise NotFound(why_absent(path, otherwise))
        self._file = SqliteFile(
            path,
            schema.MIGRATIONS,
            version=schema.SCHEMA_VERSION,
            advice="Restore it from a backup, or move it away and make new keys",
        )

    def create_key(
        self,
        *,
        tenant: str,
        scope: Scope,
        origins: Sequence[str] = (),
        label: str = "",
        expires_ms: int | None = None,
    ) -> tuple[str, str]:
        """Mint a key and return its id and the key itself, which can't be shown again.

        It is on disk when this returns. Raises ``BadRequest`` for a tenant or origin of bad form.
        """
        _check_tenant(tenant)
        row = KeyRow(
            "", tenant, scope, changed_origins((), add=origins), label, self._clock.now_ms(), None, expires_ms
        )
        with self._file.writing() as connection:
            return _insert_key(connection, row)

    def rotate_key(
        self, id_or_key: str, *, overlap_ms: int = OVERLAP_MS, expires_ms: float | None = None
    ) -> tuple[KeyRow, str, str]:
        """Make a key in the place of another, which ends after the overlap; without one it is revoked.

        Return the old key's row as it is now, the new key's id, and the new key. Tenant, scope, origins and
        label are the old one's. ``expires_ms``: when the new one expires (``inf``: never); by default it
        lives as long as the old one was given. Raises ``NotFound``, and ``BadRequest`` for a key that was
        revoked or rotated before.
        """
        now_ms = self._clock.now_ms()
        with self._file.writing() as connection:
            old = _named(connection, id_or_key)
            _check_rotatable(old.id, old)
            fresh = replace(old, created_ms=now_ms, expires_ms=_expiry_of_next(old, now_ms, expires_ms))
            new_id, key = _insert_key(connection, fresh)
            schema.change(connection, "keys", old.id, **_end_of(old, now_ms, overlap_ms, new_id))
            return _named(connection, old.id), new_id, key

    def edit_key(self, id_or_key: str, edit: KeyEdit) -> tuple[KeyRow, KeyRow]:
        """Change what a key is called, when it expires, or which pages it is bound to.

        Return its row as it was and as it is. Raises ``NotFound``, and ``BadRequest`` for a key that was
        revoked, and where no origin would be left without ``any_origin``: that means any.
        """
        with self._file.writing() as connection:
            old = _named(connection, id_or_key)
            columns = _edited(old.id, old, edit)
            if edit.any_origin or edit.add_origins or edit.remove_origins:
                origins = changed_origins(
                    old.origins, add=edit.add_origins, remove=edit.remove_origins, clear=edit.any_origin
                )
                columns["origins"] = orjson.dumps(origins).decode()
            schema.change(connection, "keys", old.id, **columns)
            return old, _named(connection, old.id)

    def list_keys(self, tenant: str | None = None) -> list[KeyRow]:
        """Return the keys of one tenant or of all, revoked ones too, oldest first."""
        return [row for _, row in self._keys() if tenant in {None, row.tenant}]

    def revoke_key(self, id_or_key: str) -> KeyRow:
        """Revoke the key that an id, or the key itself, names, and return it as it was.

        Revoking twice changes nothing. Raises ``NotFound``.
        """
        with self._file.writing() as connection:
            row = _named(connection, id_or_key)
            if row.revoked_ms is None:
                schema.change(connection, "keys", row.id, revoked_ms=self._clock.now_ms())
        return row

    def create_signing_key(
        self, *, tenant: str, key_id: str | None = None, label: str = "", expires_ms: int | None = None
    ) -> SigningKeyRow:
        """Mint a signing key. ``key_id`` is unique over all tenants; by default it tells the month.

        Raises ``BadRequest`` for a tenant or key id of bad form, or a key id that is taken, were it revoked.
        """
        _check_tenant(tenant)
        _check_key_id(key_id)
        with self._file.writing() as connection:
            return _insert_signing_key(
                connection,
                SigningKeyRow(key_id or "", tenant, "", self._clock.now_ms(), None, label, expires_ms),
            )

    def rotate_signing_key(
        self,
        key_id: str,
        *,
        new_key_id: str | None = None,
        overlap_ms: int = OVERLAP_MS,
        expires_ms: float | None = None,
    ) -> tuple[SigningKeyRow, SigningKeyRow]:
        """Do for a signing key what ``rotate_key`` does; return the old one as it is now, and the new one."""
        _check_key_id(new_key_id)
        now_ms = self._clock.now_ms()
        with self._file.writing() as connection:
            old = _named_signing(connection, key_id)
            _check_rotatable(old.key_id, old)
            ends_ms = _expiry_of_next(old, now_ms, expires_ms)
            new = _insert_signing_key(
                connection,
                SigningKeyRow(new_key_id or "", old.tenant, "", now_ms, None, old.label, ends_ms),
            )
            schema.change(connection, "signing_keys", key_id, **_end_of(old, now_ms, overlap_ms, new.key_id))
            return _named_signing(connection, key_id), new

    def edit_signing_key(self, key_id: str, edit: KeyEdit) -> tuple[SigningKeyRow, SigningKeyRow]:
        """Change what a signing key is called, or when it expires; return it as it was and as it is."""
        with self._file.writing() as connection:
            old = _named_signing(connection, key_id)
            schema.change(connection, "signing_keys", key_id, **_edited(key_id, old, edit))
            return old, _named_signing(connection, key_id)

    def list_signing_keys(self, tenant: str | None = None) -> list[SigningKeyRow]:
        """Return the signing keys of one tenant or of all, revoked ones too, oldest first."""
        return [row for row in self._signing_keys() if tenant in {None, row.tenant}]

    def revoke_signing_key(self, key_id: str) -> SigningKeyRow:
        """Revoke a signing key, and with it every URL that it signed. Return it as it was.

        Revoking twice changes nothing. Raises ``NotFound``.
        """
        with self._file.writing() as connection:
            row = _named_signing(connection, key_id)
            if row.revoked_ms is None:
                schema.change(connection, "signing_keys", key_id, revoked_ms=self._clock.now_ms())
        return row

    def note_uses(self, uses: Mapping[tuple[schema.Table, str], int]) -> None:
        """Keep when keys were used last, by table and id. Not synced: a power cut may take the last ones."""
        with self._file.writing(synced=False) as connection:
            schema.write_uses(connection, uses)

    def uses(self) -> dict[tuple[str, str], int]:
        """Return when each key was used last, as far as that was kept: by table and id, in ms."""
        with self._file.reading() as connection:
            return schema.read_uses(connection)

    def load(self) -> Snapshot:
        """Return all keys as they are now."""
        keys = self._keys()
        return Snapshot(
            keys=dict(keys),
            rows={row.id: row for _, row in keys},
            signing_keys={row.key_id: row for row in self._signing_keys()},
        )

    def data_version(self) -> int:
        """Return a number that differs whenever keys changed since the last call, by any process."""
        return self._file.data_version()

    def _keys(self) -> list[tuple[bytes, KeyRow]]:
        with self._file.reading() as connection:
            return schema.read_keys(connection)

    def _signing_keys(self) -> list[SigningKeyRow]:
        with self._file.reading() as connection:
            return schema.read_signing_keys(connection)


def _named(connection: sqlite3.Connection, id_or_key: str) -> KeyRow:
    digest = key_hash(id_or_key)
    for known, row in schema.read_keys(connection):
        if row.id == id_or_key or known == digest:
            return row
    # Not echoed: it may be a key, mistyped.
    raise NotFound("there is no such key. `rrd keys list` shows the ids")


def _named_signing(connection: sqlite3.Connection, key_id: str) -> SigningKeyRow:
    row = next((row for row in schema.read_signing_keys(connection) if row.key_id == key_id), None)
    if row is None:
        raise NotFound(
            f"there is no signing key {key_id!r} in the file of keys. `rrd signing-keys list` shows them;"
            " those of signing_keys_file are changed there"
        )
    return row


def _insert_key(connection: sqlite3.Connection, row: KeyRow) -> tuple[str, str]:
    """Mint a key with all that ``row`` says but its id; return its id and the key."""
    key = PREFIXES[row.scope] + secrets.token_urlsafe(32)  # 43 characters
    # 32 random bits name thousands of keys for years; the rare clash draws again.
    while schema.exists(connection, "keys", key_id := secrets.token_hex(4)):
        pass
    origins = orjson.dumps(row.origins).decode()
    connection.execute(
        "INSERT INTO keys (id, hash, tenant, scope, origins, label, created_ms, expires_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (key_id, key_hash(key), row.tenant, row.scope, origins, row.label, row.created_ms, row.expires_ms),
    )
    return key_id, key


def _insert_signing_key(connection: sqlite3.Connection, row: SigningKeyRow) -> SigningKeyRow:
    """Mint a secret for ``row``, and an id if it has none; return it with both."""
    if row.key_id and schema.exists(connection, "signing_keys", row.key_id):
        raise BadRequest(f"key id {row.key_id!r} is taken. Choose another")
    key_id = row.key_id or _free_key_id(connection, row.created_ms)
    row = replace(row, key_id=key_id, secret=secrets.token_hex(32))
    connection.execute(
        "INSERT INTO signing_keys (key_id, tenant, secret, created_ms, label, expires_ms)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (row.key_id, row.tenant, row.secret, row.created_ms, row.label, row.expires_ms),
    )
    return row


def _check_rotatable(key_id: str, row: Expiring) -> None:
    if row.revoked_ms is not None:
        raise BadRequest(f"key {key_id} was revoked, and nothing takes its place. Make a new one")
    if row.successor is not None:
        raise BadRequest(f"key {key_id} was rotated already. {row.successor} took its place: rotate that one")


def _expiry_of_next(row: Expiring, now_ms: int, wanted_ms: float | None) -> int | None:
    if wanted_ms is None:
        return successor_expiry(row, now_ms)
    return None if wanted_ms == inf else int(wanted_ms)


def _end_of(row: Expiring, now_ms: int, overlap_ms: int, successor: str) -> dict[str, object]:
    """Return what a rotation changes of the old key."""
    if overlap_ms == 0:
        return {"successor": successor, "revoked_ms": now_ms}
    return {"successor": successor, "expires_ms": overlap_end(row, now_ms, overlap_ms)}


def _edited(key_id: str, row: Expiring, edit: KeyEdit) -> dict[str, object]:
    """Return the columns that change of either kind of key."""
    if row.revoked_ms is not None:
        raise BadRequest(f"key {key_id} was revoked, for good: it can't be changed any more")
    columns: dict[str, object] = {}
    if edit.label is not None:
        columns["label"] = edit.label
    if edit.expires_ms is not None:
        columns["expires_ms"] = None if edit.expires_ms == inf else int(edit.expires_ms)
    return columns


def _free_key_id(connection: sqlite3.Connection, now_ms: int) -> str:
    month = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("key-%Y-%m")
    key_id, count = month, 1
    while schema.exists(connection, "signing_keys", key_id):
        count += 1
        key_id = f"{month}-{count}"
    return key_id


def _check_key_id(key_id: str | None) -> None:
    if key_id is not None and not KEY_ID.fullmatch(key_id):
        raise BadRequest(f"key id {key_id!r}: use 1 to 64 of A-Za-z0-9._-, a letter or digit first")


def _check_tenant(tenant: str) -> None:
    if not ids.is_tenant(tenant):
        raise BadRequest(f"tenant {tenant!r}: use 1 to 63 of a-z0-9_-, a letter or digit first")
