"""The parts of a daemon whose settings are read again, and all that they know, to be compared.

Method
------
``known`` walks through everything that the parts hold, from attribute to attribute, and returns each number,
text and switch with the way to it. A daemon that has reloaded must know what one knows that was started with
the same settings. So no part can keep a value of its own that a reload doesn't reach, whatever settings and
parts there will be. What differs between two daemons of the same settings (paths, times) says nothing, and is
left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import threading
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import msgspec

from rrd import layout
from rrd.access.keys import KeyStore
from rrd.config import Config
from rrd.daemon.assembly import Parts, make_parts
from rrd.daemon.fitting import fit
from rrd.daemon.reload import Reloader
from rrd.handles import Handles

HANDLES = Handles(allowed=None, in_use=8)

Known = dict[str, object]


@dataclasses.dataclass
class ReloadLab:
    """Parts, and the settings that a reload of theirs finds."""

    parts: Parts
    wanted: Config | Exception

    def __post_init__(self) -> None:
        self._reloader = Reloader(self._read, self._read(), HANDLES)

    async def reload(self, wanted: Config | Exception) -> None:
        """Reload with these settings (but where the data are), or with what reading them raises."""
        if isinstance(wanted, Config) and wanted.data_dir == Config().data_dir:
            wanted = msgspec.structs.replace(wanted, data_dir=self.parts.services.config.data_dir)
        self.wanted = wanted
        await self._reloader.reload(self.parts)
        # Which is when these take what is new.
        await self.parts.retention.round()
        await asyncio.to_thread(self.parts.services.gate.refresh)

    def _read(self) -> Config:
        if isinstance(self.wanted, Exception):
            raise self.wanted
        return self.wanted


@contextlib.asynccontextmanager
async def reloadable(directory: Path, config: Config) -> AsyncIterator[ReloadLab]:
    """Make the parts of a daemon with these settings below ``directory``; none of its tasks runs."""
    config = msgspec.structs.replace(config, data_dir=str(directory / "data"))
    (directory / "data").mkdir(parents=True)
    async with contextlib.AsyncExitStack() as stack:
        fitted = fit(config, HANDLES)
        keys = stack.enter_context(KeyStore(layout.keys_path(config.data_dir)))
        # With a console, which has parts of its own.
        parts = await make_parts(msgspec.structs.replace(fitted.config, console=True), keys, stack)
        parts.services.connections_max, parts.services.backlog = fitted.connections_max, fitted.backlog
        await parts.retention.round()
        yield ReloadLab(parts, config)


def known(parts: Parts) -> Known:
    """Return all that the parts know, with the way to each. The name of their directory is left out."""
    where = os.path.dirname(parts.services.config.data_dir)
    return {
        way.replace(where, ""): value.replace(where, "") if isinstance(value, str) else value
        for way, value in _walk(parts, "parts", set())
    }


_PLAIN = (int, float, str, bool, type(None))


def _walk(thing: object, way: str, seen: set[int]) -> Iterator[tuple[str, object]]:
    if isinstance(thing, _PLAIN):
        yield way, thing
        return
    if not isinstance(thing, msgspec.Struct | tuple):  # These are values: each that holds one is looked at.
        if id(thing) in seen:
            return
        seen.add(id(thing))
    if isinstance(thing, ThreadPoolExecutor):
        yield f"{way}.threads", thing._max_workers
    elif isinstance(thing, Mapping):
        for key, value in thing.items():
            yield from _walk(value, f"{way}[{key}]", seen)
    elif isinstance(thing, tuple | list):
        for number, value in enumerate(thing):
            yield from _walk(value, f"{way}[{number}]", seen)
    elif type(thing).__module__.startswith("rrd.") and not isinstance(thing, Executor | threading.Thread):
        for name in _attributes(thing):
            with contextlib.suppress(AttributeError):  # A slot that was never filled.
                yield from _walk(getattr(thing, name), f"{way}.{name}", seen)


def _attributes(thing: object) -> list[str]:
    slots = [name for kind in type(thing).__mro__ for name in _slots_of(kind)]
    fields = list(getattr(thing, "__struct_fields__", ()))
    return [*getattr(thing, "__dict__", {}), *slots, *fields]


def _slots_of(kind: type) -> tuple[str, ...]:
    slots = kind.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def differences(one: Known, other: Known) -> dict[str, tuple[object, object]]:
    """Return what differs, with both values."""
    absent = "(nothing)"
    return {
        way: (one.get(way, absent), other.get(way, absent))
        for way in one.keys() | other.keys()
        if one.get(way, absent) != other.get(way, absent)
    }


# Tells of the past, of the reload itself, and of what others leave of the disk meanwhile.
_HISTORY = ("parts.retention._rounds", "parts.services.reload_state", "parts.guard._free_bytes")


def relevant(found: Mapping[str, object], noise: Collection[str]) -> dict[str, object]:
    """Return of what differs that which is neither noise nor history."""
    return {way: values for way, values in found.items() if way not in noise and not way.startswith(_HISTORY)}
