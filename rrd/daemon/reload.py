"""The settings read again while the daemon runs (SIGHUP, ``systemctl reload``).

All settings are read from the same places as at the start, and checked as a whole, before any of them counts:
what can't be used is refused whole. Then each part is given the new ones. Settings that a part is built with
wait for a restart, and are told.

A signal asks; one task reads. So reloads come one after the other, and signals that come meanwhile make one
more together: the last state of the file wins. One that comes while the daemon starts is done when it is
ready, and none is begun once it stops.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from rrd.access.keys import SigningKeyRow
from rrd.access.signing_file import read_signing_keys
from rrd.config import Config
from rrd.config.changes import Changes, ReloadState, changes, fixed_names
from rrd.config.checks import warnings
from rrd.daemon.assembly import Parts
from rrd.daemon.fitting import Fitted, fit
from rrd.daemon.notify import notify
from rrd.errors import ConfigError
from rrd.handles import Handles
from rrd.log import emit, reconfigure
from rrd.wire.limits import limits_of

logger = logging.getLogger(__name__)

_TRY_AGAIN = "the settings of before count; correct this, and reload again (rrd check-config says the same)"


class _Found(NamedTuple):
    """Settings that were read again, and can be used."""

    changes: Changes
    fitted: Fitted
    odd: list[str]
    signing_keys: Sequence[SigningKeyRow]
    """Those of ``signing_keys_file``, which is read again, too."""


class Reloader:
    """Reads the settings again when it is asked to. For the event loop only."""

    def __init__(self, read: Callable[[], Config], config: Config, handles: Handles) -> None:
        """``read`` returns the checked settings, and may block. ``config``: those of the start, as read."""
        self._read = read
        self._config = config
        """What is in effect, as it was asked for: before it was fitted to the machine."""
        self._handles = handles
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Have the settings read again, as soon as no reload is under way."""
        self._asked.set()

    async def run(self, parts: Parts) -> None:
        """Reload as often as it is asked for, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            await self.reload(parts)
            notify("READY=1")

    async def reload(self, parts: Parts) -> None:
        """Read the settings again and put them into effect; or log why not, and leave everything as it is."""
        services = parts.services
        now_ms, waiting = services.clock.now_ms(), services.reload_state.waiting
        try:
            found = await asyncio.to_thread(self._find, services.config)
        except Exception as error:  # noqa: BLE001 - whatever the file holds must not end the daemon
            emit(
                logger, logging.ERROR, "reload_refused", error=error, next_step=_TRY_AGAIN,
                exc_info=not isinstance(error, ConfigError),
            )  # fmt: skip
            services.reload_state = ReloadState(now_ms, str(error) or repr(error), waiting)
            return
        for text in found.odd:
            emit(logger, logging.WARNING, "odd_settings", text=text)
        services.gate.take_from_file(found.signing_keys)
        await put_into_effect(parts, found.fitted)
        self._config, applied, waiting = found.changes
        services.reload_state = ReloadState(now_ms, None, waiting)
        emit(logger, logging.INFO, "reloaded", changed=",".join(applied) or "nothing")
        if waiting:
            emit(
                logger, logging.WARNING, "needs_restart", settings=",".join(waiting),
                next_step="restart rrd for these to count",
            )  # fmt: skip

    def _find(self, running: Config) -> _Found:
        found = changes(self._config, self._read())
        # What a start makes of some settings stays: whether there is a console, which sockets were passed.
        kept = {name: getattr(running, name) for name in fixed_names()}
        config = msgspec.structs.replace(found.config, **kept)
        odd = list(warnings(config, handles_max=self._handles.allowed))
        signing_keys = read_signing_keys(config.signing_keys_file)
        return _Found(found, fit(config, self._handles), odd, signing_keys)


async def put_into_effect(parts: Parts, fitted: Fitted) -> None:
    """Give each part new settings. Parts that read ``services.config`` anew each time need not be told."""
    config, services = fitted.config, parts.services
    former, services.config = services.config, config
    services.limits = limits_of(config)
    services.connections_max = fitted.connections_max
    services.registry.reconfigure(config)
    services.sockets.reconfigure(
        flush_age_ms=config.flush_age_ms, ping_interval_s=config.ping_interval_s,
        read_beat_ms=config.read_beat_ms,
    )  # fmt: skip
    services.unfinished.reconfigure(
        config.held_bytes_max, rate_min=config.receive_rate_min, grace_s=config.receive_grace_s
    )
    services.read_room.resize(config.read_bytes_max)
    services.files.reconfigure(config.object_cache_bytes_max)
    if services.box is not None:
        services.box.reconfigure(config)
    parts.guard.reconfigure(config.disk_reserve_bytes)
    parts.evictor.reconfigure(config)
    parts.rollup.reconfigure(config)
    parts.retention.reconfigure(config)
    if (config.log_level, config.log_format) != (former.log_level, former.log_format):
        reconfigure(config)
    await services.admission.reconfigure(config)
