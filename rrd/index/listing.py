"""How the list of recordings is found: sets of row ids as bits, joined 64 at a time.

The table ``posting`` holds a set of recordings for each (tenant, key, value), and one of all visible
recordings for each tenant. Row ids grow as recordings are created, so newest first is the order
of the table's key, backwards. A list with filters is the intersection of their sets:

1. Look up the filters' sets, and which of them is small.
2. Walk the smallest from its newest chunk down. For each chunk look up the others' bits and AND
   them; a chunk that comes to nothing is passed over. Stop when there are enough.
3. Read the recordings so found, with their metadata.

Why bits and not a row for each recording: filters that each match much and together match little
(``browser=Safari`` and ``os=Windows``) make any such join walk one of them to its end. With 64
recordings a step a million are walked in some 15,000 steps; deep offsets count bits. Sets of one
recording, as unique values have, cost some five bytes more.
"""

from __future__ import annotations

from collections.abc import Iterable

FILTERS_MAX = 50  # SQLite joins at most 64 tables.
PROBE_CHUNKS_MAX = 1000  # Counting this far costs 50 µs. Among larger sets the order matters little.
_LIMIT_MAX = 2**62  # Within SQLite's integers, beyond any recording.
_BITS = 64
_MASK = 2**_BITS - 1

# The set of all visible recordings of a tenant. Parameter: tenant.
TENANT_SET = "SELECT -tenant_id, 0 FROM tenant WHERE name = ?"

# Sets and (bounded) chunk counts of one filter. Parameters: digest, value, tenant, key.
_FILTER_SET = f"""
SELECT f.facet_id,
       (SELECT count(*) FROM (SELECT 1 FROM posting WHERE set_id = f.facet_id LIMIT {PROBE_CHUNKS_MAX}))
  FROM facet AS f CROSS JOIN tenant AS t CROSS JOIN metadata_key AS k
 WHERE f.digest = ? AND f.value = ?
   AND t.tenant_id = f.tenant_id AND t.name = ? AND k.key_id = f.key_id AND k.key = ?"""  # noqa: S608 -- the number is ours

# The recordings that a JSON array of row ids names, a row for each pair of metadata, in no order.
LISTED = """
SELECT r.row_id, r.name, r.created_ms, k.key, f.value
  FROM json_each(?) AS wanted
 CROSS JOIN recording AS r ON r.row_id = wanted.value
  LEFT JOIN metadata AS m ON m.row_id = r.row_id
  LEFT JOIN metadata_key AS k ON k.key_id = m.key_id
  LEFT JOIN facet AS f ON f.facet_id = m.facet_id"""


def filter_sets_sql(filter_count: int) -> str:
    """SQL for the sets of ``filter_count`` filters: a row (set_id, chunks) for each one that exists."""
    return " UNION ALL ".join([_FILTER_SET] * filter_count)


def chunks_sql(set_count: int) -> str:
    """SQL for the intersection of sets, newest chunk first, as rows (chunk, bits).

    Parameters: the set ids, the one to walk first; then how many chunks are wanted at most.
    CROSS JOIN because SQLite keeps to its order (https://www.sqlite.org/optoverview.html#crossjoin).
    """
    tables = " CROSS JOIN ".join(f"posting AS p{i}" for i in range(set_count))
    bits = " & ".join(f"p{i}.bits" for i in range(set_count))
    terms = [f"p{i}.set_id = ?" for i in range(set_count)]
    terms += [f"p{i}.chunk = p0.chunk" for i in range(1, set_count)]
    if set_count > 1:
        terms.append(f"{bits} <> 0")
    return f"SELECT p0.chunk, {bits} FROM {tables} WHERE {' AND '.join(terms)} ORDER BY p0.chunk DESC LIMIT ?"  # noqa: S608 -- numbers only


def chunk_limit(limit: int, offset: int) -> int:
    """How many chunks hold enough recordings for sure: each holds at least one."""
    return min(limit + offset, _LIMIT_MAX)


def newest(chunks: Iterable[tuple[int, int]], *, limit: int, offset: int) -> list[int]:
    """Take the row ids out of chunks that come newest first: skip ``offset``, then up to ``limit``."""
    row_ids: list[int] = []
    if limit <= 0:
        return row_ids
    for chunk, signed in chunks:
        # SQLite's integers are signed: bit 63 comes as the sign.
        bits = signed & _MASK
        count = bits.bit_count()
        if count <= offset:
            offset -= count
            continue
        while bits:
            highest = bits.bit_length() - 1
            bits ^= 1 << highest
            if offset > 0:
                offset -= 1
                continue
            row_ids.append(chunk * _BITS + highest)
            if len(row_ids) == limit:
                return row_ids
    return row_ids
