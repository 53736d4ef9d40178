"""rrd: a self-hosted ingest server for rrweb session recordings.

``ARCHITECTURE.md`` says which thread does what, which locks there are, and what a crash leaves.

The way of an event, and where to read about each step::

    socket ─▶ http.ingest_ws ─message─▶ wire.decoder ─batch─▶ recordings ─block─▶ segment ─▶ index ─▶ ack
    body   ─▶ http.ingest_post ─chunk─▶      "                                       │
                                                   rollup: write, sync, publish, delete
                                                                                     ▼
    reader ◀─ http.events ◀─ playback (order, splice, stream; stored) ◀─ segment.reader ◀─ segments, objects

Modules, the lowest layer first; a layer imports only from lines before its own, and the
packages of line 3 never import each other (``tests/test_layers.py`` holds it):

1. words that all share: ``errors ids layout clock backoff config nesting extent`` · ``log`` (all that is
   logged) · ``metrics`` (all that is counted) · ``ownership`` (whose files they are) · ``handles`` and
   ``ceiling`` (who gets how many, and how much memory) · ``progress`` (a bar on a terminal)
2. ``disk`` (the one door to the operating system's files)
3. ``wire`` (bytes → batches, pure) · ``segment`` (blocks ↔ files, blocking) · ``index`` (SQLite view,
   async) · ``access`` (keys and signatures) · ``objects`` (object stores) · ``tombstones`` (what was erased)
4. ``audit`` (who changed what) · ``shelf`` (where a stored recording lies: in which segments and objects, and
   these in which places) · ``summary`` (what happened in a run of events, pure) · ``assets`` (what runs in
   browsers) · ``measures`` (what no stage counts)
5. ``recordings`` (open for writing: de-duplication, group commit, sealing) · ``shares`` (who gets how much) ·
   ``console`` (who may use the console, and what its pages may do)
6. ``playback`` (reading in order) · ``inventory`` (what there is, held against the index) · ``rollup``
   (segments → objects) · ``lifecycle`` (disk guard, retention, erasure) · ``care`` (verify, doctor,
   refusals) · ``readonly`` (data that can't be written to)
7. ``startup`` (start after a crash, and reindex) · ``backup`` · ``exchange`` (export, import)
8. ``http`` (thin shells around the above)
9. ``daemon`` (puts the parts together; start, stop, signals) · ``setup`` (from an installation to a first
event) · ``cli``

``async def`` begins where waiting begins: decoding, scanning, ordering and planning are plain functions.
"""

__version__ = "0.1.0"
