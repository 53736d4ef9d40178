"""What a person who is signed in may do: by the keys of the session as they are at this moment.

A session holds the ids of its keys and nothing of what they allow. So a key that is revoked, or expires,
leaves all sessions at once, and a session never allows more than its keys: to read, and to erase. It never
writes.
"""

from __future__ import annotations

from collections.abc import Mapping

from rrd.access.gate import Gate, Grant
from rrd.access.keys import RIGHTS, KeyStore, Right
from rrd.console.sessions import Session, SessionStore
from rrd.console.tries import Tries

RIGHTS_MAX: frozenset[Right] = frozenset({"read", "erase"})
"""What a session may allow at most."""


class Desk:
    """Signs people in, and says what each may do."""

    def __init__(self, sessions: SessionStore, keys: KeyStore, gate: Gate, tries: Tries) -> None:
        self.sessions = sessions
        self.keys = keys
        self.tries = tries
        self._gate = gate
        gate.is_live_session = self._is_live

    def rights(self, session: Session) -> Mapping[str, frozenset[Right]]:
        """Return what a session may do in which tenants, by name. Empty once none of its keys is good."""
        found: dict[str, frozenset[Right]] = {}
        rows = self._gate.key_rows()
        if session.is_operator:
            found = {row.tenant: RIGHTS_MAX for row in rows.values()}
        for key_id in session.key_ids:
            row = rows.get(key_id)
            is_live = row is not None and self._gate.is_live_key(key_id)
            if row is not None and is_live and (given := RIGHTS[row.scope] & RIGHTS_MAX):
                found[row.tenant] = found.get(row.tenant, frozenset()) | given
        return dict(sorted(found.items()))

    def may_anything(self, session: Session) -> bool:
        """Tell whether a session may do anything at all."""
        return session.is_operator or bool(self.rights(session))

    def grant(self, session: Session, tenant: str) -> Grant | None:
        """Return what a session may do in a tenant; None if nothing."""
        rights = RIGHTS_MAX if session.is_operator else self.rights(session).get(tenant, frozenset())
        if not rights:
            return None
        return Grant(tenant, rights, "session", session.id, "", session.expires_ms)

    def _is_live(self, grant: Grant) -> bool:
        session = self.sessions.get(grant.key_id)
        now = self.grant(session, grant.tenant) if session is not None else None
        return now is not None and grant.rights <= now.rights
