"""Proof and repair: what there is, whether it agrees, and how to mend it.

=================  ======================================================================
``survey.py``      segment files as they lie on disk, and which of their blocks the index lacks
``census.py``      objects as the store has them, read by their tables, many at a time
``spool.py``       what a census found, on disk until a rebuild knows all
``examine.py``     everything about one recording: each difference between index, files, objects
``contents.py``    all bytes of one recording
``verify.py``      all recordings: ``rrd verify``
``kept_aside.py``  quarantined lines
``doctor.py``      the story of one recording: ``rrd doctor``
=================  ======================================================================

Start-up and ``rrd reindex`` (``recovery``, ``rebuild``) stand on the first two.
"""
