"""What happened in a recording, and what lists are sorted by: written when an object is published.

``v4.sql`` says why not with each block.
"""

from __future__ import annotations

import sqlite3

from rrd.index.rows import SUMMARY_LEVELS_MAX, SUMMARY_URLS_MAX, SummaryRow
from rrd.index.sqlite.values import digest, to_blob, to_text

PUT_STANDING = "INSERT INTO put_standing (row_id) VALUES (?)"
PUT_SUMMARY = """
INSERT INTO summary (row_id, clicks, inputs, rage_bursts, first_url, activity, state)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (row_id) DO UPDATE SET
  clicks = excluded.clicks, inputs = excluded.inputs, rage_bursts = excluded.rage_bursts,
  first_url = excluded.first_url, activity = excluded.activity, state = excluded.state"""
PUT_ACTIVE = "UPDATE standing SET active_ms = ?, errors = ? WHERE row_id = ?"
URLS = """
SELECT f.value FROM summary_url AS u CROSS JOIN facet AS f
 WHERE u.row_id = ? AND f.facet_id = u.facet_id
 ORDER BY u.place"""
FORGET_URLS = "DELETE FROM summary_url WHERE row_id = ?"
PUT_URL = "INSERT INTO put_url (row_id, place, url, digest) VALUES (?, ?, ?, ?)"
TENANT = """
SELECT t.name FROM recording AS r CROSS JOIN tenant AS t WHERE r.row_id = ? AND t.tenant_id = r.tenant_id"""
READ = """
SELECT p.active_ms, s.clicks, s.inputs, p.errors, s.rage_bursts, s.first_url, s.activity, s.state
  FROM summary AS s CROSS JOIN standing AS p
 WHERE s.row_id = ? AND p.row_id = s.row_id"""


def put(db: sqlite3.Connection, row_id: int, summary: SummaryRow | None) -> None:
    """Take in, within a transaction, that an object of the recording is there.

    None leaves the summary as it is.
    """
    db.execute(PUT_STANDING, (row_id,))
    if summary is None:
        return
    assert len(summary.urls) <= SUMMARY_URLS_MAX, "a summary has too many urls"
    assert len(summary.activity) <= SUMMARY_LEVELS_MAX, "a summary has too many levels"
    first_url = None if summary.first_url is None else to_blob(summary.first_url)
    counts = (summary.clicks, summary.inputs, summary.rage_bursts)
    db.execute(PUT_SUMMARY, (row_id, *counts, first_url, summary.activity, summary.state))
    db.execute(PUT_ACTIVE, (summary.active_ms, summary.errors, row_id))
    urls = [to_blob(url) for url in dict.fromkeys(summary.urls)]
    if urls == [url for (url,) in db.execute(URLS, (row_id,))]:
        return
    db.execute(FORGET_URLS, (row_id,))
    ((tenant,),) = db.execute(TENANT, (row_id,))
    db.executemany(
        PUT_URL, [(row_id, place, url, digest(tenant, b"", url)) for place, url in enumerate(urls)]
    )


def read(db: sqlite3.Connection, row_id: int) -> SummaryRow | None:
    """Return the summary of a recording, in one state of the index."""
    found = db.execute(READ, (row_id,)).fetchone()
    if found is None:
        return None
    active_ms, clicks, inputs, errors, rage_bursts, first_url, activity, state = found
    urls = tuple(to_text(url) for (url,) in db.execute(URLS, (row_id,)))
    first_url = None if first_url is None else to_text(first_url)
    return SummaryRow(active_ms, clicks, inputs, errors, rage_bursts, first_url, urls, activity, state)
