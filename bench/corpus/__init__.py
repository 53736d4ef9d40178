"""Real recordings, and what is derived from them; ``README.md`` tells what is in them.

``real``         the recordings as they are
``scaled``       longer ones, many of them, and large snapshots, made of the same events
``record.mjs``   makes another recording, of any page, with a browser
"""

from bench.corpus.real import NAMES, lines_of, recordings, small_events
from bench.corpus.scaled import copies, large_snapshot, long_recording, many_recordings

__all__ = [
    "NAMES",
    "copies",
    "large_snapshot",
    "lines_of",
    "long_recording",
    "many_recordings",
    "recordings",
    "small_events",
]
