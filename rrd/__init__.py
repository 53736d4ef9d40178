"""rrd: a self-hosted ingest server for rrweb session recordings.

``ARCHITECTURE.md`` says which thread does what, which locks there are, and what a crash leaves.

The way of an event, and where to read about each step::

    socket ─▶ http.ingest_ws ─message─▶ wire.decoder ─batch─▶ recording ─block─▶ segment ─▶ index ─▶ ack
    body   ─▶ http.ingest_post ─chunk─▶      "                                       │
                                                   rollup: write, verify, publish, delete
                                                                                     ▼
    reader ◀─ http.reads ◀─ playback (order, splice, stream; stored) ◀─ segment.reader ◀─ segments, objects

Modules, from the bottom up; a layer imports only from layers above it in this list, and the
packages of line 3 never import each other (``tests/test_layers.py`` holds it):

1. words that all share: ``errors ids layout clock backoff config nesting extent`` · ``log`` (all that is
   logged, with ``redaction``, ``log_limit`` and ``traces``) · ``metrics`` (all that is counted) ·
   ``ownership`` (whose files they are) · ``handles`` and ``ceiling`` (who gets how many, and how much memory)
2. ``disk`` (the one door to the operating system's files)
3. ``wire`` (bytes → batches, pure) · ``segment`` (blocks ↔ files, blocking) · ``index`` (SQLite view,
   async) · ``access`` (keys and signatures) · ``objects`` (object stores) · ``tombstones`` (what was erased)
4. ``shelf`` (where a stored recording lies: in which segments and objects, and these in which places)
5. ``repeats`` and ``history`` (exact de-duplication: the rule, and what the files hold) · ``recording``
   (one open recording) · ``committer`` (group commit) · ``writes`` (whether they succeed) · ``registry``
   (all open recordings) · ``claims`` (who is busy with a recording's files) · ``readonly`` (data that can't
   be written to) · ``recovery``, ``catch_up``, ``rebuild`` (start after a crash, and reindex) · ``playback``
   (reading in order) · ``rollup`` (segments → objects) · ``lifecycle`` (disk guard, retention, erasure) ·
   ``care`` (verify, doctor, refusals) · ``shares`` (who gets how much) ·
   ``transfer`` (export, import, backup)
6. ``http`` (thin shells around the above)
7. ``assembly`` (puts the parts together) · ``memory`` (malloc) ·
   ``daemon`` (start, stop, signals) · ``cli``

``async def`` begins where waiting begins: decoding, scanning, ordering and planning are plain functions.
"""

__version__ = "0.1.0"
