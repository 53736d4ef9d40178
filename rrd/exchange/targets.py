"""Where an export goes: one stream, or a directory with a file for each recording.

Files are written under other names and renamed when they are whole. Of what goes to stdout nothing can be
taken back.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from typing import IO, NamedTuple, Protocol

import zstandard

from rrd.disk import files
from rrd.errors import RrdError
from rrd.exchange.sidecar import (
    EVENTS_SUFFIX,
    META_SUFFIX,
    MetadataValue,
    Sidecar,
    encode_sidecar,
    read_sidecar,
)
from rrd.playback.table import ALWAYS, Between
from rrd.progress import Progress

STDOUT = "-"
_PART = ".part"
_LEVEL = 3
"""Of zstd, in a directory: as fast as events are read. What is to be kept for years may be packed again."""


class ExportStopped(Exception):
    """Somebody wants the export to end."""


class Recorded(Protocol):
    """One recording, ready to be read."""

    tenant: str
    recording_id: str
    created_ms: int
    stored_events: int
    raw_bytes: int
    """Of all its lines, whatever the range."""
    between: Between
    metadata: list[MetadataValue]
    missing_events: int
    """Damaged or lost ones, where it is salvaged. Known once its lines are read."""

    def lines(self) -> Iterator[list[bytes]]:
        """Yield its lines without their LFs. Blocking; raises ``RrdError``."""
        ...

    def page(self) -> Iterator[bytes]:
        """Yield a page that replays it. Blocking; raises ``RrdError``."""
        ...


class Written(NamedTuple):
    events: int
    raw_bytes: int


class Target:
    """What both have in common. ``stop`` and ``discard`` may be called from any thread."""

    is_stream = True

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._stopping = threading.Event()

    def has(self, recorded: Recorded) -> bool:
        """Tell whether a recording is there already, whole, so that it needn't be put."""
        return False

    def put(self, recorded: Recorded) -> None:
        """Write one recording. Blocking. ``RrdError``: it can't be read; ``OSError``: it can't be written."""
        raise NotImplementedError

    def close(self, *, whole: bool) -> None:
        """Everything was put; ``whole``: nothing went wrong with any."""

    def discard(self) -> None:
        """Leave nothing unfinished behind. Does nothing after ``close``."""

    def stop(self) -> None:
        """Make a ``put`` in another thread end soon, with ``ExportStopped``."""
        self._stopping.set()

    def _write(self, recorded: Recorded, output: IO[bytes], between: bytes, end: bytes) -> Written:
        """Write lines: ``between`` any two of them, ``end`` behind the last one."""
        events = raw_bytes = 0
        for lines in recorded.lines():
            if self._stopping.is_set():
                raise ExportStopped
            text = between.join(lines)
            output.write(between + text if events else text)
            size = sum(map(len, lines)) + len(lines)
            events += len(lines)
            raw_bytes += size
            self._progress.add(size)
        if events:
            output.write(end)
        return Written(events, raw_bytes)


class StreamTarget(Target):
    """One file, or stdout. In a file, a recording that turns out to be damaged leaves no trace."""

    def __init__(self, path: str, progress: Progress, *, is_json: bool, is_one: bool) -> None:
        """``is_one``: there will be one recording, which needs no name."""
        super().__init__(progress)
        self._path = path
        self._is_json = is_json
        self._is_one = is_one
        self._count = 0
        self._is_stdout = path == STDOUT
        self._part = path + _PART
        self._output: IO[bytes] = sys.stdout.buffer if self._is_stdout else files.overwrite(self._part)

    def put(self, recorded: Recorded) -> None:
        start = None if self._is_stdout else self._output.tell()
        try:
            if self._is_json:
                self._put_array(recorded)
            else:
                self._write(recorded, self._output, b"\n", b"\n")
        except RrdError:
            if start is not None:
                self._output.seek(start)
                self._output.truncate()
            elif self._is_json and not self._is_one:
                # The others must stay readable. An array alone is left open, so that nobody takes it for
                # whole.
                self._output.write(b"]")
                self._count += 1
            raise
        self._count += 1

    def _put_array(self, recorded: Recorded) -> None:
        if not self._is_one:
            # An id needs no escaping in JSON: it is made of letters, digits, "-" and "_". The tab marks it as
            # an id: with `recording_ids = "any"` nearly any word may be one (``origins.stated_id``).
            self._output.write(
                b'%s\t"%s":' % (b",\n" if self._count else b"{", recorded.recording_id.encode())
            )
        self._output.write(b"[")
        self._write(recorded, self._output, b",\n", b"")
        self._output.write(b"]\n" if self._is_one else b"]")

    def close(self, *, whole: bool) -> None:
        if self._is_json and not self._is_one:
            self._output.write(b"}\n" if self._count else b"{}\n")
        self._output.flush()
        if not self._is_stdout:
            self._output.close()
            # One recording that couldn't be read: an empty file would look like one without events.
            if whole or not self._is_one:
                files.rename(self._part, self._path)

    def discard(self) -> None:
        if not self._is_stdout:
            self._output.close()
            files.remove(self._part)


class PageTarget(StreamTarget):
    """A page that replays one recording."""

    def __init__(self, path: str, progress: Progress) -> None:
        super().__init__(path, progress, is_json=False, is_one=True)

    def _write(self, recorded: Recorded, output: IO[bytes], between: bytes, end: bytes) -> Written:
        for chunk in recorded.page():
            if self._stopping.is_set():
                raise ExportStopped
            output.write(chunk)
        return Written(recorded.stored_events, recorded.raw_bytes)


class DirectoryTarget(Target):
    """A directory: for each recording a file of its events, and a sidecar, written after it."""

    is_stream = False

    def __init__(self, path: str, progress: Progress, *, resume: bool) -> None:
        """``resume``: leave alone what is there already and has not changed since."""
        super().__init__(progress)
        self._path = path
        self._resume = resume
        files.make_dirs(path)

    def has(self, recorded: Recorded) -> bool:
        found = read_sidecar(self._file(recorded) + EVENTS_SUFFIX) if self._resume else None
        return found is not None and found == _sidecar(
            recorded, Written(found.events, found.raw_bytes), found.size
        )

    def put(self, recorded: Recorded) -> None:
        path = self._file(recorded)
        directory, name = os.path.split(path)
        files.make_dirs(directory)
        part = f"{directory}/.{name}{_PART}"
        # Of an older export: until the new file is whole there is none.
        files.remove(path + META_SUFFIX)
        written, size = self._pack(recorded, part)
        files.rename(part, path + EVENTS_SUFFIX)
        sidecar = _sidecar(recorded, written, size, missing_events=recorded.missing_events)
        with files.overwrite(part) as file:
            file.write(encode_sidecar(sidecar))
        files.rename(part, path + META_SUFFIX)

    def _pack(self, recorded: Recorded, part: str) -> tuple[Written, int]:
        compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        try:
            with files.overwrite(part) as file:
                with compressor.stream_writer(file, closefd=False) as output:
                    written = self._write(recorded, output, b"\n", b"\n")
                return written, file.tell()
        except BaseException:
            files.remove(part)
            raise

    def _file(self, recorded: Recorded) -> str:
        return f"{self._path}/{recorded.tenant}/{recorded.recording_id}"


def _sidecar(recorded: Recorded, written: Written, size: int, *, missing_events: int = 0) -> Sidecar:
    return Sidecar(
        tenant=recorded.tenant,
        recording_id=recorded.recording_id,
        created_ms=recorded.created_ms,
        stored_events=recorded.stored_events,
        events=written.events,
        raw_bytes=written.raw_bytes,
        size=size,
        between=_range(recorded.between),
        metadata=recorded.metadata,
        missing_events=missing_events,
    )


def _range(between: Between) -> tuple[float | None, float | None]:
    # JSON has no infinity.
    return (
        None if between.start == ALWAYS.start else between.start,
        None if between.limit == ALWAYS.limit else between.limit,
    )
