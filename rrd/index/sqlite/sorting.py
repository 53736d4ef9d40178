"""How a list is found that is sorted, or filtered by what happened in its recordings.

Such a list is made of two things: a set of row ids, as the bits of one number, and an order to take them in.

1. What has a set in ``members`` narrows the bits: metadata, urls. So do the chunks in which some began in a
   range of time, and what few recordings match, looked up in the index of its column. What many match is a
   *check*, made later of those that come up.
2. Few bits left: read what they are sorted by, and sort them. Many: walk the index of the sort from its
   greatest value down and pass over what is not among the bits, so that the first page is soon full. Newest
   first takes the bits from the highest down.
3. Skip ``offset``, stop after ``limit``.

What can't be quick is a walk that finds little: what many match, each by itself, and hardly any together, or
a deep offset of a sort. It costs 1 µs a recording at most, in pieces of some 10 ms, between which other reads
have their turns.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import orjson

from rrd.errors import BadRequest
from rrd.index.rows import ListedRecording, ListQuery, Sort, StandingRow
from rrd.index.sqlite import facets, listing
from rrd.index.sqlite.values import to_blob, to_text

URLS_MAX = 50
"""Urls that a prefix may stand for. The sets of all are read: at a million recordings up to 2 ms each."""

_ALL = 2**listing.CHUNK_BITS - 1
_END = 2**62  # Beyond any row id and chunk.
_COLUMNS: dict[Sort, str] = {
    "duration": "duration_ms",
    "active": "active_ms",
    "errors": "errors",
    "bytes": "raw_bytes",
}
"""What a sort reads of ``standing``; each has its index, of those that have a value."""


class SearchBounds(NamedTuple):
    """How much is done at once."""

    few: int = 5_000
    """So many recordings are looked up one by one, in some 5 ms."""
    first_piece: int = 250
    piece: int = 10_000
    """Recordings looked at before another read may have its turn, the first time and later."""


BOUNDS = SearchBounds()


def at_least_sql(column: str) -> str:
    """SQL for row ids of a tenant whose ``column`` is at least something.

    Parameters: tenant id, the value, how many at most.
    """
    return f"""
SELECT json_group_array(row_id) FROM (
  SELECT row_id FROM standing WHERE tenant_id = ? AND {column} >= ? LIMIT ?)"""  # noqa: S608 -- ours


def walk_sql(column: str) -> str:
    """SQL for a piece of a tenant's recordings by ``column``: an array of row ids, and the last one's value.

    Parameters: ``:tenant_id``; the ``:value`` and ``:row_id`` before which it begins; how many, ``:count``.
    """
    # Two searches: for (column, row_id) < (value, row_id) SQLite would walk all that have the same value.
    return f"""
SELECT json_group_array(row_id), min(value) FROM (
  SELECT * FROM (
    SELECT row_id, {column} AS value FROM standing
     WHERE tenant_id = :tenant_id AND {column} = :value AND row_id < :row_id
     ORDER BY row_id DESC
     LIMIT :count)
   UNION ALL
  SELECT * FROM (
    SELECT row_id, {column} AS value FROM standing
     WHERE tenant_id = :tenant_id AND {column} < :value
     ORDER BY {column} DESC, row_id DESC
     LIMIT :count)
   LIMIT :count)"""  # noqa: S608 -- columns of ours


def sorted_sql(column: str) -> str:
    """SQL for the row ids of a JSON array, by ``column``, those without a value last. Sorts them all."""
    return f"""
SELECT json_group_array(row_id) FROM (
  SELECT w.value AS row_id FROM json_each(?) AS w LEFT JOIN standing AS s ON s.row_id = w.value
   ORDER BY s.{column} DESC NULLS LAST, w.value DESC)"""  # noqa: S608 -- columns of ours


def check_sql(column: str) -> str:
    """SQL for those row ids of a JSON array whose ``column`` is at least the parameter after it."""
    return f"""
SELECT json_group_array(w.value) FROM json_each(?) AS w CROSS JOIN standing AS s
 WHERE s.row_id = w.value AND s.{column} >= ?"""  # noqa: S608 -- columns of ours


# The chunks of a tenant in which some began in a range, each with whether all did. Parameters: from, to,
# tenant id, from, to. Some 2,000 rows at a million recordings.
BEGAN = """
SELECT json_group_array(json_array(chunk, first_ms >= ? AND last_ms < ?)) FROM began
 WHERE tenant_id = ? AND last_ms >= ? AND first_ms < ?"""
# Parameters: the row ids, from, to.
CHECK_BEGAN = """
SELECT json_group_array(w.value) FROM json_each(?) AS w CROSS JOIN recording AS r
 WHERE r.row_id = w.value AND r.created_ms >= ? AND r.created_ms < ?"""

# Parameters: a JSON array of row ids. Rows and no JSON: in which SQLite would round times to 15 digits.
STANDINGS = """
SELECT r.name,
       nullif(min(coalesce((SELECT min(o.first_ts) FROM object AS o WHERE o.row_id = r.row_id), 1e999),
                  coalesce((SELECT min(s.first_ts) FROM segment AS s WHERE s.row_id = r.row_id), 1e999)),
              1e999),
       r.last_ts, r.next_seq - 1, r.raw_bytes, p.active_ms, y.clicks, y.inputs, p.errors, y.rage_bursts,
       y.first_url, y.activity
  FROM json_each(?) AS w
 CROSS JOIN recording AS r ON r.row_id = w.value
  LEFT JOIN standing AS p ON p.row_id = r.row_id
  LEFT JOIN summary AS y ON y.row_id = r.row_id"""


class _Check(NamedTuple):
    """What recordings must pass one by one: a statement, and its parameters after the row ids."""

    sql: str
    parameters: tuple[float, ...]


class Search:
    """One list being found. ``step`` is called, each time with one state of the index, until ``is_done``."""

    def __init__(
        self,
        tenant: str,
        filters: Sequence[tuple[str, str]],
        wanted: ListQuery,
        *,
        limit: int,
        offset: int,
        bounds: SearchBounds = BOUNDS,
    ) -> None:
        self.row_ids: list[int] = []
        """The list, as far as it is found."""
        self.is_done = limit <= 0
        self._tenant, self._filters, self._wanted = tenant, filters, wanted
        self._limit, self._skip, self._bounds = limit, offset, bounds
        self._checks: list[_Check] = []
        self._order: _Order | None = None

    def step(self, db: sqlite3.Connection) -> None:
        """Go on. Raises ``BadRequest`` as ``Index.list_recordings`` does."""
        if self._order is None:
            if self._is_plain():
                self.row_ids = listing.find_row_ids(
                    db, self._tenant, self._filters, limit=self._limit, offset=self._skip
                )
                self.is_done = True
                return
            self._order = self._begin(db)
        found = self._order.next(db)
        if found is None:
            self.is_done = True
            return
        for check in self._checks:
            passed = set(_ids(db, check.sql, (_json(found), *check.parameters)))
            found = [row_id for row_id in found if row_id in passed]
        skipped = min(self._skip, len(found))
        self._skip -= skipped
        self.row_ids += found[skipped : skipped + self._limit - len(self.row_ids)]
        self.is_done = len(self.row_ids) == self._limit

    def _is_plain(self) -> bool:
        return self._wanted == ListQuery()

    def _begin(self, db: sqlite3.Connection) -> _Order:
        """Narrow the bits, and choose how to go through them."""
        wanted = self._wanted
        bits = _bits_of_sets(db, [listing.find_sets(db, self._tenant, self._filters)])
        if bits and wanted.among is not None:
            bits &= _bits(wanted.among)
        if bits and wanted.url is not None:
            bits &= _bits_of_sets(db, [[set_id] for set_id in _sets_of_url(db, self._tenant, wanted.url)])
        if not bits:
            return _Newest(0, self._bounds)
        ((tenant_id,),) = db.execute(facets.TENANT_ID, (self._tenant,)).fetchall()
        bits = self._began(db, tenant_id, bits)
        for column, least in (
            ("duration_ms", wanted.min_duration_ms),
            ("active_ms", wanted.min_active_ms),
            ("errors", 1 if wanted.has_errors else None),
        ):
            if bits and least is not None:
                few = _ids(db, at_least_sql(column), (tenant_id, least, self._bounds.few + 1))
                if len(few) > self._bounds.few:
                    self._checks.append(_Check(check_sql(column), (least,)))
                else:
                    bits &= _bits(few)
        if wanted.sort == "newest":
            return _Newest(bits, self._bounds)
        column = _COLUMNS[wanted.sort]
        if bits.bit_count() <= self._bounds.few:
            return _InOrder(_ids(db, sorted_sql(column), (_json(list(_highest_first(bits))),)))
        return _Walk(column, tenant_id, bits, self._bounds)

    def _began(self, db: sqlite3.Connection, tenant_id: int, bits: int) -> int:
        """Narrow the bits by when recordings began."""
        wanted = self._wanted
        if wanted.from_ms is None and wanted.to_ms is None:
            return bits
        first = -1e999 if wanted.from_ms is None else wanted.from_ms
        limit = 1e999 if wanted.to_ms is None else wanted.to_ms
        ((text,),) = db.execute(BEGAN, (first, limit, tenant_id, first, limit)).fetchall()
        chunks = orjson.loads(text)
        if not all(is_whole for _, is_whole in chunks):
            self._checks.append(_Check(CHECK_BEGAN, (first, limit)))
        return bits & _bits_of_chunks([(chunk, _ALL) for chunk, _ in reversed(chunks)])


class _Order(Protocol):
    """Row ids in the order of a list."""

    def next(self, db: sqlite3.Connection) -> list[int] | None:
        """Return the next ones, maybe none; None after the last."""
        ...


class _InOrder(_Order):
    """Those that are given."""

    def __init__(self, row_ids: list[int]) -> None:
        self._row_ids: list[int] | None = row_ids

    def next(self, db: sqlite3.Connection) -> list[int] | None:
        row_ids, self._row_ids = self._row_ids, None
        return row_ids


class _Newest(_Order):
    """Bits, the highest first, in pieces that grow."""

    def __init__(self, bits: int, bounds: SearchBounds) -> None:
        self._left = _highest_first(bits)
        self._bounds, self._count = bounds, bounds.first_piece

    def next(self, db: sqlite3.Connection) -> list[int] | None:
        row_ids = list(itertools.islice(self._left, self._count))
        self._count = min(4 * self._count, self._bounds.piece)
        return row_ids or None


class _Walk(_Order):
    """By a column of ``standing`` as far as it has values, then the rest of the bits, newest first."""

    def __init__(self, column: str, tenant_id: int, bits: int, bounds: SearchBounds) -> None:
        self._sql = walk_sql(column)
        self._tenant_id = tenant_id
        self._before: tuple[float, int] = (1e999, _END)
        self._bounds, self._count = bounds, bounds.first_piece
        self._among = bytearray(bits.to_bytes(bits.bit_length() // 8 + 1, "little"))
        """The bits that did not come up yet."""
        self._rest: _Newest | None = None

    def next(self, db: sqlite3.Connection) -> list[int] | None:
        if self._rest is not None:
            return self._rest.next(db)
        value, row_id = self._before
        parameters = {"tenant_id": self._tenant_id, "value": value, "row_id": row_id, "count": self._count}
        ((text, value),) = db.execute(self._sql, parameters).fetchall()
        row_ids = orjson.loads(text)
        if len(row_ids) < self._count:
            found = self._take(row_ids)
            self._rest = _Newest(int.from_bytes(self._among, "little"), self._bounds)
            return found
        self._before = value, row_ids[-1]
        self._count = min(4 * self._count, self._bounds.piece)
        return self._take(row_ids)

    def _take(self, row_ids: Sequence[int]) -> list[int]:
        among, found = self._among, []
        size = 8 * len(among)
        for row_id in row_ids:
            if row_id < size and among[row_id >> 3] >> (row_id & 7) & 1:
                among[row_id >> 3] &= ~(1 << (row_id & 7))
                found.append(row_id)
        return found


def with_standings(
    db: sqlite3.Connection, row_ids: Sequence[int], encode: Callable[[ListedRecording], bytes]
) -> Callable[[ListedRecording], bytes]:
    """Return what encodes recordings of one tenant as ``encode`` does, each with its standing.

    What it is given must be of the state of the index that ``db`` reads now.
    """
    found: dict[str, StandingRow] = {}
    for name, *values in db.execute(STANDINGS, (_json(row_ids),)).fetchall():
        standing = StandingRow(*values)
        if standing.first_url is not None:
            standing = standing._replace(first_url=to_text(values[-2]))
        found[name] = standing
    return lambda listed: encode(listed._replace(standing=found[listed.recording_id]))


def _sets_of_url(db: sqlite3.Connection, tenant: str, url: str) -> list[int]:
    """Return the sets of the urls that a url, or one with a ``*`` at its end, stands for."""
    if not url.endswith("*"):
        wanted = to_blob(url)
        return [set_id for found, set_id in facets.beginning(db, tenant, 0, wanted, 1) if found == wanted]
    sets = [set_id for _, set_id in facets.beginning(db, tenant, 0, to_blob(url[:-1]), URLS_MAX + 1)]
    if len(sets) > URLS_MAX:
        text = f"more than {URLS_MAX} different urls begin with {url[:-1]!r}: write more of it"
        raise BadRequest(text, code="too_many_urls", parameter="url")
    return sets


def _bits_of_sets(db: sqlite3.Connection, intersections: Sequence[Sequence[int]]) -> int:
    """Return the row ids that are in every set of one of ``intersections``, as bits."""
    union = 0
    for sets in intersections:
        if sets:
            ((chunks, words),) = db.execute(listing.chunks_sql(len(sets)), (*sets, _END, -1))
            union |= _bits_of_chunks(listing.read_chunks(chunks, words))
    return union


def _bits_of_chunks(chunks: Sequence[tuple[int, int]]) -> int:
    """``chunks``: newest first, with their bits."""
    if not chunks:
        return 0
    size = listing.CHUNK_BITS // 8
    place = bytearray((chunks[0][0] + 1) * size)
    for chunk, bits in chunks:
        place[chunk * size : (chunk + 1) * size] = bits.to_bytes(size, "little")
    return int.from_bytes(place, "little")


def _bits(row_ids: Sequence[int]) -> int:
    place = bytearray(max(row_ids, default=0) // 8 + 1)
    for row_id in row_ids:
        place[row_id >> 3] |= 1 << (row_id & 7)
    return int.from_bytes(place, "little")


def _highest_first(bits: int) -> Iterator[int]:
    size = listing.CHUNK_BITS // 8
    place = bits.to_bytes((bits.bit_length() // listing.CHUNK_BITS + 1) * size, "little")
    for start in range(len(place) - size, -1, -size):
        chunk = int.from_bytes(place[start : start + size], "little")
        while chunk:
            highest = chunk.bit_length() - 1
            chunk ^= 1 << highest
            yield 8 * start + highest


def _ids(db: sqlite3.Connection, sql: str, parameters: Sequence[Any]) -> list[int]:
    ((text,),) = db.execute(sql, parameters).fetchall()
    found: list[int] = orjson.loads(text)
    return found


def _json(row_ids: Sequence[int]) -> str:
    return orjson.dumps(row_ids).decode()
