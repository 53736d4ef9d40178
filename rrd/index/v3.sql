-- The index, version 3: sets of recordings in `members`, 512 row ids to a row; in `posting` it was 64.
--
-- A list walks rows of sets that it joins, and a row costs as much with one word of bits as with eight, nearly:
-- an eighth of the rows is a quarter of the time. A set of one recording is seven bytes longer, since a word of
-- zeros takes a byte.

DROP TRIGGER recording_becomes_visible;
DROP TRIGGER metadata_gains_facet;
DROP TRIGGER metadata_changes_facet;
DROP TRIGGER metadata_loses_facet;
DROP TRIGGER visible_recording_goes;

-- Bit b of word w of chunk c stands for row_id 512c + 64w + b. set_id is a facet_id, for the recordings that have
-- it (all visible, since metadata makes them so), or -tenant_id, for all visible recordings of a tenant.
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

INSERT INTO members
SELECT set_id, chunk >> 3,
       sum(CASE chunk & 7 WHEN 0 THEN bits ELSE 0 END),
       sum(CASE chunk & 7 WHEN 1 THEN bits ELSE 0 END),
       sum(CASE chunk & 7 WHEN 2 THEN bits ELSE 0 END),
       sum(CASE chunk & 7 WHEN 3 THEN bits ELSE 0 END),
       sum(CASE chunk & 7 WHEN 4 THEN bits ELSE 0 END),
       sum(CASE chunk & 7 WHEN 5 THEN bits ELSE 0 END),
       sum(CASE chunk & 7 WHEN 6 THEN bits ELSE 0 END),
       sum(CASE chunk & 7 WHEN 7 THEN bits ELSE 0 END)
  FROM posting
 GROUP BY set_id, chunk >> 3;

DROP TABLE posting;


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


CREATE TRIGGER recording_becomes_visible AFTER UPDATE OF visible ON recording WHEN new.visible > old.visible
BEGIN
  UPDATE tenant SET recordings = recordings + 1 WHERE tenant_id = new.tenant_id;
  -- strftime knows the years 0 to 9999; the rest is month 0.
  INSERT INTO month (tenant_id, month, recordings)
  VALUES (new.tenant_id, coalesce(CAST(strftime('%Y%m', new.created_ms / 1000, 'unixepoch') AS INTEGER), 0), 1)
  ON CONFLICT DO UPDATE SET recordings = recordings + 1;
  INSERT INTO put_member (set_id, row_id) VALUES (-new.tenant_id, new.row_id);
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

CREATE TRIGGER metadata_loses_facet AFTER DELETE ON metadata
BEGIN
  INSERT INTO take_member (set_id, row_id) VALUES (old.facet_id, old.row_id);
  DELETE FROM facet WHERE facet_id = old.facet_id
     AND NOT EXISTS (SELECT 1 FROM members WHERE set_id = old.facet_id);
END;
