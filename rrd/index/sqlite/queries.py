"""The index's statements. Each is a constant, so that SQLite prepares it once; a test reads their plans.

Those of the list are in ``listing.py``.
"""

from __future__ import annotations

from rrd.extent import Extent
from rrd.index.rows import RECORDING_COLUMNS, Commit, ObjectCommit, ObjectRow, SegmentRow

BLOCK_FIELDS = Extent._fields[2:]
"""What ``put_block`` is told of a block's extent: the number of the next event stands for the first two."""

PUBLISHED = tuple(field for field in ObjectRow._fields if field not in {"state", "has_local"})
"""What is told of a published object."""

_OBJECT_FIELDS = ("first_seq", "event_count", "first_ts", "last_ts", "raw_size")
"""What ``object`` keeps of an extent; ``put_found`` is told the others, too, for the recording."""

FOUND_FIELDS = tuple(field for field in Extent._fields if field not in _OBJECT_FIELDS)


def _insert(view: str, *fields: str) -> str:
    columns = ", ".join("recording" if field == "recording_id" else field for field in fields)
    marks = ", ".join("?" * len(fields))
    return f"INSERT INTO {view} ({columns}) VALUES ({marks})"  # noqa: S608 - names of ours


PUT_BLOCK = _insert("put_block", *Commit._fields[:8], "next_seq", "visible", *BLOCK_FIELDS)

# What ``put_block`` does with a block of events, none of them quarantined, for a recording, a segment and a
# tenant that are known. Where it would do more, or refuse, these find no row. A column that is named here is
# one that has neither triggers nor an index, which SQLite would look at, changed or not.
SEGMENT_GREW = """
UPDATE segment SET
  size     = ?3,
  first_ts = CASE WHEN first_ts <= ?4 THEN first_ts ELSE ?4 END,
  last_ts  = CASE WHEN last_ts >= ?5 THEN last_ts ELSE ?5 END
 WHERE row_id = ?1 AND number = ?2 AND state = 0 AND size < ?3"""

RECORDING_GREW = """
UPDATE recording SET
  next_seq       = ?4,
  last_ts        = CASE WHEN last_ts >= ?5 THEN last_ts ELSE ?5 END,
  raw_bytes      = raw_bytes + ?6,
  stored_bytes   = stored_bytes + ?7,
  duplicates     = duplicates + ?8,
  last_stored_ms = CASE WHEN last_stored_ms >= ?9 THEN last_stored_ms ELSE ?9 END
 WHERE row_id = ?1 AND name = ?2 AND tenant_id = ?3 AND visible"""

TENANT_GREW = "UPDATE tenant SET storage_bytes = storage_bytes + ? WHERE name = ? RETURNING tenant_id"

PUT_METADATA = "INSERT INTO put_metadata (row_id, key, value, digest, at_ms) VALUES (?, ?, ?, ?, ?)"

# One that is rolled stays so.
SEAL = "UPDATE segment SET state = max(state, 1) WHERE row_id = ? AND number = ?"

PLAN_OBJECT = "INSERT INTO put_plan (row_id, first_number, last_number) VALUES (?, ?, ?)"

PUBLISH_OBJECT = _insert("put_published", "row_id", *PUBLISHED)

ADD_OBJECT = _insert(
    "put_found", *ObjectCommit._fields[:4], "next_seq", "visible", "has_local", *FOUND_FIELDS, *PUBLISHED
)

ADD_ROLLED_SEGMENT = """
INSERT INTO segment (row_id, number, state, size, first_ts, last_ts) VALUES (?, ?, 2, ?, ?, ?)"""

# ``segment`` is the number of an object's first one.
ADD_QUARANTINE = """
INSERT INTO quarantine (row_id, segment, block_offset, stored_ms, count) VALUES (?, ?, ?, ?, ?)"""

EVICTED = "INSERT INTO put_evicted (row_id, first_number) VALUES (?, ?)"

REMOVED = """
SELECT r.row_id, r.created_ms, r.next_seq - 1, r.raw_bytes, r.stored_bytes,
       (SELECT count(*) FROM object AS o WHERE o.row_id = r.row_id AND o.state = 1)
  FROM tenant AS t CROSS JOIN recording AS r
 WHERE t.name = ? AND r.name = ? AND r.tenant_id = t.tenant_id"""

REMOVE = "DELETE FROM recording WHERE row_id = ?"

GREATEST_ROW_ID = "SELECT coalesce(max(row_id), 0) FROM recording"

# Full scan, for a start without ``retention.json``.
NEWEST_STORED = "SELECT max(last_stored_ms) FROM recording"

_OBJECT = tuple(f"o.{field}" for field in ObjectRow._fields)
_KINDS = (
    (
        *("r.row_id", "r.created_ms", "r.visible", "r.stored_bytes", "r.next_seq"),
        *(f"r.{column}" for column in RECORDING_COLUMNS.values()),
    ),
    tuple(f"s.{field}" for field in SegmentRow._fields),
    ("k.key",),
    _OBJECT,
)
_WIDTH = max(map(len, _KINDS))
_RECORDING_ROW, _SEGMENT_ROW, _KEY_ROW, _OBJECT_ROW = (
    f"{kind}, {{which}}, {', '.join([*columns, *['NULL'] * (_WIDTH - len(columns))])}"
    for kind, columns in enumerate(_KINDS)
)

# One statement, so one state of the index. The first column tells what a row is: 0 the recording
# itself, 1 a segment, 2 a metadata key, 3 an object; the second, which of those asked for it is about.
_RECORDING = f"""
SELECT {_RECORDING_ROW}
  FROM {{wanted}}tenant AS t CROSS JOIN recording AS r
 WHERE {{terms}}
UNION ALL
SELECT {_SEGMENT_ROW}
  FROM {{wanted}}tenant AS t CROSS JOIN recording AS r CROSS JOIN segment AS s
 WHERE {{terms}} AND s.row_id = r.row_id
UNION ALL
SELECT {_KEY_ROW}
  FROM {{wanted}}tenant AS t CROSS JOIN recording AS r CROSS JOIN metadata AS m CROSS JOIN metadata_key AS k
 WHERE {{terms}} AND m.row_id = r.row_id AND k.key_id = m.key_id
UNION ALL
SELECT {_OBJECT_ROW}
  FROM {{wanted}}tenant AS t CROSS JOIN recording AS r CROSS JOIN object AS o
 WHERE {{terms}} AND o.row_id = r.row_id"""  # noqa: S608 -- columns of ours

# Parameters: :recording, :tenant.
RECORDING = _RECORDING.format(
    which="0",
    wanted="",
    terms="t.name = :tenant AND r.name = :recording AND r.tenant_id = t.tenant_id",
)

# Parameter: :names, a JSON array of pairs (tenant, recording), whose places in it are the second column.
RECORDINGS = _RECORDING.format(
    which="w.key",
    wanted="json_each(:names) AS w CROSS JOIN ",
    terms="""t.name = json_extract(w.value, '$[0]') AND r.name = json_extract(w.value, '$[1]')
   AND r.tenant_id = t.tenant_id""",
)

METADATA = """
SELECT k.key, f.value, m.version, m.at_ms
  FROM tenant AS t CROSS JOIN recording AS r CROSS JOIN metadata AS m
 CROSS JOIN metadata_key AS k CROSS JOIN facet AS f
 WHERE t.name = :tenant AND r.name = :recording AND r.tenant_id = t.tenant_id AND m.row_id = r.row_id
   AND k.key_id = m.key_id AND f.facet_id = m.facet_id"""

STATISTICS = """
SELECT t.recordings, coalesce(m.recordings, 0), t.storage_bytes
  FROM tenant AS t
  LEFT JOIN month AS m
    ON m.tenant_id = t.tenant_id
   AND m.month = coalesce(CAST(strftime('%Y%m', :month_start_ms / 1000, 'unixepoch') AS INTEGER), 0)
 WHERE t.name = :tenant"""

ACTIVE_SEGMENTS = """
SELECT t.name, r.name, s.row_id, s.number, s.state, s.size, s.first_ts, s.last_ts
  FROM segment AS s CROSS JOIN recording AS r CROSS JOIN tenant AS t
 WHERE s.state = 0 AND r.row_id = s.row_id AND t.tenant_id = r.tenant_id
 ORDER BY s.row_id, s.number"""

TO_ROLL_UP = """
SELECT s.row_id, t.name, r.name
  FROM segment AS s CROSS JOIN recording AS r CROSS JOIN tenant AS t
 WHERE s.state = 1 AND r.row_id = s.row_id AND t.tenant_id = r.tenant_id
   AND (r.last_stored_ms <= :settled_before_ms OR s.size >= :full_size
        OR EXISTS (SELECT 1 FROM object AS o WHERE o.row_id = s.row_id AND o.state = 0))
 GROUP BY s.row_id
 ORDER BY s.row_id
 LIMIT :limit"""

BACKLOG = """
SELECT count(*), coalesce(sum(s.size), 0), min(r.last_stored_ms)
  FROM segment AS s CROSS JOIN recording AS r
 WHERE s.state = 1 AND r.row_id = s.row_id"""

# A row for each local copy; one with NULLs if an object has none after all.
TO_EVICT = """
SELECT o.published_ms, o.row_id, o.first_number, o.last_number, t.name, r.name,
       s.number, s.state, s.size, s.first_ts, s.last_ts
  FROM (SELECT row_id, first_number, last_number, published_ms
          FROM object
         WHERE state = 1 AND has_local = 1 AND published_ms <= :published_before_ms
         ORDER BY published_ms, row_id, first_number
         LIMIT :limit) AS o
 CROSS JOIN recording AS r
 CROSS JOIN tenant AS t
  LEFT JOIN segment AS s
    ON s.row_id = o.row_id AND s.number BETWEEN o.first_number AND o.last_number AND s.state = 2
 WHERE r.row_id = o.row_id AND t.tenant_id = r.tenant_id"""

_AGES = """
SELECT r.row_id, t.name, r.name, r.created_ms, r.last_stored_ms, r.stored_bytes, r.next_seq - 1
  FROM recording AS r CROSS JOIN tenant AS t
 WHERE r.row_id > :after_row_id AND t.tenant_id = r.tenant_id{terms}
 ORDER BY r.row_id
 LIMIT :limit"""

OLDEST = _AGES.format(terms="")

# Walks the recordings of all tenants, so no further than up to :last_row_id.
OLDEST_OF_TENANT = _AGES.format(
    terms="""
   AND r.row_id <= :last_row_id AND r.tenant_id = (SELECT tenant_id FROM tenant WHERE name = :tenant)"""
)

# Of one whose recordings were all removed a row remains.
TENANTS = """
SELECT name, recordings, storage_bytes FROM tenant WHERE recordings > 0 OR storage_bytes > 0 ORDER BY name"""

_QUARANTINE = """
SELECT t.name, r.name, q.segment, q.block_offset, q.stored_ms, q.count, s.state, {object}
  FROM {tables}
  LEFT JOIN segment AS s ON s.row_id = q.row_id AND s.number = q.segment
  LEFT JOIN object AS o ON o.row_id = q.row_id AND o.first_number = q.segment AND o.state = 1
 WHERE r.row_id = q.row_id AND t.tenant_id = r.tenant_id{terms}
 ORDER BY {order}"""

# Of everybody, or of a tenant: walks all of the table, which bad lines alone make long.
QUARANTINE = _QUARANTINE.format(
    object=", ".join(_OBJECT),
    tables="quarantine AS q CROSS JOIN recording AS r CROSS JOIN tenant AS t",
    terms=" AND (:tenant IS NULL OR t.name = :tenant)",
    order="q.row_id, q.segment, q.block_offset",
)

# Of one recording id: in one tenant, or in each that has it.
QUARANTINE_OF_RECORDING = _QUARANTINE.format(
    object=", ".join(_OBJECT),
    tables="recording AS r CROSS JOIN tenant AS t CROSS JOIN quarantine AS q",
    terms=" AND r.name = :recording AND (:tenant IS NULL OR t.name = :tenant)",
    order="r.tenant_id, q.segment, q.block_offset",
)
