"""What all commands share: the flags that each takes, the settings, the file of keys, a table."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypeVar

from rrd import ids, layout
from rrd.access.keys import KeyStore
from rrd.audit import AuditEvent, note, user
from rrd.config import Config
from rrd.config.checks import check_absolute, load_checked
from rrd.config.load import Sources
from rrd.errors import ConfigError, NotFound
from rrd.ownership import why_absent

T = TypeVar("T")

Run = Callable[[argparse.Namespace], int]
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


SYSTEM_CONFIG = "/etc/rrd/rrd.toml"
"""The settings file of an installed service: commands find what the service uses."""


def add_shared_flags(parser: argparse.ArgumentParser) -> None:
    """Add ``--config`` and ``--data-dir``, before and after the command's name alike."""
    # SUPPRESS: a flag left out after the name must not undo the one before it.
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help=f"TOML file of settings (or RRD_CONFIG, or {SYSTEM_CONFIG} if it is there)",
    )
    parser.add_argument(
        "--data-dir", metavar="DIR", default=argparse.SUPPRESS, help="where keys and recordings are"
    )


def config_file(args: argparse.Namespace) -> str | None:
    """Return the path of the settings file, None if there is none.

    Where neither the flag nor RRD_CONFIG says which, it is the service's, if that is there; an empty
    RRD_CONFIG says that there is none.
    """
    named: str | None = getattr(args, "config", None)
    if named is None:
        named = os.environ.get("RRD_CONFIG")
    if named is None and os.path.lexists(SYSTEM_CONFIG):
        return SYSTEM_CONFIG
    return named or None


def config_flags(args: argparse.Namespace) -> dict[str, object]:
    """Return the settings that were given as flags."""
    flags = {key: getattr(args, key, None) for key in ("data_dir", "host", "port")}
    return {key: value for key, value in flags.items() if value is not None}


def runs(parser: argparse.ArgumentParser, run: Run) -> None:
    """Have a command do ``run``, and add the flags that each command takes."""
    parser.set_defaults(run=run)
    add_shared_flags(parser)


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on an event loop of its own, and return what it does."""
    import asyncio  # noqa: PLC0415 - most commands start without it

    return asyncio.run(work)


def add_meta_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--meta``: pairs of key and value."""
    parser.add_argument(
        "--meta",
        action="append",
        default=[],
        type=_pair,
        metavar="KEY=VALUE",
        help="recordings with this metadata (repeatable: all of them)",
    )


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: use KEY=VALUE, like userId=u-123")
    return key, value


def settings(args: argparse.Namespace, *, checked: bool = False) -> Config:
    """Return the effective settings; ``checked``: those of a daemon, together (``check_settings``), too.

    Raises ``ConfigError`` with the key, where it is set, and where to look.
    """
    file, flags = config_file(args), config_flags(args)
    try:
        sources = Sources(file, os.environ, flags)
        config = load_checked(sources) if checked else sources.config()
    except ConfigError as error:
        where = "`man rrd.toml`" if file == SYSTEM_CONFIG else "config/rrd.toml"
        raise ConfigError(f"{error}. {where} explains each setting") from None
    if file == SYSTEM_CONFIG:
        check_absolute(config, file, flags)
    return config


def key_store(args: argparse.Namespace, *, create: bool = False) -> KeyStore:
    """Open the file of keys; make it, and the data directory, only with ``create``."""
    return KeyStore(layout.keys_path(settings(args).data_dir), create=create)


def audit(args: argparse.Namespace, event: AuditEvent, **fields: object) -> None:
    """Note in the audit log of the data directory what the user of this command did."""
    note(settings(args).data_dir, event, user() | fields)


def require_data_dir(config: Config) -> None:
    """Raise ``NotFound`` where the data directory is not there, rather than report or make an empty one."""
    if not os.path.isdir(config.data_dir):
        otherwise = (
            f"{config.data_dir}: there is no data directory here. Check --data-dir and the setting data_dir"
        )
        raise NotFound(why_absent(config.data_dir, otherwise))


def require_files(config: Config) -> None:
    """Raise ``NotFound`` where neither the data directory nor a store outside it can hold recordings.

    With a bucket or an ``objects_dir`` the data directory may be new: only its disk was lost.
    """
    if config.object_store == "local" and not config.objects_dir:
        require_data_dir(config)


def tenant(text: str) -> str:
    """Check a tenant's name, for argparse."""
    if not ids.is_tenant(text):
        raise argparse.ArgumentTypeError(f"{text!r}: use 1 to 63 of a-z0-9_-, a letter or digit first")
    return text


def hint(text: str) -> None:
    """Tell a person something on stderr; scripts, which see stdout alone, are not told."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr)


def show_time(ms: int | None) -> str:
    """Return a wall clock time in ms since the epoch as people read it, in UTC; "-" for None."""
    return "-" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in aligned columns; an empty cell shows as "-"."""
    lines = [head, *([cell or "-" for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
