-- The index, version 1. It is a view of the segment files: losing it loses nothing.
--
-- Written to through two views with INSTEAD OF triggers, `put_block` and `put_metadata`: one
-- inserted row is one whole step, counters and filter sets included, in the order of insertion.
-- So a group of blocks costs two statements, and no counter is kept up to date anywhere else.
--
-- Text that visitors choose (metadata keys and values) is stored as a BLOB of UTF-8 in which lone
-- surrogates may stand: JSON allows them, SQLite's TEXT does not.
--
-- Times are in ms since the epoch, sizes in bytes.

PRAGMA application_id = 0x72726469;  -- "rrdi"

CREATE TABLE tenant (
  tenant_id     INTEGER PRIMARY KEY,
  name          TEXT NOT NULL UNIQUE,
  recordings    INTEGER NOT NULL DEFAULT 0,  -- visible ones
  storage_bytes INTEGER NOT NULL DEFAULT 0   -- of all recordings
) STRICT;

-- How many visible recordings began in a month (UTC; 202411 is November 2024).
CREATE TABLE month (
  tenant_id  INTEGER NOT NULL,
  month      INTEGER NOT NULL,
  recordings INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, month)
) STRICT, WITHOUT ROWID;

CREATE TABLE recording (
  row_id       INTEGER PRIMARY KEY CHECK (row_id > 0),  -- in order of creation
  tenant_id    INTEGER NOT NULL,
  name         TEXT NOT NULL,
  created_ms   INTEGER NOT NULL,
  next_seq     INTEGER NOT NULL,
  last_ts      REAL,                                    -- NULL without events
  visible      INTEGER NOT NULL DEFAULT 0,              -- has events or metadata
  raw_bytes    INTEGER NOT NULL,
  stored_bytes INTEGER NOT NULL,
  duplicates   INTEGER NOT NULL,
  quarantined  INTEGER NOT NULL,
  UNIQUE (name, tenant_id)  -- name first: `rrd quarantine` may look for it without a tenant
) STRICT;

CREATE TABLE segment (
  row_id   INTEGER NOT NULL,
  number   INTEGER NOT NULL,
  state    INTEGER NOT NULL DEFAULT 0,  -- 0 active, 1 sealed
  size     INTEGER NOT NULL,            -- durable
  first_ts REAL,                        -- NULL without events
  last_ts  REAL,
  PRIMARY KEY (row_id, number)
) STRICT, WITHOUT ROWID;

-- Start-up asks for the active ones: few, however many are sealed.
CREATE INDEX segment_active ON segment (state) WHERE state = 0;

-- Blocks that hold quarantined lines.
CREATE TABLE quarantine (
  row_id       INTEGER NOT NULL,
  segment      INTEGER NOT NULL,
  block_offset INTEGER NOT NULL,
  stored_ms    INTEGER NOT NULL,
  count        INTEGER NOT NULL,
  PRIMARY KEY (row_id, segment, block_offset)
) STRICT, WITHOUT ROWID;

CREATE TABLE metadata_key (
  key_id INTEGER PRIMARY KEY,
  key    BLOB NOT NULL UNIQUE
) STRICT;

-- A facet is a value that some recordings of a tenant have for a key, stored once. It lives as
-- long as one recording has it. Found by a 64-bit digest, since values may be 4 KiB long; equal
-- digests are told apart by comparing the rest.
CREATE TABLE facet (
  facet_id  INTEGER PRIMARY KEY,
  digest    INTEGER NOT NULL,
  tenant_id INTEGER NOT NULL,
  key_id    INTEGER NOT NULL,
  value     BLOB NOT NULL
) STRICT;

CREATE INDEX facet_digest ON facet (digest);

CREATE TABLE metadata (
  row_id   INTEGER NOT NULL,
  key_id   INTEGER NOT NULL,
  facet_id INTEGER NOT NULL,
  version  INTEGER NOT NULL,
  at_ms    INTEGER NOT NULL,
  PRIMARY KEY (row_id, key_id)
) STRICT, WITHOUT ROWID;

-- Sets of recordings, 64 row ids to a row: bit b of chunk c stands for row_id 64c + b.
-- set_id is a facet_id, for the recordings that have it (all visible, since metadata makes them so),
-- or -tenant_id, for all visible recordings of a tenant.
CREATE TABLE posting (
  set_id INTEGER NOT NULL,
  chunk  INTEGER NOT NULL,
  bits   INTEGER NOT NULL,  -- never 0
  PRIMARY KEY (set_id, chunk)
) STRICT, WITHOUT ROWID;


CREATE VIEW put_block AS
SELECT 0 AS row_id, '' AS tenant, '' AS recording, 0 AS created_ms, 0 AS segment, 0 AS segment_size,
       0 AS block_offset, 0 AS stored_ms, 0 AS next_seq, 0.0 AS first_ts, 0.0 AS last_ts, 0 AS raw_size,
       0 AS block_size, 0 AS duplicate_count, 0 AS quarantine_count, 0 AS visible;

CREATE TRIGGER put_block_insert INSTEAD OF INSERT ON put_block
BEGIN
  SELECT RAISE(ABORT, 'this row_id belongs to another recording')
    FROM recording AS r JOIN tenant AS t USING (tenant_id)
   WHERE r.row_id = new.row_id AND (r.name <> new.recording OR t.name <> new.tenant);
  -- A block makes its segment longer. One that doesn't is stale, or told for the second time.
  SELECT RAISE(ABORT, 'the segment would not grow')
    FROM segment WHERE row_id = new.row_id AND number = new.segment AND size >= new.segment_size;
  SELECT RAISE(ABORT, 'the segment is sealed')
    FROM segment WHERE row_id = new.row_id AND number = new.segment AND state <> 0;

  INSERT INTO tenant (name) VALUES (new.tenant) ON CONFLICT DO NOTHING;
  UPDATE tenant SET storage_bytes = storage_bytes + new.block_size WHERE name = new.tenant;

  INSERT INTO recording (row_id, tenant_id, name, created_ms, next_seq, last_ts,
                         raw_bytes, stored_bytes, duplicates, quarantined)
  SELECT new.row_id, tenant_id, new.recording, new.created_ms, new.next_seq, new.last_ts,
         new.raw_size, new.block_size, new.duplicate_count, new.quarantine_count
    FROM tenant WHERE name = new.tenant
  ON CONFLICT (row_id) DO UPDATE SET
    next_seq     = excluded.next_seq,
    last_ts      = coalesce(max(last_ts, excluded.last_ts), last_ts, excluded.last_ts),
    raw_bytes    = raw_bytes + excluded.raw_bytes,
    stored_bytes = stored_bytes + excluded.stored_bytes,
    duplicates   = duplicates + excluded.duplicates,
    quarantined  = quarantined + excluded.quarantined;
  UPDATE recording SET visible = 1 WHERE row_id = new.row_id AND visible = 0 AND new.visible;

  INSERT INTO segment (row_id, number, size, first_ts, last_ts)
  VALUES (new.row_id, new.segment, new.segment_size, new.first_ts, new.last_ts)
  ON CONFLICT (row_id, number) DO UPDATE SET
    size     = excluded.size,
    first_ts = coalesce(min(first_ts, excluded.first_ts), first_ts, excluded.first_ts),
    last_ts  = coalesce(max(last_ts, excluded.last_ts), last_ts, excluded.last_ts);

  INSERT INTO quarantine (row_id, segment, block_offset, stored_ms, count)
  SELECT new.row_id, new.segment, new.block_offset, new.stored_ms, new.quarantine_count
   WHERE new.quarantine_count > 0;
END;

CREATE TRIGGER recording_becomes_visible AFTER UPDATE OF visible ON recording WHEN new.visible > old.visible
BEGIN
  UPDATE tenant SET recordings = recordings + 1 WHERE tenant_id = new.tenant_id;
  -- strftime knows the years 0 to 9999; the rest is month 0.
  INSERT INTO month (tenant_id, month, recordings)
  VALUES (new.tenant_id, coalesce(CAST(strftime('%Y%m', new.created_ms / 1000, 'unixepoch') AS INTEGER), 0), 1)
  ON CONFLICT DO UPDATE SET recordings = recordings + 1;
  INSERT INTO posting (set_id, chunk, bits) VALUES (-new.tenant_id, new.row_id >> 6, 1 << (new.row_id & 63))
  ON CONFLICT DO UPDATE SET bits = bits | excluded.bits;
END;


CREATE VIEW put_metadata AS SELECT 0 AS row_id, x'' AS key, x'' AS value, 0 AS digest, 0 AS at_ms;

CREATE TRIGGER put_metadata_insert INSTEAD OF INSERT ON put_metadata
BEGIN
  INSERT INTO metadata_key (key) VALUES (new.key) ON CONFLICT DO NOTHING;

  INSERT INTO facet (digest, tenant_id, key_id, value)
  SELECT new.digest, r.tenant_id, k.key_id, new.value
    FROM recording AS r CROSS JOIN metadata_key AS k
   WHERE r.row_id = new.row_id AND k.key = new.key
     AND NOT EXISTS (SELECT 1 FROM facet AS f WHERE f.digest = new.digest AND f.tenant_id = r.tenant_id
                                                AND f.key_id = k.key_id AND f.value = new.value);

  INSERT INTO metadata (row_id, key_id, facet_id, version, at_ms)
  SELECT r.row_id, k.key_id, f.facet_id, 1, new.at_ms
    FROM recording AS r CROSS JOIN metadata_key AS k CROSS JOIN facet AS f
   WHERE r.row_id = new.row_id AND k.key = new.key
     AND f.digest = new.digest AND f.tenant_id = r.tenant_id AND f.key_id = k.key_id AND f.value = new.value
  ON CONFLICT (row_id, key_id) DO UPDATE SET
    facet_id = excluded.facet_id, version = version + 1, at_ms = excluded.at_ms;
END;

CREATE TRIGGER metadata_gains_facet AFTER INSERT ON metadata
BEGIN
  INSERT INTO posting (set_id, chunk, bits) VALUES (new.facet_id, new.row_id >> 6, 1 << (new.row_id & 63))
  ON CONFLICT DO UPDATE SET bits = bits | excluded.bits;
END;

CREATE TRIGGER metadata_changes_facet AFTER UPDATE OF facet_id ON metadata WHEN new.facet_id <> old.facet_id
BEGIN
  UPDATE posting SET bits = bits & ~(1 << (old.row_id & 63)) WHERE set_id = old.facet_id AND chunk = old.row_id >> 6;
  DELETE FROM posting WHERE set_id = old.facet_id AND chunk = old.row_id >> 6 AND bits = 0;
  DELETE FROM facet WHERE facet_id = old.facet_id
     AND NOT EXISTS (SELECT 1 FROM posting WHERE set_id = old.facet_id);
  INSERT INTO posting (set_id, chunk, bits) VALUES (new.facet_id, new.row_id >> 6, 1 << (new.row_id & 63))
  ON CONFLICT DO UPDATE SET bits = bits | excluded.bits;
END;
