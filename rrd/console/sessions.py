"""``console.sqlite``: who is signed in to the console, and the one-time tokens that sign a person in.

The file keeps the SHA-256 of a token, never the token: 32 random bytes need no salt. The daemon alone makes
and ends sessions, so it keeps them in memory as well and answers from there. ``rrd console`` adds one-time
tokens while the daemon runs; these are looked up in the file. Its loss costs a new sign-in: no backup has it.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import orjson

from rrd.clock import Clock, SystemClock
from rrd.disk.sqlite_file import Keeper, SqliteFile
from rrd.errors import Unauthenticated

SESSIONS_MAX = 1_000
"""More are hardly people. The oldest go."""

SIGN_INS_MAX = 100
"""One-time tokens that wait. The oldest go."""

SIGN_IN_AGE_MS = 15 * 60_000

_TOKEN_BYTES = 32
_SCHEMA_VERSION = 1
_TABLES = (
    """
CREATE TABLE sessions (
  id TEXT PRIMARY KEY,          -- short and public: for logs and quotas, unlike any key's
  hash BLOB NOT NULL UNIQUE,    -- SHA-256 of the token in the cookie
  key_ids TEXT NOT NULL,        -- JSON list: the API keys that it was signed in with
  is_operator INTEGER NOT NULL, -- it was signed in by a one-time token: all tenants
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL
) STRICT
""",
    """
CREATE TABLE sign_ins (
  hash BLOB PRIMARY KEY,        -- SHA-256 of the one-time token
  expires_ms INTEGER NOT NULL
) STRICT
""",
)
_MIGRATIONS: Mapping[int, Sequence[str]] = {0: _TABLES}


@dataclass(frozen=True, slots=True)
class Session:
    """One person who is signed in. Holds no secret, so it may be logged."""

    id: str
    key_ids: tuple[str, ...]
    is_operator: bool
    created_ms: int
    expires_ms: int


class SessionStore(Keeper):
    """The open file. Safe to use from several threads; every call but ``find`` and ``get`` may block.

    Times are milliseconds of the wall clock. All methods raise ``RrdError`` when SQLite can't read or write.
    """

    def __init__(self, path: str, clock: Clock | None = None) -> None:
        """Open ``path``; make it, with mode 0600, and its directory if they aren't there."""
        self._clock = clock or SystemClock()
        self._file = SqliteFile(
            path, _MIGRATIONS, version=_SCHEMA_VERSION,
            advice="Stop rrd and remove the file: it holds sign-ins to the console alone",
        )  # fmt: skip
        self._changing = threading.Lock()
        self._sessions: dict[bytes, Session] = {}
        self._by_id: dict[str, Session] = {}
        self._load()

    def find(self, token: str) -> Session | None:
        """Return the session of a cookie's token, unless it has expired. Answers from memory."""
        return self._unexpired(self._sessions.get(_digest(token)))

    def get(self, session_id: str) -> Session | None:
        """Return a session by its public id, unless it has expired or was signed out. From memory."""
        return self._unexpired(self._by_id.get(session_id))

    def begin(self, *, key_ids: Sequence[str], is_operator: bool, age_ms: int) -> tuple[str, Session]:
        """Sign a person in; return the token for the cookie, which can't be had again, and the session."""
        now_ms = self._clock.now_ms()
        session = Session(
            f"console-{secrets.token_hex(4)}", tuple(key_ids), is_operator, now_ms, now_ms + age_ms
        )
        return self._keep(session), session

    def extend(self, session: Session, *, key_ids: Sequence[str], is_operator: bool) -> tuple[str, Session]:
        """Let a session do more; return its new token and itself. The old token ends with that.

        A token that another page has planted in the browser is worth nothing afterwards. When the session
        expires stays as it is. Raises ``Unauthenticated`` if it was signed out meanwhile.
        """
        joined = tuple(dict.fromkeys((*session.key_ids, *key_ids)))
        wider = replace(session, key_ids=joined, is_operator=session.is_operator or is_operator)
        return self._keep(wider, is_known=True), wider

    def end(self, session: Session) -> None:
        """Sign a session out. One that is gone already is no error."""
        with self._changing:
            with self._file.writing() as db:
                db.execute("DELETE FROM sessions WHERE id = ?", (session.id,))
            self._load()

    def new_sign_in(self) -> str:
        """Return a token that signs an operator in, once, within ``SIGN_IN_AGE_MS``."""
        token, now_ms = secrets.token_urlsafe(_TOKEN_BYTES), self._clock.now_ms()
        with self._file.writing() as db:
            db.execute("DELETE FROM sign_ins WHERE expires_ms <= ?", (now_ms,))
            db.execute("INSERT INTO sign_ins VALUES (?, ?)", (_digest(token), now_ms + SIGN_IN_AGE_MS))
            db.execute(
                "DELETE FROM sign_ins WHERE rowid NOT IN"
                " (SELECT rowid FROM sign_ins ORDER BY rowid DESC LIMIT ?)",
                (SIGN_INS_MAX,),
            )
        return token

    def use_sign_in(self, token: str) -> bool:
        """Tell whether a one-time token is good. It is used up by that."""
        with self._file.writing() as db:
            row = db.execute(
                "DELETE FROM sign_ins WHERE hash = ? RETURNING expires_ms", (_digest(token),)
            ).fetchone()
        return row is not None and self._clock.now_ms() < row[0]

    def _keep(self, session: Session, *, is_known: bool = False) -> str:
        """Keep a session under a new token, in the place of itself; return the token."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        row = (
            session.id, _digest(token), orjson.dumps(session.key_ids).decode(), session.is_operator,
            session.created_ms, session.expires_ms,
        )  # fmt: skip
        with self._changing:
            if is_known and session.id not in self._by_id:
                raise Unauthenticated("the session has ended: sign in to the console again")
            with self._file.writing() as db:
                db.execute("DELETE FROM sessions WHERE id = ?", (session.id,))
                db.execute("DELETE FROM sessions WHERE expires_ms <= ?", (self._clock.now_ms(),))
                db.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?)", row)
                db.execute(
                    "DELETE FROM sessions WHERE rowid NOT IN"
                    " (SELECT rowid FROM sessions ORDER BY rowid DESC LIMIT ?)",
                    (SESSIONS_MAX,),
                )
            self._load()
        return token

    def _load(self) -> None:
        with self._file.reading() as db:
            rows = db.execute(
                "SELECT hash, id, key_ids, is_operator, created_ms, expires_ms FROM sessions ORDER BY rowid"
            ).fetchall()
        sessions = {
            digest: Session(session_id, tuple(orjson.loads(key_ids)), bool(is_operator), created, expires)
            for digest, session_id, key_ids, is_operator, created, expires in rows
        }
        self._by_id = {session.id: session for session in sessions.values()}
        self._sessions = sessions

    def _unexpired(self, session: Session | None) -> Session | None:
        return session if session is not None and self._clock.now_ms() < session.expires_ms else None


def _digest(token: str) -> bytes:
    # Any string is taken, lone surrogates too: it comes from a header.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
