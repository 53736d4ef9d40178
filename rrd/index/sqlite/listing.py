"""How the list of recordings is found: sets of row ids as bits, joined 512 at a time.

The table ``members`` holds a set of recordings for each (tenant, key, value), and one of all visible
recordings for each tenant. Row ids grow as recordings are created, so newest first is the order
of the table's key, backwards. A list with filters is the intersection of their sets:

1. Look up the filters' sets, and which of them is small.
2. Walk the smallest from its newest chunk down. For each chunk look up the others' bits and AND
   them; a chunk that comes to nothing is passed over. Stop when there are enough: how many chunks that
   takes is guessed from those before, so a deep offset is walked in a few pieces.
3. Read the recordings so found, with their metadata.

Why bits and not a row for each recording: filters that each match much and together match little
(``browser=Safari`` and ``os=Windows``) make any such join walk one of them to its end. With 512
recordings a step, in eight words, a million are walked in some 2,000 steps; deep offsets count bits. Sets of
one recording, as unique values have, cost some twelve bytes more.

Why each statement answers with one row, a JSON array: sqlite3 lets go of the interpreter for every row
that it fetches, and beside a busy event loop each way back to it is a wait of up to the switch interval.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from rrd.errors import BadRequest
from rrd.index.rows import ListedRecording, ListPart
from rrd.index.sqlite.values import filter_values, to_text

FILTERS_MAX = 50  # SQLite joins at most 64 tables.
PROBE_CHUNKS_MAX = 250  # Counting this far costs 15 µs. Among larger sets the order matters little.
_CHUNK_MAX = 2**62  # Within SQLite's integers, beyond any recording.
_PIECE_CHUNKS_MIN = 64
_PIECE_CHUNKS_MAX = 1024
_WORDS = 8
CHUNK_BITS = 64 * _WORDS
_HEX_SIZE = CHUNK_BITS // 4

# The set of all visible recordings of a tenant. Parameter: tenant.
TENANT_SET = "SELECT -tenant_id, 0 FROM tenant WHERE name = ?"

# Sets and (bounded) chunk counts of one filter. Parameters: digest, value, tenant, key.
_FILTER_SET = f"""
SELECT f.facet_id,
       (SELECT count(*) FROM (SELECT 1 FROM members WHERE set_id = f.facet_id LIMIT {PROBE_CHUNKS_MAX}))
  FROM facet AS f CROSS JOIN tenant AS t CROSS JOIN metadata_key AS k
 WHERE f.digest = ? AND f.value = ?
   AND t.tenant_id = f.tenant_id AND t.name = ? AND k.key_id = f.key_id AND k.key = ?"""  # noqa: S608 -- the number is ours

# The first recordings that a JSON array of row ids names, in its order, as JSON: [row id, name, created_ms,
# metadata]; and how many row ids were looked at, of recordings that are gone, too. It ends with the recording
# that reaches :bytes_max, or after :count row ids.
# What visitors choose may hold lone surrogates, so it must not leave SQLite as text.
LISTED = """
WITH RECURSIVE listed (count, item, bytes) AS (
  SELECT 0, NULL, 0
   UNION ALL
  SELECT count + 1,
         (SELECT json_array(r.row_id, r.name, r.created_ms,
                            (SELECT json_group_object(CAST(k.key AS TEXT), CAST(f.value AS TEXT))
                               FROM metadata AS m CROSS JOIN metadata_key AS k CROSS JOIN facet AS f
                              WHERE m.row_id = r.row_id AND k.key_id = m.key_id AND f.facet_id = m.facet_id))
            FROM recording AS r
           WHERE r.row_id = json_extract(:row_ids, '$[' || count || ']')),
         bytes + coalesce(length(CAST(item AS BLOB)), 0)
    FROM listed
   WHERE count < :count AND bytes + coalesce(length(CAST(item AS BLOB)), 0) < :bytes_max)
SELECT CAST('[' || coalesce(group_concat(item), '') || ']' AS BLOB), max(count) FROM listed"""


def find_row_ids(
    db: sqlite3.Connection, tenant: str, filters: Sequence[tuple[str, str]], *, limit: int, offset: int
) -> list[int]:
    """Return the row ids of visible recordings, newest first, that have every (key, value) of ``filters``.

    ``db`` must stay with one state of the index meanwhile: a facet_id found by one statement could name
    another facet in the next. Raises ``BadRequest`` for too many filters that differ.
    """
    sets = find_sets(db, tenant, filters)
    return _row_ids(db, sets, limit=limit, offset=offset) if sets else []


def read_piece(
    db: sqlite3.Connection,
    row_ids: Sequence[int],
    encode: Callable[[ListedRecording], bytes],
    *,
    bytes_max: int,
) -> ListPart:
    """Read and encode recordings until ``bytes_max`` is reached, and at least one.

    A hundred recordings may have 40 MB of metadata, which are never in memory together.
    """
    items: list[bytes] = []
    bytes_left, rest = bytes_max, list(row_ids)
    while rest and bytes_left > 0:
        found, count = read(db, rest, bytes_max=bytes_left)
        items += (encoded := [encode(recording) for _, recording in found])
        bytes_left -= sum(map(len, encoded))
        del rest[:count]
    return ListPart(items, rest)


def read(
    db: sqlite3.Connection, row_ids: Sequence[int], *, bytes_max: int | None = None
) -> tuple[list[tuple[int, ListedRecording]], int]:
    """Return the first recordings of ``row_ids``, with these, and how many of ``row_ids`` that was.

    Those that were removed meanwhile are left out. It ends with the recording that reaches ``bytes_max``.
    """
    if not row_ids:
        return [], 0
    wanted = {
        "row_ids": orjson.dumps(row_ids).decode(),
        "count": len(row_ids),
        "bytes_max": _CHUNK_MAX if bytes_max is None else bytes_max,
    }
    ((found, count),) = db.execute(LISTED, wanted)
    return [(row_id, ListedRecording(*fields)) for row_id, *fields in _rows(found)], count


def _rows(found: bytes) -> Any:
    try:
        return orjson.loads(found)
    except orjson.JSONDecodeError:
        return json.loads(to_text(found))


def find_sets(db: sqlite3.Connection, tenant: str, filters: Sequence[tuple[str, str]]) -> list[int]:
    """Return the ids of the sets to be intersected, the smallest first; none if one doesn't exist.

    Raises ``BadRequest`` for too many filters that differ.
    """
    wanted = list(dict.fromkeys(filters))
    if len(wanted) > FILTERS_MAX:
        text = f"at most {FILTERS_MAX} filters are possible"
        raise BadRequest(text, code="too_many_filters", parameter="meta")
    if not wanted:
        return [set_id for set_id, _ in db.execute(TENANT_SET, (tenant,)).fetchall()]
    sql = filter_sets_sql(len(wanted))
    found = db.execute(sql, filter_values(tenant, wanted)).fetchall()
    if len(found) < len(wanted):
        return []
    return [set_id for set_id, _ in sorted(found, key=lambda row: row[1])]


def _row_ids(db: sqlite3.Connection, sets: Sequence[int], *, limit: int, offset: int) -> list[int]:
    sql = chunks_sql(len(sets))
    newest = Newest(limit=limit, offset=offset)
    while chunk_count := newest.chunks_wanted():
        ((chunks, bits),) = db.execute(sql, (*sets, newest.before_chunk, chunk_count))
        newest.take(read_chunks(chunks, bits), chunk_count)
    return newest.row_ids


def read_chunks(chunks: str, bits: str | None) -> list[tuple[int, int]]:
    """Read what ``chunks_sql`` finds."""
    bits = bits or ""
    each = (int(bits[start : start + _HEX_SIZE], 16) for start in range(0, len(bits), _HEX_SIZE))
    return list(zip(orjson.loads(chunks), each, strict=True))


class Newest:
    """Takes row ids out of an intersection that comes in pieces: skip ``offset``, then up to ``limit``."""

    def __init__(self, *, limit: int, offset: int) -> None:
        self.row_ids: list[int] = []
        self.before_chunk = _CHUNK_MAX
        """Where the next piece begins: below this chunk."""
        self._limit = limit
        self._skip = offset
        self._bits = self._chunks = 0
        """In all pieces so far."""
        self._is_done = limit <= 0

    def chunks_wanted(self) -> int:
        """Return how many chunks the next piece should have; 0 when no more are wanted."""
        if self._is_done:
            return 0
        # Each chunk holds one at least, so that this many would do for sure.
        most = self._skip + self._limit - len(self.row_ids)
        if most <= _PIECE_CHUNKS_MIN:
            return most
        density = self._bits / self._chunks if self._chunks else CHUNK_BITS
        return min(most, _PIECE_CHUNKS_MIN + int(most / density), _PIECE_CHUNKS_MAX)

    def take(self, chunks: Sequence[tuple[int, int]], chunk_count: int) -> None:
        """Take in a piece, newest first, of ``chunk_count`` chunks; fewer if these were the last ones."""
        self._is_done = len(chunks) < chunk_count
        for chunk, all_bits in chunks:
            bits = all_bits
            count = bits.bit_count()
            self._bits += count
            if count <= self._skip:
                self._skip -= count
                continue
            while bits:
                highest = bits.bit_length() - 1
                bits ^= 1 << highest
                if self._skip > 0:
                    self._skip -= 1
                    continue
                self.row_ids.append(chunk * CHUNK_BITS + highest)
                if len(self.row_ids) == self._limit:
                    self._is_done = True
                    return
        self._chunks += len(chunks)
        if chunks:
            self.before_chunk = chunks[-1][0]


def filter_sets_sql(filter_count: int) -> str:
    """SQL for the sets of ``filter_count`` filters: a row (set_id, chunks) for each one that exists."""
    return " UNION ALL ".join([_FILTER_SET] * filter_count)


def chunks_sql(set_count: int) -> str:
    """SQL for a piece of the intersection of sets: one row, a JSON array of chunks, and all bits in hex.

    Parameters: the set ids, the one to walk first; the chunk before which the piece begins; how many chunks
    are wanted at most. The newest chunk comes first, as ``read_chunks`` returns them.
    CROSS JOIN because SQLite keeps to its order (https://www.sqlite.org/optoverview.html#crossjoin).
    """
    tables = " CROSS JOIN ".join(f"members AS p{i}" for i in range(set_count))
    words = [" & ".join(f"p{i}.bits{word}" for i in range(set_count)) for word in range(_WORDS)]
    terms = [f"p{i}.set_id = ?" for i in range(set_count)]
    terms += [f"p{i}.chunk = p0.chunk" for i in range(1, set_count)]
    terms.append("p0.chunk < ?")
    if set_count > 1:
        terms.append(f"({' OR '.join(f'{bits} <> 0' for bits in words)})")
    columns = ", ".join(f"{bits} AS bits{word}" for word, bits in enumerate(words))
    highest_first = ", ".join(f"bits{word}" for word in reversed(range(_WORDS)))
    return f"""
SELECT json_group_array(chunk), group_concat(printf('{"%016x" * _WORDS}', {highest_first}), '')
  FROM (SELECT p0.chunk AS chunk, {columns}
          FROM {tables}
         WHERE {" AND ".join(terms)}
         ORDER BY p0.chunk DESC
         LIMIT ?)"""  # noqa: S608 -- numbers only
