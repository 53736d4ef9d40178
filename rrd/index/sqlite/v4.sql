-- Version 4: what happened in a recording, and what lists are sorted by.
--
-- Both are written when an object is published, and not with each block: columns that change with a block would
-- cost each block a B-tree update for each index on them. A recording that is in no object has no row here.

-- From the events in its objects. Wide, so that lists which don't show it never read it.
CREATE TABLE summary (
  row_id      INTEGER PRIMARY KEY,
  clicks      INTEGER NOT NULL,
  inputs      INTEGER NOT NULL,
  rage_bursts INTEGER NOT NULL,
  first_url   BLOB,              -- NULL without any
  activity    BLOB NOT NULL,
  state       BLOB NOT NULL      -- what merging with a later object takes
) STRICT;

-- The urls of a recording, each of which is a facet of the key 0, which no metadata has: so a url has its set of
-- recordings in `members`.
CREATE TABLE summary_url (
  row_id   INTEGER NOT NULL,
  place    INTEGER NOT NULL,     -- its place among the recording's urls, from 0
  facet_id INTEGER NOT NULL,
  PRIMARY KEY (row_id, place)
) STRICT, WITHOUT ROWID;

-- What lists are sorted and filtered by, as of the last object. Narrow: each index has all that its sort reads.
CREATE TABLE standing (
  row_id      INTEGER PRIMARY KEY,
  tenant_id   INTEGER NOT NULL,
  duration_ms REAL,              -- NULL without events
  raw_bytes   INTEGER NOT NULL,
  active_ms   INTEGER,           -- NULL without a summary
  errors      INTEGER            -- NULL without a summary
) STRICT;

-- Of all that have objects already.
INSERT INTO standing (row_id, tenant_id, duration_ms, raw_bytes)
SELECT r.row_id, r.tenant_id, max(o.last_ts) - min(o.first_ts), r.raw_bytes
  FROM recording AS r CROSS JOIN object AS o
 WHERE o.row_id = r.row_id AND o.state = 1
 GROUP BY r.row_id;

CREATE INDEX standing_duration ON standing (tenant_id, duration_ms) WHERE duration_ms IS NOT NULL;
CREATE INDEX standing_bytes ON standing (tenant_id, raw_bytes);
CREATE INDEX standing_active ON standing (tenant_id, active_ms) WHERE active_ms IS NOT NULL;
CREATE INDEX standing_errors ON standing (tenant_id, errors) WHERE errors IS NOT NULL;

-- When recordings began. Set once for each.
CREATE INDEX recording_created ON recording (tenant_id, created_ms);

-- Which keys and values a tenant has, by name; the urls (key 0) that begin alike.
CREATE INDEX facet_value ON facet (tenant_id, key_id, value);


CREATE VIEW put_url AS SELECT 0 AS row_id, 0 AS place, x'' AS url, 0 AS digest;

CREATE TRIGGER put_url_insert INSTEAD OF INSERT ON put_url
BEGIN
  INSERT INTO facet (digest, tenant_id, key_id, value)
  SELECT new.digest, r.tenant_id, 0, new.url
    FROM recording AS r
   WHERE r.row_id = new.row_id
     AND NOT EXISTS (SELECT 1 FROM facet AS f WHERE f.digest = new.digest AND f.tenant_id = r.tenant_id
                                                AND f.key_id = 0 AND f.value = new.url);

  INSERT INTO summary_url (row_id, place, facet_id)
  SELECT r.row_id, new.place, f.facet_id
    FROM recording AS r CROSS JOIN facet AS f
   WHERE r.row_id = new.row_id
     AND f.digest = new.digest AND f.tenant_id = r.tenant_id AND f.key_id = 0 AND f.value = new.url;
END;

CREATE TRIGGER summary_gains_url AFTER INSERT ON summary_url
BEGIN
  INSERT INTO put_member (set_id, row_id) VALUES (new.facet_id, new.row_id);
END;

CREATE TRIGGER summary_loses_url AFTER DELETE ON summary_url
BEGIN
  INSERT INTO take_member (set_id, row_id) VALUES (old.facet_id, old.row_id);
  DELETE FROM facet WHERE facet_id = old.facet_id
     AND NOT EXISTS (SELECT 1 FROM members WHERE set_id = old.facet_id);
END;


-- An object of the recording was published, or found: how it stands now. What of it is not in an object counts
-- as far as it is known.
CREATE VIEW put_standing AS SELECT 0 AS row_id;

CREATE TRIGGER put_standing_insert INSTEAD OF INSERT ON put_standing
BEGIN
  INSERT INTO standing (row_id, tenant_id, duration_ms, raw_bytes)
  SELECT r.row_id, r.tenant_id,
         r.last_ts - min(coalesce((SELECT min(o.first_ts) FROM object AS o WHERE o.row_id = r.row_id), 1e999),
                         coalesce((SELECT min(s.first_ts) FROM segment AS s WHERE s.row_id = r.row_id), 1e999)),
         r.raw_bytes
    FROM recording AS r
   WHERE r.row_id = new.row_id
  ON CONFLICT (row_id) DO UPDATE SET duration_ms = excluded.duration_ms, raw_bytes = excluded.raw_bytes;
END;


CREATE TRIGGER recording_goes_with_its_summary AFTER DELETE ON recording
BEGIN
  DELETE FROM summary_url WHERE row_id = old.row_id;
  DELETE FROM summary WHERE row_id = old.row_id;
  DELETE FROM standing WHERE row_id = old.row_id;
END;
