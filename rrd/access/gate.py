"""The gate: may this request do that? Answers from memory, and learns of new keys within a second.

A key that expires is refused from that moment on; what is under way with it ends within a second, as with a
key that is revoked.

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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import inf
from typing import Literal

from rrd import log
from rrd.access import signing
from rrd.access.keys import RIGHTS, KeyRow, KeyStore, Right, SigningKeyRow, Snapshot, key_hash
from rrd.access.lifetime import Live, is_good, live_at, show_ms
from rrd.access.notices import Notice, Notices, notices
from rrd.access.temporary import has_temporary, revoke_left_behind
from rrd.access.uses import Uses
from rrd.clock import Clock, SystemClock
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

    def __init__(
        self, store: KeyStore, clock: Clock | None = None, *, from_file: Sequence[SigningKeyRow] = ()
    ) -> None:
        """``from_file``: signing keys that are not in the store (``signing_file``)."""
        self._store = store
        self._clock = clock or SystemClock()
        self._refreshing = threading.Lock()
        self._version = store.data_version()
        self._from_file = {row.key_id: row for row in from_file}
        self._is_stale = False
        """The file was read again since the keys were loaded."""
        self._snapshot = self._load()
        self._live, self._live_signing = self._live_of(self._snapshot)
        self._has_temporary = has_temporary(self._snapshot.keys.values())
        self.uses = Uses(store, self._clock)
        self._notices = Notices(self._clock)
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
            return self._by_key(key, right, origin, now_s)
        if any(name in query for name in signing.PARAMETERS):
            return self._by_signature(right, query, scope_path, now_s)
        raise Unauthenticated(
            "a key is needed: 'Authorization: Bearer KEY', '?token=KEY', or a presigned URL"
        )

    def is_live(self, grant: Grant) -> bool:
        """Tell whether the key behind ``grant`` is still good, as of the last ``refresh``. Looks into a set.

        The time limit of a presigned URL isn't asked again: what began in time may end. That of a session is.
        """
        if grant.kind == "key":
            return grant.key_id in self._live.ids
        if grant.kind == "session":
            return self.is_live_session(grant)
        return grant.key_id in self._live_signing.ids

    def key_rows(self) -> Mapping[str, KeyRow]:
        """Return what is known of all API keys, revoked and expired ones too, by their ids."""
        return self._snapshot.rows

    def live_key_rows(self) -> Mapping[str, KeyRow]:
        """Return the API keys that are good, as of the last ``refresh``, by their ids."""
        live = self._live.ids
        return {key_id: row for key_id, row in self._snapshot.rows.items() if key_id in live}

    def is_live_key(self, key_id: str) -> bool:
        """Tell whether an API key is good, as of the last ``refresh``."""
        return key_id in self._live.ids

    def notices(self) -> list[Notice]:
        """Return the keys that are about to expire. Their ids and labels are the operator's to see."""
        return notices(self._snapshot, self._clock.now_ms())

    def signing_key_rows(self) -> Mapping[str, SigningKeyRow]:
        """Return all signing keys, revoked and expired ones too, by their ids."""
        return self._snapshot.signing_keys

    def known_key(self, key: str, *, origin: str | None) -> KeyRow:
        """Return the row of a key that may be used from ``origin``.

        Raises ``Unauthenticated``, and ``Forbidden`` for a key that is bound to other origins.
        """
        row = self._row_of(key, self._clock.now_ms())
        _check_origin(row, origin)
        self.uses.note("keys", row.id, self._clock.now_ms() // 1000)
        return row

    def signing_key(self, tenant: str, *, until_ms: int | None = None) -> SigningKeyRow | None:
        """Return the tenant's newest good signing key, to make presigned URLs with; None if it has none.

        ``until_ms``: until when the URLs are to be good, so the key as well; by default now.
        """
        when_ms = max(until_ms or 0, self._clock.now_ms())
        rows = [row for row in self._snapshot.signing_keys.values() if row.tenant == tenant]
        # A key that was rotated makes no more URLs than it has made. Those of the file come first.
        rows = [row for row in rows if row.successor is None and is_good(row, when_ms)]
        return max(rows, key=lambda row: (row.is_from_file, row.created_ms, row.key_id), default=None)

    def refresh(self) -> bool:
        """Load the keys again if they changed; tell whether they did, or one expired. May block.

        A temporary key whose process is gone is revoked first.

        Raises ``RrdError`` if the store can't be read; the gate goes on with what it knew.
        """
        with self._refreshing:
            if self._has_temporary:
                revoke_left_behind(self._store)
            # Version first: a change between the two is loaded now, and once more next time.
            version = self._store.data_version()
            if version == self._version and not self._is_stale:
                return self._has_time_changed_it()
            before = self._snapshot, self._live.ids, self._live_signing.ids
            self._is_stale = False
            try:
                fresh = self._load()
            except BaseException:
                self._is_stale = (
                    True  # A key that was taken out of its file must not stay good until a restart.
                )
                raise
            # First these: a key that lets a request in is never one that doesn't count yet.
            self._live, self._live_signing = self._live_of(fresh)
            self._snapshot = fresh
            self._has_temporary = has_temporary(self._snapshot.keys.values())
            self._version = version
            # It may be that times of use were kept, and nothing else changed.
            return before != (fresh, self._live.ids, self._live_signing.ids)

    def take_from_file(self, rows: Sequence[SigningKeyRow]) -> None:
        """Take other signing keys that are not in the store, from the next ``refresh`` on."""
        self._from_file = {row.key_id: row for row in rows}
        self._is_stale = True

    def _look(self) -> bool:
        self.uses.keep_in_time()
        changed = self.refresh()
        self._notices.tell_in_time(self._snapshot)
        return changed

    def _load(self) -> Snapshot:
        stored = self._store.load()
        # The file's comes first: it is what the operator can still change where both have an id.
        return replace(stored, signing_keys={**stored.signing_keys, **self._from_file})

    def _live_of(self, snapshot: Snapshot) -> tuple[Live, Live]:
        now_ms = self._clock.now_ms()
        return live_at(snapshot.rows.items(), now_ms), live_at(snapshot.signing_keys.items(), now_ms)

    def _has_time_changed_it(self) -> bool:
        """Bring up to date which keys are good, where one has expired, or the clock was set back."""
        now_ms = self._clock.now_ms()
        if all(live.from_ms <= now_ms < live.until_ms for live in (self._live, self._live_signing)):
            return False
        self._live, self._live_signing = self._live_of(self._snapshot)
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
                    changed = await loop.run_in_executor(thread, self._look)
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

    def _row_of(self, key: str, now_ms: float) -> KeyRow:
        # No constant-time comparison: the timing of a look-up by hash tells about the hash of a
        # guess, which the caller knows, and not about the keys.
        row = self._snapshot.keys.get(key_hash(key))
        if row is None:
            raise Unauthenticated("this key is not known here")
        if row.revoked_ms is not None:
            raise Unauthenticated(f"this key was revoked (id {row.id})")
        if row.expires_ms is not None and now_ms >= row.expires_ms:
            raise Unauthenticated(
                f"this key expired at {show_ms(row.expires_ms)} (id {row.id}): ask the operator for a new one"
            )
        return row

    def _by_key(self, key: str, right: Right, origin: str | None, now_s: int) -> Grant:
        row = self._row_of(key, 1000 * now_s)
        rights = RIGHTS[row.scope]
        if right not in rights:
            scopes = " or ".join(f"'{scope}'" for scope, rights in RIGHTS.items() if right in rights)
            raise Forbidden(f"this key has scope '{row.scope}'; a key with scope {scopes} is needed")
        _check_origin(row, origin)
        self.uses.note("keys", row.id, now_s)
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
        if not is_good(row, 1000 * now_s):
            raise Unauthenticated("the signing key of this presigned URL has expired; ask for a new URL")
        signing.verify(
            secret=row.secret,
            tenant=row.tenant,
            method=_METHODS[right],
            scope_path=scope_path,
            signature=query["signature"],
            expires=query["expires"],
            now_s=now_s,
        )
        self.uses.note("signing_keys", row.key_id, now_s)
        ends_ms = 1000 * int(query["expires"])
        return Grant(row.tenant, frozenset({right}), "signing_key", row.key_id, "", ends_ms)


def _check_origin(row: KeyRow, origin: str | None) -> None:
    # Browsers send the origin serialised, as it was stored. Others can send what they like:
    # this keeps a key that anyone can read in a page from serving other people's pages, no more.
    if row.origins and origin not in row.origins:
        shown = "no Origin header was sent" if origin is None else "this Origin is not among them"
        raise Forbidden(f"this key is bound to certain origins, and {shown}")
