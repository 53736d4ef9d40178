"""One file's events, sorted by recording, on disk until it is known whose they all are.

What a recording is called may show at a file's end, or, where it is made of the events themselves, only when
all were read. And all of a recording's events have to go in one body, even if a file deals them out in turns
among several: equal events of one body are different events, those of two bodies are repeats.

So a file is read once, into an unnamed temporary file: zstd frames of up to ``batch_bytes``, each
of events of one owner, which can be sent as they are. In memory are an entry for each frame, and what is not
yet in one: ``WAITING_BYTES_MAX`` at most.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import zstandard

from rrd.exchange.origins import ContentId, ParseId, Said, named_id, window_id
from rrd.exchange.owners import Owner
from rrd.wire.events import Batch

BATCH_BYTES = 1 << 20
"""Events are checked, and then compressed, so many together."""

WAITING_BYTES_MAX = 16 << 20


class Frame(NamedTuple):
    """Some events of one owner, in the file."""

    number: int
    offset: int
    size: int
    raw_bytes: int
    first_ts: float
    last_ts: float
    """``-inf`` and ``inf`` turned round where there are no events."""
    is_metadata: bool


class Bundle(NamedTuple):
    """All frames of one recording, in the order in which the file had its events."""

    recording_id: str
    is_made: bool
    """Nothing told the recording: its id is made of the events."""
    metadata: tuple[tuple[str, str], ...]
    window: str | None
    frames: list[Frame]


class _Waiting:
    """Lines of one owner, and of one sort, that are not in a frame yet."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.first_ts = float("inf")
        self.last_ts = float("-inf")


class BodySpool:
    """Use as a context manager. Blocking; raises ``OSError`` where the temporary file can't be written."""

    def __init__(self, *, batch_bytes: int = BATCH_BYTES) -> None:
        self._batch_bytes = batch_bytes
        self._file = tempfile.TemporaryFile(prefix="rrd-import-")  # noqa: SIM115 - closed by __exit__
        # The quickest level: a daemon on the same machine needs the processor more than the socket does.
        self._compressor = zstandard.ZstdCompressor(level=1)
        self._waiting: dict[tuple[Owner, bool], _Waiting] = {}
        self._waiting_bytes = 0
        self._frames: dict[Owner, list[Frame]] = {}
        self._unnamed: dict[str | None, Owner] = {}
        """By window, the owner without a recording to whom events were added last."""
        self._count = 0
        self._size = 0

    def __enter__(self) -> BodySpool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, owner: Owner, batch: Batch) -> None:
        """Take a batch's events and metadata in; what was refused in it is not kept."""
        self._frames.setdefault(owner, [])
        if batch.metadata:
            text = b"".join([event.raw + b"\n" for event in batch.metadata])
            self._put(owner, text, batch, is_metadata=True)
        if batch.event_count:
            self._put(owner, batch.payload, batch, is_metadata=False)

    def bundles(self, parse_id: ParseId, *, session: str | None = None) -> list[Bundle]:
        """Return all recordings, each once: nothing more is added after that.

        ``session``: of windows whose document doesn't tell theirs.
        """
        for owner, is_metadata in list(self._waiting):
            self._write(owner, is_metadata=is_metadata)
        return _Naming(self, parse_id, session).bundles(self._frames)

    def packed(self, frame: Frame) -> bytes:
        """Return a frame, compressed with zstd."""
        self._file.seek(frame.offset)
        return self._file.read(frame.size)

    def lines(self, frame: Frame) -> bytes:
        """Return a frame's lines, each ended by LF."""
        return zstandard.ZstdDecompressor().decompress(self.packed(frame))

    def _put(self, owner: Owner, text: bytes, batch: Batch, *, is_metadata: bool) -> None:
        self._keep_order(owner)
        waiting = self._waiting.setdefault((owner, is_metadata), _Waiting())
        waiting.parts.append(text)
        waiting.size += len(text)
        self._waiting_bytes += len(text)
        if not is_metadata:
            waiting.first_ts = min(waiting.first_ts, batch.first_ts)
            waiting.last_ts = max(waiting.last_ts, batch.last_ts)
        if waiting.size >= self._batch_bytes:
            self._write(owner, is_metadata=is_metadata)
        if self._waiting_bytes > WAITING_BYTES_MAX:
            for other, sort in list(self._waiting):
                self._write(other, is_metadata=sort)

    def _keep_order(self, owner: Owner) -> None:
        """Let frames without a name be in the file's order, on which their recording's id depends."""
        if owner.recording_id is not None:
            return
        before = self._unnamed.get(owner.window, owner)
        self._unnamed[owner.window] = owner
        if before != owner:
            for is_metadata in (False, True):
                if (before, is_metadata) in self._waiting:
                    self._write(before, is_metadata=is_metadata)

    def _write(self, owner: Owner, *, is_metadata: bool) -> None:
        waiting = self._waiting.pop((owner, is_metadata))
        self._waiting_bytes -= waiting.size
        packed = self._compressor.compress(b"".join(waiting.parts))
        self._file.seek(self._size)
        self._file.write(packed)
        self._frames[owner].append(
            Frame(
                self._count,
                self._size,
                len(packed),
                waiting.size,
                waiting.first_ts,
                waiting.last_ts,
                is_metadata,
            )
        )
        self._count += 1
        self._size += len(packed)


class _Naming:
    """Gives each owner's events their recording, once all of a file was read."""

    def __init__(self, spool: BodySpool, parse_id: ParseId, session: str | None) -> None:
        self._spool = spool
        self._session = session
        self._parse_id = parse_id
        self._first_windows: dict[str, str] = {}
        """The window that each session's events begin with: it keeps the session's id."""

    def bundles(self, frames: dict[Owner, list[Frame]]) -> list[Bundle]:
        groups: dict[object, list[tuple[Owner, Said, str | None]]] = {}
        for owner in frames:
            said = owner.origin.said(self._parse_id)
            if owner.window is not None:
                said = said._replace(session=said.session or self._session)
            recording_id = owner.recording_id or self._told(said, owner.window)
            # Without a name, those belong together that stand in the same window, or in none.
            key = recording_id if recording_id is not None else (owner.window,)
            groups.setdefault(key, []).append((owner, said, recording_id))
        found = []
        for members in groups.values():
            together = sorted(frame for owner, _, _ in members for frame in frames[owner])
            if not together:
                continue
            owner, said, recording_id = members[0]
            metadata = dict(pair for _, known, _ in members for pair in known.metadata)
            if owner.window is not None and owner.recording_id is None:
                metadata["windowId"] = owner.window
                if said.session is not None:
                    metadata.setdefault("sessionId", said.session)
            found.append(
                Bundle(
                    recording_id or self._made(together, owner.window),
                    recording_id is None,
                    tuple(metadata.items()),
                    owner.window,
                    together,
                )
            )
        return found

    def _told(self, said: Said, window: str | None) -> str | None:
        """Return the recording that a document tells; None if it tells none."""
        if window is None or said.session is None:
            return said.session or (named_id(window, self._parse_id) if window is not None else None)
        if self._first_windows.setdefault(said.session, window) == window:
            return said.session
        return window_id(said.session, window)

    def _made(self, frames: Iterable[Frame], window: str | None) -> str:
        content = ContentId(window)
        for frame in frames:
            content.add(self._spool.lines(frame), is_metadata=frame.is_metadata)
        return content.value()


def bodies(frames: Iterable[Frame], *, bytes_max: int) -> Iterator[list[Frame]]:
    """Yield runs of frames that make a body each.

    A body ends only where timestamps go up: equal lines, whose timestamps are equal, are never parted.
    """
    body: list[Frame] = []
    size, last_ts = 0, float("-inf")
    for frame in frames:
        if body and size >= bytes_max and frame.first_ts > last_ts and not frame.is_metadata:
            yield body
            body, size = [], 0
        body.append(frame)
        size += frame.raw_bytes
        last_ts = max(last_ts, frame.last_ts)
    if body:
        yield body
