"""On which line of a TOML file a setting stands, for errors. Pure.

``tomllib`` tells no lines. But it tells where a line begins that is not within a text or a list of several
lines: what stands before it is a whole document then.
"""

from __future__ import annotations

import re
import tomllib


def line_of(text: str, key: str) -> int | None:
    """Return the number of the line, from 1, on which ``key`` is set first; None if it can't be told.

    ``text`` is valid TOML. A table of that name counts, too.
    """
    name = re.escape(key)
    setting = re.compile(rf"""\s*\[*\s*(?:{name}|"{name}"|'{name}')\s*[.=\]]""")
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if setting.match(line) and _is_whole("\n".join([*lines[:number], ""])):
            return number + 1
    return None


def _is_whole(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True
