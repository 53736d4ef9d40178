"""The files below ``built/``, read once and checked against their manifest.

They are a few hundred KiB, and stay in memory. An installation that was made without npm has none.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os.path
from typing import NamedTuple

import msgspec

from rrd.errors import RefusedError

BUILT = os.path.join(os.path.dirname(__file__), "built")
MANIFEST = "manifest.json"
_CONSOLE = "console/"


class NoAssets(RefusedError):
    """The installation lacks what runs in browsers."""

    code = "no_assets"


class ServedFile(NamedTuple):
    """A file that is served by itself: by compression, and what changes with it."""

    forms: dict[str, bytes]
    tag: str


class Assets(NamedTuple):
    """``recorder`` by compression; the others are text that stands in an exported page."""

    recorder: dict[str, bytes]
    replayer: bytes
    player: bytes
    body: bytes
    style: bytes
    console: dict[str, ServedFile]
    """The console's files by name."""
    tag: str
    """Changes with any of them."""


def load_assets(directory: str = BUILT) -> Assets:
    """Return what was built. Blocks on the disk for a moment. Raises ``NoAssets``.

    They are read again once they were built again, and what is missing is looked for each time.
    """
    try:
        return _load(directory, os.stat(os.path.join(directory, MANIFEST)).st_mtime_ns)
    except OSError as error:
        raise _no_assets(error) from error


@functools.lru_cache(2)
def _load(directory: str, _built_ns: int) -> Assets:
    try:
        manifest = msgspec.json.decode(_content(directory, MANIFEST), type=dict[str, str])
        read = {name: _checked(directory, name, digest) for name, digest in manifest.items()}
        return Assets(
            recorder=_forms_of(read, "record.js"),
            replayer=read["replay.js"],
            player=read["player.js"],
            body=read["body.html"],
            style=read["page.css"],
            console=_console_files(read),
            tag=hashlib.sha256("".join(sorted(manifest.values())).encode()).hexdigest()[:16],
        )
    except (OSError, KeyError, ValueError) as error:
        raise _no_assets(error) from error


def _forms_of(read: dict[str, bytes], name: str) -> dict[str, bytes]:
    return {"identity": read[name], "br": read[f"{name}.br"], "gzip": read[f"{name}.gz"]}


def _console_files(read: dict[str, bytes]) -> dict[str, ServedFile]:
    names = [name for name in read if name.startswith(_CONSOLE) and not name.endswith((".br", ".gz"))]
    return {
        name.removeprefix(_CONSOLE): ServedFile(
            _forms_of(read, name), hashlib.sha256(read[name]).hexdigest()[:16]
        )
        for name in names
    }


def _no_assets(error: Exception) -> NoAssets:
    return NoAssets(
        "this installation has no scripts for browsers, since it was made without npm. Run `make assets`"
        f" in a clone of rrd, install rrd from there, and restart it. ({_told(error)})"
    )


def _checked(directory: str, name: str, digest: str) -> bytes:
    content = _content(directory, name)
    if base64.b64encode(hashlib.sha384(content).digest()).decode() != digest:
        raise ValueError(f"{name} is not what was built")
    return content


def _content(directory: str, name: str) -> bytes:
    with open(os.path.join(directory, name), "rb") as file:
        return file.read()


def _told(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{os.path.basename(error.filename or BUILT)}: {error.strerror}"
    return str(error)
