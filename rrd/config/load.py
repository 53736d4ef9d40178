"""Where settings come from: defaults, file, environment, command line; the later wins.

``RRD_FLUSH_AGE_MS=500`` in the environment is ``flush_age_ms = 500`` in the file; a list is written with
commas there.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
import typing
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from rrd.config.credentials import resolved
from rrd.config.lines import line_of
from rrd.config.settings import Config
from rrd.errors import ConfigError

_BEGINS_WITH_KEY = re.compile(r"([a-z][a-z0-9_]*): ")
_WRONG_TYPE = re.compile(r"Expected `([a-z |]+)`, got `[a-z]+`")


def load_config(
    *,
    file: str | None = None,
    environment: Mapping[str, str] = os.environ,
    flags: Mapping[str, object] | None = None,
) -> Config:
    """Build the settings from ``file`` (TOML), ``RRD_*`` variables and flags; the later wins.

    Raises ``ConfigError`` naming the key, where it was set, and what it may be.
    """
    return Sources(file, environment, flags or {}).config()


class Sources:
    """The places where settings are set, as they were when this was made. Raises ``ConfigError``."""

    def __init__(self, file: str | None, environment: Mapping[str, str], flags: Mapping[str, object]) -> None:
        self._file = file
        self._environment = environment
        self._text = _read(file) if file else ""
        self._values: dict[str, object] = {}
        self._origins: dict[str, str] = {}
        for where, values in (
            (file or "", _parsed(self._text, file or "")),
            ("the environment", _from_environment(environment)),
            ("the command line", {k: v for k, v in flags.items() if v is not None}),
        ):
            self._values.update(values)
            self._origins.update(dict.fromkeys(values, where))

    def config(self) -> Config:
        """Return the settings. Raises ``ConfigError``."""
        try:
            # strict=False: the environment knows only strings.
            config = msgspec.convert(self._values, Config, strict=False)
        except msgspec.ValidationError as error:
            raise ConfigError(self._explain(error)) from None
        for network in config.trusted_proxies:
            try:
                ipaddress.ip_network(network)
            except ValueError:
                problem = ConfigError(f"trusted_proxies: {network!r} is not a network like 10.0.0.0/8")
                raise self.placed(problem) from None
        try:
            return resolved(config, self._environment)
        except ConfigError as error:
            raise self.placed(error) from None

    def placed(self, error: ConfigError) -> ConfigError:
        """Return an error that begins with the name of a setting, with where that is set behind its name."""
        text = str(error)
        found = _BEGINS_WITH_KEY.match(text)
        if found is None or found[1] not in self._origins:
            return error
        return ConfigError(f"{found[1]} (set in {self.where(found[1])}): {text[found.end() :]}")

    def where(self, key: str) -> str:
        """Return where a setting is set, with the line if that is the file."""
        where = self._origins.get(key, "the defaults")
        line = line_of(self._text, key) if where == self._file else None
        return where if line is None else f"{where}, line {line}"

    def _explain(self, error: msgspec.ValidationError) -> str:
        message = str(error)
        if " - at `$." in message:
            what, _, path = message.partition(" - at `$.")
            key = path.rstrip("`").partition("[")[0]
            return f"{key} (set in {self.where(key)}): {_plain(what, key)}"
        for key in self._origins:
            if f"`{key}`" in message:
                return f"there is no setting {key!r} (found in {self.where(key)}){_meant(key)}"
        return message


_TYPES = {
    "int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text in quotes",
    "array": "a list in brackets", "object": "a table", "null": "nothing",
}  # fmt: skip


def _plain(what: str, key: str) -> str:
    """Return what msgspec says of a value in an operator's words, as far as these are known."""
    if what.startswith("Invalid enum value "):
        kind = typing.get_type_hints(Config)[key]
        kinds = [kind, *typing.get_args(kind)]
        choices = ["true", "false"] if bool in kinds else []
        for each in kinds:
            if typing.get_origin(each) is Literal:
                choices += map(repr, typing.get_args(each))
        value = what.removeprefix("Invalid enum value ")
        return f"{value} is none of {', '.join(choices)}"
    found = _WRONG_TYPE.fullmatch(what)
    if found is None or not {*found[1].split(" | ")} <= _TYPES.keys():
        return what
    return f"{' or '.join(_TYPES[each] for each in found[1].split(' | '))} is needed here"


def _meant(key: str) -> str:
    """Return words that name the setting which is spelled nearly so; "" if there is none."""
    near = difflib.get_close_matches(key, [field.name for field in msgspec.structs.fields(Config)], n=1)
    return f"; {near[0]!r} is spelled nearly so" if near else ""


def _read(path: str) -> str:
    try:
        # Editors on Windows begin a file with a byte order mark.
        with open(path, encoding="utf-8-sig", newline="") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8, which TOML is: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from None


def _parsed(text: str, path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # What an operator does who adds a line at the end.
        why = str(error).replace("Cannot overwrite a value", "Cannot overwrite a value: a key is there twice")
        raise ConfigError(f"{path}: not valid TOML: {why}") from None


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    known = {field.name: field for field in msgspec.structs.fields(Config)}
    values: dict[str, object] = {}
    for name, text in environment.items():
        key = name.removeprefix("RRD_").lower()
        # RRD_CONFIG names the file itself; other unknown names are typos worth telling.
        if not name.startswith("RRD_") or name == "RRD_CONFIG":
            continue
        if key not in known:
            raise ConfigError(f"{name} in the environment: there is no setting {key!r}{_meant(key)}")
        is_list = isinstance(known[key].default, tuple)
        values[key] = [part.strip() for part in text.split(",") if part.strip()] if is_list else text
    return values
