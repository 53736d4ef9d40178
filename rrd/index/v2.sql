-- The index, version 2: objects, and removal.
--
-- A recording's segments become objects in three steps: a run of sealed segments is planned, published, and
-- its local copies are evicted. What is stored is counted once: by its segments until the object is
-- published, by the object from then on. Steps are taken through views with INSTEAD OF triggers, as in
-- version 1, and deleting a row of `recording` takes everything along that there is of it.
--
-- segment.state: 0 active, 1 sealed, 2 rolled (a published object holds it; the local file may go). Which
-- segments an object is made of, its row says. Rows of `quarantine` with the number of a published object's
-- first segment point into that object.

-- When the newest block was stored. What version 1 knew of that time are quarantined blocks, metadata
-- and the beginning; so an old recording may seem to have ended earlier than it did, never later.
ALTER TABLE recording ADD COLUMN last_stored_ms INTEGER NOT NULL DEFAULT 0;

UPDATE recording SET last_stored_ms = max(
  created_ms,
  coalesce((SELECT max(q.stored_ms) FROM quarantine AS q WHERE q.row_id = recording.row_id), created_ms),
  coalesce((SELECT max(m.at_ms) FROM metadata AS m WHERE m.row_id = recording.row_id), created_ms));

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

-- What waits for the roll-up. A planned object's segments are sealed, so it is found here, too.
CREATE INDEX segment_sealed ON segment (state) WHERE state = 1;

-- What waits for eviction.
CREATE INDEX object_local ON object (published_ms) WHERE state = 1 AND has_local = 1;


DROP TRIGGER put_block_insert;

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
  UPDATE posting SET bits = bits & ~(1 << (old.row_id & 63))
   WHERE set_id = -old.tenant_id AND chunk = old.row_id >> 6;
  DELETE FROM posting WHERE set_id = -old.tenant_id AND chunk = old.row_id >> 6 AND bits = 0;
END;

CREATE TRIGGER metadata_loses_facet AFTER DELETE ON metadata
BEGIN
  UPDATE posting SET bits = bits & ~(1 << (old.row_id & 63)) WHERE set_id = old.facet_id AND chunk = old.row_id >> 6;
  DELETE FROM posting WHERE set_id = old.facet_id AND chunk = old.row_id >> 6 AND bits = 0;
  DELETE FROM facet WHERE facet_id = old.facet_id
     AND NOT EXISTS (SELECT 1 FROM posting WHERE set_id = old.facet_id);
END;
