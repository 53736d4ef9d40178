"""Ids for recordings that nothing names: made of what they hold.

The same events give the same id, whatever the file is called and however it is packed, so that a file that is
imported again, or an import that is continued, stores nothing twice. It takes one more reading of the file,
since the id must be known before the first event is sent.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable

from rrd.transfer.documents import Owner
from rrd.transfer.reading import Piece

_SPACE = b" \t\r"


class ContentIds:
    """The ids of one file's recordings."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        """Read all pieces of a file. Blocking. Raises what reading them raises."""
        self._contents: dict[Owner, _Content] = {}
        for piece in pieces:
            self._contents.setdefault(Owner(piece.recording, piece.window), _Content()).add(piece)
        windows: dict[str | None, set[str | None]] = {}
        for owner in self._contents:
            windows.setdefault(owner.recording, set()).add(owner.window)
        self._shared = {recording for recording, found in windows.items() if len(found) > 1}

    def id_of(self, owner: Owner) -> str:
        """Return the recording for what belongs to ``owner``.

        A recording that the file names keeps its id if its events come from one window. Events of several
        windows are several streams, which must not be mixed: each gets an id of its own.
        """
        if owner.recording is not None and owner.recording not in self._shared:
            return owner.recording
        named = f"{owner.recording}/{owner.window}" if owner.recording is not None else ""
        return self._contents[owner].id(named)


class _Content:
    """What belongs to one owner, as a hash that does not depend on where batches end."""

    def __init__(self) -> None:
        self._events = hashlib.sha256()
        self._metadata = hashlib.sha256()

    def add(self, piece: Piece) -> None:
        for line in piece.batch.payload.split(b"\n")[:-1]:
            self._events.update(line.strip(_SPACE) + b"\n")
        for event in piece.batch.metadata:
            self._metadata.update(event.raw.strip(_SPACE) + b"\n")

    def id(self, named: str) -> str:
        """Return a UUID of version 8 (RFC 9562, 5.8)."""
        if named:
            digest = hashlib.sha256(named.encode("utf-8", "surrogatepass")).digest()
        else:
            digest = hashlib.sha256(self._events.digest() + self._metadata.digest()).digest()
        number = int.from_bytes(digest[:16], "big")
        number = number & ~(0xF << 76) | 8 << 76
        return str(uuid.UUID(int=number & ~(0x3 << 62) | 0x2 << 62))
