"""Proof that what a file or object holds is stored elsewhere, too: line for line, read to the last byte.

``rrd verify --mend`` removes nothing that holds events on less than this, or a recorded removal
(``docs/removal.md``). Blocking.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b

from rrd import layout
from rrd.care.census import LastRead
from rrd.care.contents import READ_AHEAD_BYTES
from rrd.errors import CorruptSegment, ObjectMissing
from rrd.segment.disk import Readable
from rrd.segment.reader import read_raw
from rrd.segment.scan import scan


def is_held_elsewhere(place: str, others: Iterable[str], *, disk: Readable, objects: Readable) -> bool:
    """Tell whether each intact line at ``place`` stands in one of ``others``, as often as it stands there.

    Places are paths of segments and keys of objects. Lines are events, and the notes of metadata and of
    quarantined lines. ``others`` must be whole. Memory: some 150 bytes for each line at ``place``. Raises
    ``StoreAway``.
    """
    try:
        lines, _ = _lines_of(place, disk, objects)
        for other in others if lines else ():
            held, is_whole = _lines_of(other, disk, objects)
            if not is_whole:
                return False
            lines -= held
    except (CorruptSegment, ObjectMissing, OSError):
        return False
    return not lines


def _lines_of(place: str, disk: Readable, objects: Readable) -> tuple[Counter[bytes], bool]:
    """Return the lines of all intact blocks, as digests, and whether nothing is wrong with the place."""
    files: Readable = disk
    if layout.parse_object_key(place) is not None:
        files = LastRead(objects, objects.size(place), window=READ_AHEAD_BYTES)
    looked = scan(files, place, deep=True)
    lines: Counter[bytes] = Counter()
    for header in looked.blocks:
        for raw in read_raw(files, place, header):
            lines.update(blake2b(line, digest_size=16).digest() for line in raw.split(b"\n")[:-1])
    return lines, looked.verdict == "clean"
