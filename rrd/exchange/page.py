"""A recording as a page that replays it: one file, for any browser, that fetches nothing.

The page holds the replayer, a small player, and the events: one gzip stream of NDJSON, its bytes in base64,
in blocks. A recording is HTML that strangers wrote, so the page begins with a policy that lets it run those
two scripts, by their digests, and fetch nothing (https://www.w3.org/TR/CSP3/). The replayer's frame inherits
it. The player takes out what the policy doesn't reach (``assets/console/sanitize.js``).

It is made as it is sent, in bounded memory: a block, and what ``playback.stream`` takes.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Generator, Iterator

from isal import isal_zlib

from rrd.assets.files import Assets
from rrd.errors import BadRequest
from rrd.exchange.lines import read_lines
from rrd.playback.splice import NDJSON
from rrd.playback.stream import read_in_order
from rrd.playback.table import ALWAYS, PlaybackTable

_PIECE_BYTES = 256 << 10
"""What is compressed at once, always so much: the same recording makes the same bytes, however it is read."""

_BLOCK_BYTES = 192 << 10
"""Compressed bytes in a block; a multiple of three, so that base64 needs no padding but in the last one."""

_LEVEL = 3
"""ISA-L's best: a sixth larger than at level 6 of zlib, in a seventh of the time (50 MB: 0.17 s, not 1.2)."""
_GZIP = 31
"""zlib's ``wbits`` for a gzip stream (RFC 1952)."""

_MIB = 1 << 20


def size_of_blocks(table: PlaybackTable) -> int:
    """Return how many bytes the events of a table's blocks have, those outside its range included."""
    return sum(table.block(number)[1].raw_size for number in range(len(table)))


def check_page_size(table: PlaybackTable, *, bytes_max: int, limit: int) -> None:
    """Return if the events of a table's range fit a page. ``limit``: of their bytes, as they were sent.

    Headers alone tell, unless a part is asked for whose blocks hold more than the part: then these are read,
    with ``bytes_max`` for decoded blocks. Blocking. Raises ``BadRequest``, and as ``read_in_order``.
    """
    size = size_of_blocks(table)
    if size <= limit:
        return
    if table.between != ALWAYS:
        size = 0
        for lines in read_lines(table, ids=False, bytes_max=bytes_max):
            size += sum(map(len, lines)) + len(lines)
            if size > limit:
                break
        else:
            return
    amount = f"{size / _MIB:.1f} MiB" if table.between == ALWAYS else "more"
    raise BadRequest(
        f"a page holds at most {limit / _MIB:.1f} MiB of events (html_export_bytes_max), these are {amount}."
        " Choose a part with `from` and `to`, in ms since the epoch: they lie between"
        f" {min(table.first_ts):.0f} and {max(table.last_ts):.0f}, and a part is shown from a snapshot on",
        code="export_too_large", parameter="from",
    )  # fmt: skip


def page_policy(assets: Assets) -> str:
    """Return the Content-Security-Policy of a page, for its ``meta`` and for a header."""
    scripts = " ".join(f"'sha256-{_sha256(script)}'" for script in (assets.replayer, assets.player))
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data:; font-src data:;"
        " media-src data:; base-uri 'none'; form-action 'none'"
    )


def export_page(
    table: PlaybackTable, assets: Assets, *, bytes_max: int, missing_events: int = 0
) -> Generator[bytes, None, None]:
    """Yield the page of a table's range as chunks, whose edges mean nothing.

    ``bytes_max``: budget for decoded blocks. ``missing_events``: how many the recording lacks, for the page
    to tell. Blocking. Raises as ``read_in_order``.
    """
    yield _head(table.recording_id, assets)
    packed = bytearray()
    for piece in _compressed(read_in_order(table, form=NDJSON, bytes_max=bytes_max)):
        packed += piece
        while len(packed) > _BLOCK_BYTES:
            yield _block(packed[:_BLOCK_BYTES])
            del packed[:_BLOCK_BYTES]
    yield _block(packed)
    # A browser shows the page of a file that was cut short, too: by this element it knows that all is there.
    yield b'<data id="end" data-missing="%d"></data>\n</body>\n</html>\n' % missing_events


def _head(recording_id: str, assets: Assets) -> bytes:
    title = html.escape(f"Recording {recording_id}").encode()
    return b"".join(
        (
            b'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            b'<meta http-equiv="Content-Security-Policy" content="%s">\n' % page_policy(assets).encode(),
            b'<meta http-equiv="x-dns-prefetch-control" content="off">\n',
            b'<meta name="referrer" content="no-referrer">\n',
            b'<meta name="viewport" content="width=device-width">\n',
            b"<title>%s</title>\n<style>\n%s</style>\n" % (title, assets.style),
            b"<script>%s</script>\n</head>\n<body>\n%s" % (assets.replayer, assets.body),
            b"<script>%s</script>\n" % assets.player,
        )
    )


def _block(packed: bytearray) -> bytes:
    return b'<script type="application/gzip">%s</script>\n' % base64.b64encode(packed)


def _compressed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    compressor = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP)
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        while len(waiting) >= _PIECE_BYTES:
            yield compressor.compress(waiting[:_PIECE_BYTES])
            del waiting[:_PIECE_BYTES]
    yield compressor.compress(waiting)
    yield compressor.flush()


def _sha256(script: bytes) -> str:
    return base64.b64encode(hashlib.sha256(script).digest()).decode()
