"""The index's statements. Each is a constant, so that SQLite prepares it once; a test reads their plans.

Those of the list are in ``listing.py``.
"""

from __future__ import annotations

PUT_BLOCK = """
INSERT INTO put_block (row_id, tenant, recording, created_ms, segment, segment_size, block_offset,
                       stored_ms, next_seq, first_ts, last_ts, raw_size, block_size, duplicate_count,
                       quarantine_count, visible)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

PUT_METADATA = "INSERT INTO put_metadata (row_id, key, value, digest, at_ms) VALUES (?, ?, ?, ?, ?)"

SEAL = "UPDATE segment SET state = 1 WHERE row_id = ? AND number = ?"

GREATEST_ROW_ID = "SELECT coalesce(max(row_id), 0) FROM recording"

IS_EMPTY = "SELECT NOT EXISTS (SELECT 1 FROM recording)"

# One statement, so one state of the index. The first column tells what a row is: 0 the recording
# itself, 1 a segment, 2 a metadata key. Parameters: :recording, :tenant.
RECORDING = """
SELECT 0, r.row_id, r.created_ms, r.next_seq, r.last_ts, r.visible
  FROM tenant AS t CROSS JOIN recording AS r
 WHERE t.name = :tenant AND r.name = :recording AND r.tenant_id = t.tenant_id
UNION ALL
SELECT 1, s.number, s.state, s.size, s.first_ts, s.last_ts
  FROM tenant AS t CROSS JOIN recording AS r CROSS JOIN segment AS s
 WHERE t.name = :tenant AND r.name = :recording AND r.tenant_id = t.tenant_id AND s.row_id = r.row_id
UNION ALL
SELECT 2, k.key, NULL, NULL, NULL, NULL
  FROM tenant AS t CROSS JOIN recording AS r CROSS JOIN metadata AS m CROSS JOIN metadata_key AS k
 WHERE t.name = :tenant AND r.name = :recording AND r.tenant_id = t.tenant_id AND m.row_id = r.row_id
   AND k.key_id = m.key_id"""

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

_QUARANTINE = """
SELECT t.name, r.name, q.segment, s.state, q.block_offset, q.stored_ms, q.count
  FROM {tables}
 WHERE r.row_id = q.row_id AND t.tenant_id = r.tenant_id
   AND s.row_id = q.row_id AND s.number = q.segment{terms}
 ORDER BY {order}"""

# Of everybody, or of a tenant: walks all of the table, which bad lines alone make long.
QUARANTINE = _QUARANTINE.format(
    tables="quarantine AS q CROSS JOIN recording AS r CROSS JOIN tenant AS t CROSS JOIN segment AS s",
    terms=" AND (:tenant IS NULL OR t.name = :tenant)",
    order="q.row_id, q.segment, q.block_offset",
)

# Of one recording id: in one tenant, or in each that has it.
QUARANTINE_OF_RECORDING = _QUARANTINE.format(
    tables="recording AS r CROSS JOIN tenant AS t CROSS JOIN quarantine AS q CROSS JOIN segment AS s",
    terms=" AND r.name = :recording AND (:tenant IS NULL OR t.name = :tenant)",
    order="r.tenant_id, q.segment, q.block_offset",
)
