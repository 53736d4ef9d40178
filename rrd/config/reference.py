"""The reference of all settings, ``docs/settings.md``: made of their table and of what explains them.

``make reference`` writes it anew.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from msgspec import inspect

from rrd.config.changes import kind_of
from rrd.config.settings import Config

_HEAD = """\
# Settings

<!-- Made by `make reference` of rrd/config/settings.py and config/rrd.toml: change those. -->

[config/rrd.toml](../config/rrd.toml) explains each setting as a trade-off, with a recommendation. This is
the table of all. A flag of the command line (`--host`, `--port`, `--data-dir`) beats an environment
variable, which beats the file of `--config`, which beats the default. `flush_age_ms` is
`RRD_FLUSH_AGE_MS` in the environment, where a list is written with commas. `rrd check-config` prints what
is in effect, where each was set, and what doesn't go together.

## Reload

`systemctl reload rrd`, or SIGHUP to a daemon without a terminal, reads all settings again from the same
places as the start: the same file, environment and flags. Nothing outside can change the environment or
the flags of a process, so it is the file that counts.

- The settings are checked as a whole first. Settings that can't be used are refused whole: the log says
  `reload_refused` with key, file and line, and the settings of before count. `rrd check-config` says the
  same beforehand.
- Settings that count without a restart count then: the log says `reloaded`, and in `changed` which these
  are. Open sockets stay open, bodies under way go on, and nothing that was sent is lost.
- Settings that were changed and wait for a restart are named by `needs_restart`. A reload with the former
  value takes that back.
- Reloads come one after the other. A reload that is asked for during the start is done when the daemon is
  ready; during the stop none is begun.

The last column says when a changed setting counts after a reload:

- **now**: at once, for what is under way, too. A limit that is lowered sends no client away: what is over
  it goes on, and nothing new comes in until there is room. The one exception is `held_bytes_max`: where
  senders hold more than the new one, those that hold most are refused, as ever when it is full. New
  settings of retention wait for a person where they would remove more than `retention_hold_percent` at
  once, as after a restart.
- **next**: for the next connection, request, body, socket, segment or object. One that is under way keeps
  the value that it began with. A socket may take the new one with its next message; metadata limits hold
  for a recording from when it is next opened.
- **restart**: only a restart changes it. It says where rrd listens or stores, or of which parts it is
  made.

A reload reads the file again that `signing_keys_file` names. `s3_credentials_file` needs none: it is read as
soon as the bucket refuses the credentials of before.
"""


class _Explained(NamedTuple):
    section: str
    question: str


def reference(shipped: str) -> str:
    """Return the page. ``shipped`` is the text of ``config/rrd.toml``, which has each key once."""
    explained = dict(_explained(shipped))
    lines = [_HEAD]
    section = ""
    for field in msgspec.structs.fields(Config):
        about = explained[field.name]
        if about.section != section:
            section = about.section
            lines += [
                f"\n## {section}\n",
                "| setting | what | type | default | reload |",
                "|---|---|---|---|---|",
            ]
        cells = (
            f"`{field.name}`<br>`RRD_{field.name.upper()}`",
            about.question,
            _type(inspect.type_info(field.type)),
            f"`{_toml(field.default)}`",
            kind_of(field.name),
        )
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _explained(shipped: str) -> Iterator[tuple[str, _Explained]]:
    """Yield each key with its section and the questions that stand above it; keys may share these."""
    section, comment = "", ""
    ends_comment = False
    for line in shipped.splitlines():
        if found := re.fullmatch(r"#{8,}\s+(.+?)\s+#{8,}", line):
            section = found[1]
        elif line.startswith("#"):
            comment = line[1:].strip() if ends_comment else f"{comment} {line[1:].strip()}"
            ends_comment = False
        elif not line.strip():
            ends_comment = True
        else:
            yield line.partition(" = ")[0], _Explained(section, _questions(comment))
            ends_comment = True


def _questions(comment: str) -> str:
    """Return the questions that an explanation begins with, or its first sentence if it asks none."""
    asked = re.match(r"\s*((?:(?:[^?.]|[?.](?!\s))+\?(?:\s+|$))+)", comment)
    return (asked[1] if asked else re.split(r"(?<=[.:])\s", comment.strip())[0]).strip()


def _type(kind: inspect.Type) -> str:
    match kind:
        case inspect.BoolType():
            return "`true`, `false`"
        case inspect.LiteralType():
            return ", ".join(f"`{_toml(value)}`" for value in kind.values)
        case inspect.UnionType():
            return ", ".join(_type(part) for part in kind.types)
        case inspect.IntType():
            least = "" if kind.ge is None else f" from {kind.ge:,}"
            return f"number{least}" if kind.le is None else f"number{least} to {kind.le:,}"
        case inspect.VarTupleType():
            return "list of texts"
        case inspect.StrType():
            return "text"
    raise TypeError(kind)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:_}" if value >= 10_000 else str(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(part) for part in value) + "]"
    return f'"{value}"'


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        sys.stdout.write(reference(file.read()))
