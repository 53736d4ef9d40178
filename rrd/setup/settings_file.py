"""A settings file, made from the shipped one, or edited line by line: an operator's words stay as they are.

Only a line that still says the default is changed, and only its value. The result is parsed and compared
before it is written: it differs from what was there in just the settings that were meant.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from importlib.resources import files as package_files
from typing import NamedTuple

import msgspec
import orjson

from rrd.config import Config
from rrd.disk.shared_files import make_shared_dirs, replace_shared
from rrd.errors import ConfigError

Value = str | bool

_PLAIN_VALUE = r"""(?:"[^"\\\r\n]*"|'[^'\r\n]*'|true|false)"""

_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(Config)}


class EditedText(NamedTuple):
    """A file's new text, and what became of each setting that was wanted."""

    text: str
    changed: tuple[str, ...]
    """Lines as they stand now."""
    kept: tuple[str, ...]
    """Settings that the operator has set to something else."""


def shipped(name: str) -> str:
    """Return a file that rrd comes with, out of ``rrd/setup/files``."""
    return package_files("rrd.setup").joinpath("files", name).read_text("utf-8")


def make_settings_file(path: str, *, data_dir: str) -> None:
    """Write the shipped settings, with this data directory."""
    make_shared_dirs(os.path.dirname(os.path.abspath(path)))
    replace_shared(path, with_settings(shipped("rrd.toml"), {"data_dir": data_dir}).text.encode())


def edit_settings_file(path: str, wanted: Mapping[str, Value]) -> EditedText:
    """Give settings that have their default another value. Raises ``ConfigError``, ``OSError``."""
    with open(path, encoding="utf-8", newline="") as file:
        text = file.read()
    try:
        edited = with_settings(text, wanted)
    except (ValueError, tomllib.TOMLDecodeError):
        lines = "  ".join(_line(key, value) for key, value in wanted.items())
        raise ConfigError(
            f"{path}: the lines to change can't be made out. Set them by hand, and run rrd setup again:  "
            f"{lines}"
        ) from None
    if edited.changed:
        replace_shared(path, edited.text.encode())
    return edited


def with_settings(text: str, wanted: Mapping[str, Value]) -> EditedText:
    """Return a text of settings with other values for those that have their default. Pure.

    Raises ``ValueError`` where the text is not plain enough to be changed without a doubt.
    """
    mark, text = ("\ufeff", text[1:]) if text.startswith("\ufeff") else ("", text)
    before = tomllib.loads(text)
    changes: dict[str, Value] = {}
    kept = []
    for key, value in wanted.items():
        if (now := before.get(key, _DEFAULTS[key])) == value:
            continue
        if now != _DEFAULTS[key]:
            kept.append(key)
            continue
        text = _replaced(text, key, value) if key in before else _added(text, key, value)
        changes[key] = value
    if tomllib.loads(text) != before | changes:
        raise ValueError("the lines are not what they seem")
    return EditedText(mark + text, tuple(_line(key, value) for key, value in changes.items()), tuple(kept))


def _replaced(text: str, key: str, value: Value) -> str:
    """Change the value in the one line that sets ``key``; what follows on the line stays."""
    line = re.compile(
        rf"^(?P<head>[ \t]*{key}[ \t]*=[ \t]*)" + _PLAIN_VALUE + r"(?P<tail>[ \t]*(?:#[^\r\n]*)?\r?)$",
        re.MULTILINE,
    )
    new, count = line.subn(lambda found: f"{found['head']}{_toml(value)}{found['tail']}", text)
    if count != 1:
        raise ValueError(f"{count} lines set {key}")
    return new


def _added(text: str, key: str, value: Value) -> str:
    end = "\r\n" if "\r\n" in text else "\n"
    gap = "" if not text or text.endswith("\n") else end
    return f"{text}{gap}{end}# By rrd setup.{end}{_line(key, value)}{end}"


def _line(key: str, value: Value) -> str:
    return f"{key} = {_toml(value)}"


def _toml(value: Value) -> str:
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
    return orjson.dumps(value).decode().replace("\x7f", "\\u007f")
