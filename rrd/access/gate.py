"""The gate: may this request do that? Answers from memory, and learns of new keys within a second.

A caller shows an API key (``Authorization: Bearer``, or ``?token=`` where headers can't be set, as on a
browser's WebSocket) or a presigned URL (``signing``). The gate holds a snapshot of all keys and never
touches the disk while it authorises.

What the answers mean: ``Unauthenticated`` (401), nothing good was shown; ``Forbidden`` (403), a good key
that may not do this, or not from there.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf
from typing import Literal

from rrd import log
from rrd.access import signing
from rrd.access.keys import RIGHTS, KeyRow, KeyStore, Right, SigningKeyRow, key_hash
from rrd.access.temporary import has_temporary, revoke_left_behind
from rrd.errors import Forbidden, RrdError, Unauthenticated

WATCH_INTERVAL_S = 0.3  # A key made or revoked is to count within a second, on a busy machine too.

_logger = logging.getLogger(__name__)
_METHODS: Mapping[Right, signing.Method] = {"ingest": "POST", "read": "GET"}
"""What a presigned URL must have been signed for. Nothing is erased by one: a URL is passed on too easily."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a caller may do. Holds no secret, so it may be logged."""

    tenant: str
    rights: frozenset[Right]
    kind: Literal["key", "signing_key", "session"]
    key_id: str
    """The API key's short id, the signing key's id, or that of a session of the console."""
    label: str
    """What the owner called the API key; empty for others."""
    expires_ms: float = inf
    """When a presigned URL or a session ends, by the wall clock."""


def bearer_token(authorization: str | None) -> str | None:
    """Return the key in an ``Authorization`` header's value, or None if it holds none.

    The scheme's name is case-insensitive (RFC 9110, 11.1). ``Bearer`` with nothing behind it, which
    browsers' SDK sends when it was given no key, is no key; so is another scheme, which a proxy in front
    may use for itself.
    """
    scheme, _, rest = (authorization or "").strip().partition(" ")
    return rest.strip() or None if scheme.lower() == "bearer" else None


class Gate:
    """Who may do what, as of the last ``refresh``. Safe to use from several threads."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self._refreshing = threading.Lock()
        self._version = store.data_version()
        self._snapshot = store.load()
        self._has_temporary = has_temporary(self._snapshot.keys.values())
        self.is_live_session: Callable[[Grant], bool] = lambda _: False
        """Tells whether a grant of kind ``session`` is good. The console says so, where it is on."""

    def authorize(
        self,
        *,
        right: Right,
        token: str | None,
        query: Mapping[str, str],
        scope_path: str,
        origin: str | None,
        now_s: int,
    ) -> Grant:
        """Return what the caller is granted, which includes ``right``, or raise why not.

        ``token`` is the key from the header (``bearer_token``) or None. ``query`` holds the decoded query
        parameters; of these ``token``, ``signature``, ``expires`` and ``keyId`` matter. ``scope_path`` is
        what a presigned URL must have been signed for, with the recording's id in canonical form.
        ``origin`` is the ``Origin`` header, ``now_s`` the time in UNIX seconds.

        A key that is shown decides alone: a wrong one isn't saved by a good signature beside it.
        """
        if key := token or query.get("token"):
            return self._by_key(key, right, origin)
        if any(name in query for name in signing.PARAMETERS):
            return self._by_signature(right, query, scope_path, now_s)
        raise Unauthenticated(
            "a key is needed: 'Authorization: Bearer KEY', '?token=KEY', or a presigned URL"
        )

    def is_live(self, grant: Grant) -> bool:
        """Tell whether the key behind ``grant`` is still good: whether an open socket may go on.

        The time limit of a presigned URL isn't asked again: what began in time may end. That of a session is.
        """
        if grant.kind == "key":
            return grant.key_id in self._snapshot.live_key_ids
        if grant.kind == "session":
            return self.is_live_session(grant)
        row = self._snapshot.signing_keys.get(grant.key_id)
        return row is not None and row.revoked_ms is None

    def key_rows(self) -> Mapping[str, KeyRow]:
        """Return what is known of all API keys, revoked ones too, by their ids."""
        return self._snapshot.rows

    def known_key(self, key: str, *, origin: str | None) -> KeyRow:
        """Return the row of a key that may be used from ``origin``.

        Raises ``Unauthenticated``, and ``Forbidden`` for a key that is bound to other origins.
        """
        row = self._row_of(key)
        _check_origin(row, origin)
        return row

    def signing_key(self, tenant: str) -> SigningKeyRow | None:
        """Return the tenant's newest good signing key, to make presigned URLs with; None if it has none."""
        rows = [row for row in self._snapshot.signing_keys.values() if row.tenant == tenant]
        live = [row for row in rows if row.revoked_ms is None]
        return max(live, key=lambda row: (row.created_ms, row.key_id), default=None)

    def refresh(self) -> bool:
        """Load the keys again if they changed; tell whether they did. May block for milliseconds.

        A temporary key whose process is gone is revoked first.

        Raises ``RrdError`` if the store can't be read; the gate goes on with what it knew.
        """
        with self._refreshing:
            if self._has_temporary:
                revoke_left_behind(self._store)
            # Version first: a change between the two is loaded now, and once more next time.
            version = self._store.data_version()
            if version == self._version:
                return False
            self._snapshot = self._store.load()
            self._has_temporary = has_temporary(self._snapshot.keys.values())
            self._version = version
            return True

    async def watch(self, on_change: Callable[[], None] | None = None) -> None:
        """Refresh every ``WATCH_INTERVAL_S``, for ever; call ``on_change`` in the loop after each change.

        Runs until it is cancelled, which leaves nothing behind. While the store can't be read it
        says so once, goes on with the keys that it knows, and keeps trying.
        """
        loop = asyncio.get_running_loop()
        failing = False
        # A thread of its own: in the shared pool it would queue behind whatever is slow there.
        with ThreadPoolExecutor(1, "rrd-keys") as thread:
            while True:
                await asyncio.sleep(WATCH_INTERVAL_S)
                try:
                    changed = await loop.run_in_executor(thread, self.refresh)
                except RrdError as error:
                    if not failing:
                        log.emit(_logger, logging.ERROR, "keys_unreadable", error=error)
                    failing = True
                    continue
                if failing:
                    log.emit(_logger, logging.INFO, "keys_readable_again")
                failing = False
                if changed and on_change is not None:
                    on_change()

    def _row_of(self, key: str) -> KeyRow:
        # No constant-time comparison: the timing of a look-up by hash tells about the hash of a
        # guess, which the caller knows, and not about the keys.
        row = self._snapshot.keys.get(key_hash(key))
        if row is None:
            raise Unauthenticated("this key is not known here")
        if row.revoked_ms is not None:
            raise Unauthenticated(f"this key was revoked (id {row.id})")
        return row

    def _by_key(self, key: str, right: Right, origin: str | None) -> Grant:
        row = self._row_of(key)
        rights = RIGHTS[row.scope]
        if right not in rights:
            scopes = " or ".join(f"'{scope}'" for scope, rights in RIGHTS.items() if right in rights)
            raise Forbidden(f"this key has scope '{row.scope}'; a key with scope {scopes} is needed")
        _check_origin(row, origin)
        return Grant(row.tenant, rights, "key", row.id, row.label)

    def _by_signature(self, right: Right, query: Mapping[str, str], scope_path: str, now_s: int) -> Grant:
        if right not in _METHODS:
            raise Forbidden(f"a presigned URL can't {right}; a key with scope '{right}' is needed")
        missing = [f"'{name}'" for name in signing.PARAMETERS if not query.get(name)]
        if missing:
            raise Unauthenticated(f"a presigned URL also needs {' and '.join(missing)}")
        row = self._snapshot.signing_keys.get(query["keyId"])
        if row is None:
            raise Unauthenticated("'keyId' names no signing key")
        if row.revoked_ms is not None:
            raise Unauthenticated("the signing key of this presigned URL was revoked")
        signing.verify(
            secret=row.secret,
            tenant=row.tenant,
            method=_METHODS[right],
            scope_path=scope_path,
            signature=query["signature"],
            expires=query["expires"],
            now_s=now_s,
        )
        ends_ms = 1000 * int(query["expires"])
        return Grant(row.tenant, frozenset({right}), "signing_key", row.key_id, "", ends_ms)


def _check_origin(row: KeyRow, origin: str | None) -> None:
    # Browsers send the origin serialised, as it was stored. Others can send what they like:
    # this keeps a key that anyone can read in a page from serving other people's pages, no more.
    if row.origins and origin not in row.origins:
        shown = "no Origin header was sent" if origin is None else "this Origin is not among them"
        raise Forbidden(f"this key is bound to certain origins, and {shown}")
