"""Recordings out and in: export and import.

================  ==================================================================
``lines.py``      a recording's events as lines, just as their senders wrote them
``export.py``     which recordings are wanted, each ready to be read
``targets.py``    where they go: a stream, or a directory
``page.py``       a recording as a page that replays it
``sidecar.py``    what such a directory says about each recording
``files.py``      which files an import reads
``archives.py``   zip and tar files → the files in them
``unpacking.py``  a file's bytes → JSON text: compression and encodings come off
``foreign.py``    files without events: what they are, and what would help
``shapes.py``     what a JSON value is: an event, something that holds some, or neither
``documents.py``  JSON documents in pieces → events
``vendors.py``    events that a recorder writes otherwise → as rrweb has them
``origins.py``    what documents say about their events; which names are ids; ids made of events
``owners.py``     whose each event is, going by where it stands
``reading.py``    any file of rrweb events → checked events, and whose they are
``spool.py``      one file's events, sorted by recording
``posting.py``    events → a running daemon, over HTTP
``intake.py``     the import as a whole: files, keys, what to tell
================  ==================================================================

Both go on beside a daemon that may be running: an export reads the files under it, an import is a sender
like any other.
"""
