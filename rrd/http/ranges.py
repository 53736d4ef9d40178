"""Which events of a recording a query asks for, in which form, and how many at a time."""

from __future__ import annotations

import re
from math import inf
from typing import NamedTuple

from aiohttp import hdrs, web

from rrd.errors import BadRequest, NotAcceptable
from rrd.http.answer import STORED_ENCODING
from rrd.http.cursors import Cursor, decode_cursor
from rrd.http.filters import KEY_PARAMETERS
from rrd.http.negotiate import accepts
from rrd.http.writing import NAMED_FORMS
from rrd.index.rows import RecordingRow
from rrd.playback.table import Between

PAGE_EVENTS_MAX = 10_000
PAGE_BYTES_MIN, PAGE_BYTES_MAX = 64 << 10, 16 << 20
"""Bounds of ``maxBytes``; a page for which it is not said has the most."""

_RANGE = ("from", "to")
_PAGING = ("limit", "maxBytes", "cursor")
_NEW = frozenset({*_PAGING, "at", "after", "clock"})
_KNOWN = KEY_PARAMETERS | _NEW | {*_RANGE, "form", "salvage", "follow"}
"""What may stand beside one of ``_NEW``. Without any of these, what is not known is passed over."""

_TIME = re.compile(r"-?[0-9]{1,16}(\.[0-9]{1,9})?")
_SEQ_DIGITS_MAX = 19
_NO_LIMIT = 2**62


class Paging(NamedTuple):
    """How much a page holds: a number of events, and about how many bytes of text."""

    events_max: int
    text_bytes: int


class Wanted(NamedTuple):
    """Which events are asked for."""

    between: Between
    """The range of time; with ``after`` one of numbers."""
    at: float | None = None
    """The time, ms, that a replay begins at: the range then begins with the page that is shown there."""
    after: int | None = None
    """Number of the event behind which to go on, in order of arrival."""
    paging: Paging | None = None
    """None: all of it in one answer."""
    cursor_text: str | None = None
    as_of: int | None = None
    """Number of the last event that is in it; None: there is no such bound."""
    by_server_clock: bool = False
    """Times are moved to the server's clock where the page's is off."""

    @property
    def details(self) -> str:
        """What tells it from other answers of the same range."""
        parts = [] if self.at is None else [f"at{self.at:.17g}"]
        parts += [] if self.after is None else [f"after{self.after}"]
        if self.paging is not None:
            parts += [f"limit{self.paging.events_max}", f"bytes{self.paging.text_bytes}"]
        return "-".join(parts + [self.cursor_text or ""] * (self.cursor_text is not None))

    def of(self, row: RecordingRow) -> Wanted:
        """Return it for a recording, as the index has it now. Raises ``BadRequest`` for a bad cursor."""
        if self.cursor_text is not None:
            cursor = decode_cursor(self.cursor_text, row)
            self._check(cursor)
            return self._replace(between=cursor.rest, as_of=cursor.as_of)
        if self.paging is None and self.at is None:
            return self
        as_of = row.next_seq - 1
        return self._replace(between=self.between._replace(limit_seq=as_of + 1), as_of=as_of)

    def _check(self, cursor: Cursor) -> None:
        """Raise ``BadRequest`` if the query says another range than the walk's. It may say none."""
        said = {
            "from": (self.between.start, cursor.start, -inf),
            "to": (self.between.limit, cursor.limit, inf),
        }
        for name, (value, walked, default) in said.items():
            if value not in (walked, default):
                raise BadRequest(f"cursor is of a walk with another {name}: leave it out", parameter=name)
        if self.at not in (None, cursor.at):
            raise BadRequest("cursor is of a walk with another at: leave it out", parameter="at")

    def cursor_at(self, last: tuple[float, int], said: Wanted, row: RecordingRow) -> Cursor:
        """Return the cursor that goes on behind an event of the walk; ``said``: what the query says."""
        assert self.as_of is not None, "a page is as of an event"
        if said.cursor_text is not None:
            return decode_cursor(said.cursor_text, row)._replace(timestamp=last[0], seq=last[1])
        return Cursor(self.as_of, *last, said.between.start, said.between.limit, said.at)


def wanted_of(request: web.Request) -> Wanted:
    """Return what ``from``, ``to``, ``at``, ``after``, ``limit``, ``maxBytes`` and ``cursor`` ask for.

    Raises ``BadRequest`` with the parameter's name.
    """
    query = request.query
    if not _NEW.isdisjoint(query):
        for name in query:
            if name not in _KNOWN:
                raise BadRequest(f"{name!r} is unknown", parameter=name)
            if name in _NEW and len(query.getall(name)) > 1:
                raise BadRequest(f"{name} is there more than once", parameter=name)
    between = between_of(request)
    paging = None
    if any(name in query for name in _PAGING):
        paging = Paging(
            _number(request, "limit", 1, PAGE_EVENTS_MAX, _NO_LIMIT),
            _number(request, "maxBytes", PAGE_BYTES_MIN, PAGE_BYTES_MAX, PAGE_BYTES_MAX),
        )
    by_server_clock = _by_server_clock(request)
    if "after" in query:
        return _after(request, paging)
    at = time_of(request, "at")
    if at is not None and "from" in query:
        raise BadRequest("at says where it begins: leave from out", parameter="from")
    if at is not None and at > between.limit:
        raise BadRequest("at must not be later than to", parameter="at")
    cursor_text = query.get("cursor")
    return Wanted(between, at=at, paging=paging, cursor_text=cursor_text, by_server_clock=by_server_clock)


def _by_server_clock(request: web.Request) -> bool:
    """Tell whether ``clock=server`` is asked for. Raises ``BadRequest``."""
    clock = request.query.get("clock")
    if clock is None:
        return False
    if clock != "server":
        raise BadRequest("clock must be server, or left out", parameter="clock")
    for name in (*_PAGING, "after"):
        if name in request.query:
            raise BadRequest(f"clock=server comes in one answer: leave {name} out", parameter=name)
    return True


def _after(request: web.Request, paging: Paging | None) -> Wanted:
    for name in (*_RANGE, "at", "cursor"):
        if name in request.query:
            raise BadRequest(f"after goes by order of arrival: leave {name} out", parameter=name)
    after = _number(request, "after", 0, 2**63 - 1, 0)
    return Wanted(Between(-inf, inf, first_seq=after + 1), after=after, paging=paging)


def between_of(request: web.Request) -> Between:
    """Return the range of time that ``from`` and ``to`` ask for. Raises ``BadRequest``."""
    start, limit = time_of(request, "from"), time_of(request, "to")
    between = Between(-inf if start is None else start, inf if limit is None else limit)
    if between.start > between.limit:
        raise BadRequest("from must not be later than to", parameter="from")
    return between


def time_of(request: web.Request, name: str) -> float | None:
    """Return the time, ms since the epoch, that a parameter says; None without it. Raises ``BadRequest``."""
    text = request.query.get(name)
    if text is None:
        return None
    if _TIME.fullmatch(text) is None:
        raise BadRequest(f"{name} must be a time in ms since the epoch", parameter=name)
    return float(text)


def _number(request: web.Request, name: str, least: int, most: int, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    is_number = text.isascii() and text.isdecimal() and len(text) <= _SEQ_DIGITS_MAX
    if not is_number or not least <= int(text) <= most:
        raise BadRequest(f"{name} must be a number from {least} to {most}", parameter=name)
    return int(text)


def is_stored_form(request: web.Request) -> bool:
    """Tell whether ``form=stored`` is asked for. Raises ``BadRequest`` and ``NotAcceptable``."""
    form = request.query.get("form")
    if form is None or form in NAMED_FORMS:
        return False
    if form != "stored":
        raise BadRequest("form must be json, ndjson or stored, or left out", parameter="form")
    for name in (*_RANGE, *sorted(_NEW)):
        if name in request.query:
            raise BadRequest(f"form=stored is the whole recording: leave {name} out", parameter=name)
    if not accepts(request.headers.get(hdrs.ACCEPT_ENCODING), STORED_ENCODING):
        raise NotAcceptable("form=stored comes as zstd, so Accept-Encoding must name zstd")
    return True
