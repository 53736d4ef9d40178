-- The index, version 3. It is a view of segments and objects: losing it loses nothing.
--
-- Written to through views with INSTEAD OF triggers (`put_block`, `put_metadata`, `put_plan` and so on): one
-- inserted row is one whole step, counters and filter sets included, in the order of insertion. So a group of
-- blocks costs two statements, and no counter is kept up to date anywhere else. Deleting a row of `recording`
-- takes everything along that there is of it.
--
-- A recording's segments become objects in three steps: a run of sealed segments is planned, published, and
-- its local copies are evicted. What is stored is counted once: by its segments until the object is
-- published, by the object from then on.
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
  last_stored_ms INTEGER NOT NULL DEFAULT 0,            -- when the newest block was stored
  UNIQUE (name, tenant_id)  -- name first: `rrd quarantine` may look for it without a tenant
) STRICT;

CREATE TABLE segment (
  row_id   INTEGER NOT NULL,
  number   INTEGER NOT NULL,
  state    INTEGER NOT NULL DEFAULT 0,  -- 0 active, 1 sealed, 2 rolled: in a published object, the file may go
  size     INTEGER NOT NULL,            -- durable
  first_ts REAL,                        -- NULL without events
  last_ts  REAL,
  PRIMARY KEY (row_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE object (
  row_id            INTEGER NOT NULL,
  first_number      INTEGER NOT NULL,  -- of the first segment in it
  last_number       INTEGER NOT NULL,
  state             INTEGER NOT NULL DEFAULT 0,  -- 0 planned, 1 published
  has_local         INTEGER NOT NULL DEFAULT 1,  -- local copies were not evicted yet
  published_ms      INTEGER NOT NULL DEFAULT 0,
  last_segment_size INTEGER NOT NULL DEFAULT 0,  -- durable
  first_seq         INTEGER NOT NULL DEFAULT 0,
  event_count       INTEGER NOT NULL DEFAULT 0,
  size              INTEGER NOT NULL DEFAULT 0,
  crc32c            INTEGER NOT NULL DEFAULT 0,
  raw_size          INTEGER NOT NULL DEFAULT 0,
  first_ts          REAL,                        -- NULL without events
  last_ts           REAL,
  PRIMARY KEY (row_id, first_number)
) STRICT, WITHOUT ROWID;

-- Start-up asks for the active ones: few, however many are sealed.
CREATE INDEX segment_active ON segment (state) WHERE state = 0;

-- What waits for the roll-up. A planned object's segments are sealed, so it is found here, too.
CREATE INDEX segment_sealed ON segment (state) WHERE state = 1;

-- What waits for eviction.
CREATE INDEX object_local ON object (published_ms) WHERE state = 1 AND has_local = 1;

-- Blocks that hold quarantined lines. `segment` is the number of a local segment, or of a published object's
-- first one: then the block is in that object.
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

-- Sets of recordings, 512 row ids to a row: a list walks rows of sets that it joins, and a row costs nearly as
-- much with one word of bits as with eight. Bit b of word w of chunk c stands for row_id 512c + 64w + b. set_id is
-- a facet_id, for the recordings that have it (all visible, since metadata makes them so), or -tenant_id, for all
-- visible recordings of a tenant.
CREATE TABLE members (
  set_id INTEGER NOT NULL,
  chunk  INTEGER NOT NULL,
  bits0  INTEGER NOT NULL,  -- all eight are never 0 at once
  bits1  INTEGER NOT NULL,
  bits2  INTEGER NOT NULL,
  bits3  INTEGER NOT NULL,
  bits4  INTEGER NOT NULL,
  bits5  INTEGER NOT NULL,
  bits6  INTEGER NOT NULL,
  bits7  INTEGER NOT NULL,
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
                         raw_bytes, stored_bytes, duplicates, quarantined, last_stored_ms)
  SELECT new.row_id, tenant_id, new.recording, new.created_ms, new.next_seq, new.last_ts,
         new.raw_size, new.block_size, new.duplicate_count, new.quarantine_count, new.stored_ms
    FROM tenant WHERE name = new.tenant
  ON CONFLICT (row_id) DO UPDATE SET
    next_seq       = excluded.next_seq,
    last_ts        = coalesce(max(last_ts, excluded.last_ts), last_ts, excluded.last_ts),
    raw_bytes      = raw_bytes + excluded.raw_bytes,
    stored_bytes   = stored_bytes + excluded.stored_bytes,
    duplicates     = duplicates + excluded.duplicates,
    quarantined    = quarantined + excluded.quarantined,
    last_stored_ms = max(last_stored_ms, excluded.last_stored_ms);
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

-- Its local copy may be gone, so that no row of `segment` stands against a block told twice.
CREATE TRIGGER segment_begins AFTER INSERT ON segment WHEN new.state = 0
BEGIN
  SELECT RAISE(ABORT, 'the segment is in an object')
    FROM object WHERE row_id = new.row_id AND first_number <= new.number AND last_number >= new.number;
END;

CREATE TRIGGER recording_becomes_visible AFTER UPDATE OF visible ON recording WHEN new.visible > old.visible
BEGIN
  UPDATE tenant SET recordings = recordings + 1 WHERE tenant_id = new.tenant_id;
  -- strftime knows the years 0 to 9999; the rest is month 0.
  INSERT INTO month (tenant_id, month, recordings)
  VALUES (new.tenant_id, coalesce(CAST(strftime('%Y%m', new.created_ms / 1000, 'unixepoch') AS INTEGER), 0), 1)
  ON CONFLICT DO UPDATE SET recordings = recordings + 1;
  INSERT INTO put_member (set_id, row_id) VALUES (-new.tenant_id, new.row_id);
END;


-- Put a recording into a set, where it isn't yet.
CREATE VIEW put_member AS SELECT 0 AS set_id, 0 AS row_id;

CREATE TRIGGER put_member_insert INSTEAD OF INSERT ON put_member
BEGIN
  INSERT INTO members (set_id, chunk, bits0, bits1, bits2, bits3, bits4, bits5, bits6, bits7)
  VALUES (new.set_id, new.row_id >> 9,
          ((new.row_id >> 6 & 7) = 0) << (new.row_id & 63),
          ((new.row_id >> 6 & 7) = 1) << (new.row_id & 63),
          ((new.row_id >> 6 & 7) = 2) << (new.row_id & 63),
          ((new.row_id >> 6 & 7) = 3) << (new.row_id & 63),
          ((new.row_id >> 6 & 7) = 4) << (new.row_id & 63),
          ((new.row_id >> 6 & 7) = 5) << (new.row_id & 63),
          ((new.row_id >> 6 & 7) = 6) << (new.row_id & 63),
          ((new.row_id >> 6 & 7) = 7) << (new.row_id & 63))
  ON CONFLICT DO UPDATE SET
    bits0 = bits0 | excluded.bits0,
    bits1 = bits1 | excluded.bits1,
    bits2 = bits2 | excluded.bits2,
    bits3 = bits3 | excluded.bits3,
    bits4 = bits4 | excluded.bits4,
    bits5 = bits5 | excluded.bits5,
    bits6 = bits6 | excluded.bits6,
    bits7 = bits7 | excluded.bits7;
END;

-- Take a recording out of a set.
CREATE VIEW take_member AS SELECT 0 AS set_id, 0 AS row_id;

CREATE TRIGGER take_member_insert INSTEAD OF INSERT ON take_member
BEGIN
  UPDATE members SET
    bits0 = bits0 & ~(((new.row_id >> 6 & 7) = 0) << (new.row_id & 63)),
    bits1 = bits1 & ~(((new.row_id >> 6 & 7) = 1) << (new.row_id & 63)),
    bits2 = bits2 & ~(((new.row_id >> 6 & 7) = 2) << (new.row_id & 63)),
    bits3 = bits3 & ~(((new.row_id >> 6 & 7) = 3) << (new.row_id & 63)),
    bits4 = bits4 & ~(((new.row_id >> 6 & 7) = 4) << (new.row_id & 63)),
    bits5 = bits5 & ~(((new.row_id >> 6 & 7) = 5) << (new.row_id & 63)),
    bits6 = bits6 & ~(((new.row_id >> 6 & 7) = 6) << (new.row_id & 63)),
    bits7 = bits7 & ~(((new.row_id >> 6 & 7) = 7) << (new.row_id & 63))
   WHERE set_id = new.set_id AND chunk = new.row_id >> 9;
  DELETE FROM members
   WHERE set_id = new.set_id AND chunk = new.row_id >> 9
     AND bits0 = 0 AND bits1 = 0 AND bits2 = 0 AND bits3 = 0
     AND bits4 = 0 AND bits5 = 0 AND bits6 = 0 AND bits7 = 0;
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
  INSERT INTO put_member (set_id, row_id) VALUES (new.facet_id, new.row_id);
END;

CREATE TRIGGER metadata_changes_facet AFTER UPDATE OF facet_id ON metadata WHEN new.facet_id <> old.facet_id
BEGIN
  INSERT INTO take_member (set_id, row_id) VALUES (old.facet_id, old.row_id);
  DELETE FROM facet WHERE facet_id = old.facet_id
     AND NOT EXISTS (SELECT 1 FROM members WHERE set_id = old.facet_id);
  INSERT INTO put_member (set_id, row_id) VALUES (new.facet_id, new.row_id);
END;


CREATE VIEW put_plan AS SELECT 0 AS row_id, 0 AS first_number, 0 AS last_number;

CREATE TRIGGER put_plan_insert INSTEAD OF INSERT ON put_plan
WHEN NOT EXISTS (SELECT 1 FROM object WHERE row_id = new.row_id AND first_number = new.first_number
                                        AND last_number = new.last_number AND state = 0)
BEGIN
  SELECT RAISE(ABORT, 'some of these segments are not sealed, or not there')
   WHERE new.last_number < new.first_number
      OR new.last_number - new.first_number + 1 <>
         (SELECT count(*) FROM segment WHERE row_id = new.row_id AND state = 1
                                         AND number BETWEEN new.first_number AND new.last_number);
  SELECT RAISE(ABORT, 'some of these segments are in another object')
    FROM object WHERE row_id = new.row_id AND first_number <= new.last_number AND last_number >= new.first_number;
  INSERT INTO object (row_id, first_number, last_number) VALUES (new.row_id, new.first_number, new.last_number);
END;


CREATE VIEW put_published AS
SELECT 0 AS row_id, 0 AS first_number, 0 AS last_number, 0 AS last_segment_size, 0 AS first_seq, 0 AS event_count,
       0 AS size, 0 AS crc32c, 0 AS raw_size, 0.0 AS first_ts, 0.0 AS last_ts, 0 AS published_ms;

CREATE TRIGGER put_published_insert INSTEAD OF INSERT ON put_published
BEGIN
  SELECT RAISE(ABORT, 'no such object is planned')
   WHERE NOT EXISTS (SELECT 1 FROM object WHERE row_id = new.row_id AND first_number = new.first_number
                                            AND last_number = new.last_number AND state = 0);

  UPDATE tenant
     SET storage_bytes = storage_bytes + new.size
         - (SELECT sum(s.size) FROM segment AS s WHERE s.row_id = new.row_id
                                                   AND s.number BETWEEN new.first_number AND new.last_number)
   WHERE tenant_id = (SELECT r.tenant_id FROM recording AS r WHERE r.row_id = new.row_id);
  UPDATE recording
     SET stored_bytes = stored_bytes + new.size
         - (SELECT sum(s.size) FROM segment AS s WHERE s.row_id = new.row_id
                                                   AND s.number BETWEEN new.first_number AND new.last_number)
   WHERE row_id = new.row_id;

  UPDATE segment SET state = 2 WHERE row_id = new.row_id AND number BETWEEN new.first_number AND new.last_number;
  -- Those in the object are told next.
  DELETE FROM quarantine
   WHERE row_id = new.row_id AND segment BETWEEN new.first_number AND new.last_number;
  UPDATE object SET
    state = 1, has_local = 1, published_ms = new.published_ms, last_segment_size = new.last_segment_size,
    first_seq = new.first_seq, event_count = new.event_count, size = new.size, crc32c = new.crc32c,
    raw_size = new.raw_size, first_ts = new.first_ts, last_ts = new.last_ts
   WHERE row_id = new.row_id AND first_number = new.first_number;
END;


-- An object that was found in the store, with all that its blocks had to say but metadata and quarantine.
CREATE VIEW put_found AS
SELECT 0 AS row_id, '' AS tenant, '' AS recording, 0 AS created_ms, 0 AS stored_ms, 0 AS next_seq,
       0 AS duplicate_count, 0 AS quarantine_count, 0 AS visible, 0 AS has_local,
       0 AS first_number, 0 AS last_number, 0 AS last_segment_size, 0 AS first_seq, 0 AS event_count,
       0 AS size, 0 AS crc32c, 0 AS raw_size, 0.0 AS first_ts, 0.0 AS last_ts, 0 AS published_ms;

CREATE TRIGGER put_found_insert INSTEAD OF INSERT ON put_found
BEGIN
  SELECT RAISE(ABORT, 'this row_id belongs to another recording')
    FROM recording AS r JOIN tenant AS t USING (tenant_id)
   WHERE r.row_id = new.row_id AND (r.name <> new.recording OR t.name <> new.tenant);
  SELECT RAISE(ABORT, 'a segment of this object is known')
    FROM segment WHERE row_id = new.row_id AND number BETWEEN new.first_number AND new.last_number;
  SELECT RAISE(ABORT, 'some of its segments are in another object')
    FROM object WHERE row_id = new.row_id AND first_number <= new.last_number AND last_number >= new.first_number;

  INSERT INTO tenant (name) VALUES (new.tenant) ON CONFLICT DO NOTHING;
  UPDATE tenant SET storage_bytes = storage_bytes + new.size WHERE name = new.tenant;

  INSERT INTO recording (row_id, tenant_id, name, created_ms, next_seq, last_ts,
                         raw_bytes, stored_bytes, duplicates, quarantined, last_stored_ms)
  SELECT new.row_id, tenant_id, new.recording, new.created_ms, new.next_seq, new.last_ts,
         new.raw_size, new.size, new.duplicate_count, new.quarantine_count, new.stored_ms
    FROM tenant WHERE name = new.tenant
  ON CONFLICT (row_id) DO UPDATE SET
    next_seq       = max(next_seq, excluded.next_seq),
    last_ts        = coalesce(max(last_ts, excluded.last_ts), last_ts, excluded.last_ts),
    raw_bytes      = raw_bytes + excluded.raw_bytes,
    stored_bytes   = stored_bytes + excluded.stored_bytes,
    duplicates     = duplicates + excluded.duplicates,
    quarantined    = quarantined + excluded.quarantined,
    last_stored_ms = max(last_stored_ms, excluded.last_stored_ms);
  UPDATE recording SET visible = 1 WHERE row_id = new.row_id AND visible = 0 AND new.visible;

  INSERT INTO object (row_id, first_number, last_number, state, has_local, published_ms, last_segment_size,
                      first_seq, event_count, size, crc32c, raw_size, first_ts, last_ts)
  VALUES (new.row_id, new.first_number, new.last_number, 1, new.has_local, new.published_ms,
          new.last_segment_size, new.first_seq, new.event_count, new.size, new.crc32c, new.raw_size,
          new.first_ts, new.last_ts);
END;


CREATE VIEW put_evicted AS SELECT 0 AS row_id, 0 AS first_number;

CREATE TRIGGER put_evicted_insert INSTEAD OF INSERT ON put_evicted
BEGIN
  DELETE FROM segment
   WHERE row_id = new.row_id AND number >= new.first_number AND state = 2
     AND number <= (SELECT o.last_number FROM object AS o
                     WHERE o.row_id = new.row_id AND o.first_number = new.first_number);
  UPDATE object SET has_local = 0 WHERE row_id = new.row_id AND first_number = new.first_number AND state = 1;
END;


CREATE TRIGGER recording_goes AFTER DELETE ON recording
BEGIN
  DELETE FROM metadata WHERE row_id = old.row_id;
  DELETE FROM quarantine WHERE row_id = old.row_id;
  DELETE FROM segment WHERE row_id = old.row_id;
  DELETE FROM object WHERE row_id = old.row_id;
  UPDATE tenant SET storage_bytes = storage_bytes - old.stored_bytes, recordings = recordings - old.visible
   WHERE tenant_id = old.tenant_id;
END;

CREATE TRIGGER visible_recording_goes AFTER DELETE ON recording WHEN old.visible
BEGIN
  UPDATE month SET recordings = recordings - 1
   WHERE tenant_id = old.tenant_id
     AND month = coalesce(CAST(strftime('%Y%m', old.created_ms / 1000, 'unixepoch') AS INTEGER), 0);
  DELETE FROM month
   WHERE tenant_id = old.tenant_id AND recordings = 0
     AND month = coalesce(CAST(strftime('%Y%m', old.created_ms / 1000, 'unixepoch') AS INTEGER), 0);
  INSERT INTO take_member (set_id, row_id) VALUES (-old.tenant_id, old.row_id);
END;

CREATE TRIGGER metadata_loses_facet AFTER DELETE ON metadata
BEGIN
  INSERT INTO take_member (set_id, row_id) VALUES (old.facet_id, old.row_id);
  DELETE FROM facet WHERE facet_id = old.facet_id
     AND NOT EXISTS (SELECT 1 FROM members WHERE set_id = old.facet_id);
END;
