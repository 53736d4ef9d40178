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


class NoAssets(RefusedError):
    """The installation lacks what runs in browsers."""

    code = "no_assets"


class Assets(NamedTuple):
    """``recorder`` by compression; the others are text that stands in an exported page."""

    recorder: dict[str, bytes]
    replayer: bytes
    player: bytes
    body: bytes
    style: bytes
    tag: str
    """Changes with any of them."""


@functools.cache
def load_assets(directory: str = BUILT) -> Assets:
    """Return what was built. Blocks on the disk the first time. Raises ``NoAssets``.

    What is missing is looked for again the next time.
    """
    try:
        manifest = msgspec.json.decode(_content(directory, MANIFEST), type=dict[str, str])
        read = {name: _checked(directory, name, digest) for name, digest in manifest.items()}
        return Assets(
            recorder={
                "identity": read["record.js"],
                "br": read["record.js.br"],
                "gzip": read["record.js.gz"],
            },
            replayer=read["replay.js"],
            player=read["player.js"],
            body=read["body.html"],
            style=read["page.css"],
            tag=hashlib.sha256("".join(sorted(manifest.values())).encode()).hexdigest()[:16],
        )
    except (OSError, KeyError, ValueError) as error:
        raise NoAssets(
            "this installation has no scripts for browsers, since it was made without npm. Run `make assets`"
            f" in a clone of rrd, install rrd from there, and restart it. ({_told(error)})"
        ) from error


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
