"""Recordings out and in: export, import, backup, restore.

================  ==================================================================
``lines.py``      a recording's events as lines, just as their senders wrote them
``export.py``     which recordings are wanted, each ready to be read
``targets.py``    where they go: a stream, or a directory
``sidecar.py``    what such a directory says about each recording
``reading.py``    any file of rrweb events → checked events, and whose they are
``documents.py``  JSON documents in pieces → events
``posting.py``    events → a running daemon, over HTTP
``intake.py``     the import as a whole: files, keys, what to tell
``staging.py``    hard links that keep segments while a backup is made
``contents.py``   what an index says must be in a backup
``manifest.py``   what a backup says about itself, and files with checksums
``backup.py``     a consistent copy of a data directory in use
``restore.py``    such a copy → a data directory
``progress.py``   a bar on a terminal
================  ==================================================================

Each is used by one command, beside a daemon that may be running: export and backup read the files
under it, an import is a sender like any other.
"""
