"""What an index knew of a recording and its files no longer show, taken into the index that replaces it.

The rows of segments and objects that are gone stay, as they were: so a later look still learns that
they are missing, and numbers that were given are not given again.
"""

from __future__ import annotations

import sqlite3

from rrd.index.rows import RECORDING_COLUMNS, Kept
from rrd.index.sqlite import queries, summaries
from rrd.index.sqlite.values import digest, published_values, to_blob

_TENANT = "INSERT INTO tenant (name) VALUES (?) ON CONFLICT DO NOTHING"
_COLUMNS = RECORDING_COLUMNS.values()
_RECORDING = f"""
INSERT INTO recording (row_id, tenant_id, name, created_ms, next_seq, stored_bytes, {", ".join(_COLUMNS)})
SELECT ?, tenant_id, ?, ?, 1, 0, {", ".join("NULL" if column == "last_ts" else "0" for column in _COLUMNS)}
  FROM tenant WHERE name = ?
ON CONFLICT (row_id) DO NOTHING"""  # noqa: S608 - columns of ours
_AT_LEAST = ", ".join(
    f"{column} = coalesce(max({column}, :{field}), {column}, :{field})"
    for field, column in RECORDING_COLUMNS.items()
)
_COUNTERS = f"""
UPDATE recording
   SET next_seq = max(next_seq, :next_seq), stored_bytes = stored_bytes + :added_bytes,
       {_AT_LEAST}
 WHERE row_id = :row_id"""  # noqa: S608 - columns of ours
_TENANT_BYTES = "UPDATE tenant SET storage_bytes = storage_bytes + ? WHERE name = ?"
_SEGMENT_SIZE = "SELECT size FROM segment WHERE row_id = ? AND number = ?"
_SEGMENT = """
INSERT INTO segment (row_id, number, state, size, first_ts, last_ts) VALUES (?, ?, 1, ?, ?, ?)
ON CONFLICT (row_id, number) DO UPDATE SET
  state    = max(state, 1),
  size     = max(size, excluded.size),
  first_ts = coalesce(min(first_ts, excluded.first_ts), first_ts, excluded.first_ts),
  last_ts  = coalesce(max(last_ts, excluded.last_ts), last_ts, excluded.last_ts)"""
_OBJECT = f"""
INSERT INTO object (row_id, {", ".join(queries.PUBLISHED)}, state, has_local)
VALUES (?, {", ".join("?" * len(queries.PUBLISHED))}, 1, 0)"""  # noqa: S608 - columns of ours
_VISIBLE = "UPDATE recording SET visible = 1 WHERE row_id = ? AND visible = 0"
_VERSION = """
SELECT m.version FROM metadata AS m CROSS JOIN metadata_key AS k
 WHERE m.row_id = ? AND k.key = ? AND k.key_id = m.key_id"""
_SET_VERSION = """
UPDATE metadata SET version = ?
 WHERE row_id = ? AND key_id = (SELECT key_id FROM metadata_key WHERE key = ?)"""


def keep(db: sqlite3.Connection, kept: Kept) -> None:
    """Write it, within a transaction. What the index knows of the recording already is never lessened."""
    row_id = kept.row_id
    db.execute(_TENANT, (kept.tenant,))
    db.execute(_RECORDING, (row_id, kept.recording_id, kept.created_ms, kept.tenant))
    added_bytes = 0
    for segment in kept.segments:
        found = db.execute(_SEGMENT_SIZE, (row_id, segment.number)).fetchone()
        added_bytes += max(0, segment.size - (found[0] if found else 0))
        db.execute(_SEGMENT, (row_id, segment.number, segment.size, segment.first_ts, segment.last_ts))
    for entry in kept.objects:
        added_bytes += entry.size
        db.execute(_OBJECT, (row_id, *published_values(entry)))
    counters = {"row_id": row_id, "next_seq": kept.extent.limit_seq, "added_bytes": added_bytes}
    db.execute(_COUNTERS, kept.extent._asdict() | counters)
    db.execute(_TENANT_BYTES, (added_bytes, kept.tenant))
    if kept.objects:
        summaries.put(db, row_id, None)
    for each in kept.metadata:
        key, value = to_blob(each.key), to_blob(each.value)
        found = db.execute(_VERSION, (row_id, key)).fetchone()
        if found is None or found[0] < each.version:
            put = (row_id, key, value, digest(kept.tenant, key, value), each.at_ms)
            db.execute(queries.PUT_METADATA, put)
            db.execute(_SET_VERSION, (each.version, row_id, key))
    if kept.visible:
        db.execute(_VISIBLE, (row_id,))
