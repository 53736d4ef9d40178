"""The parts of a daemon, put together: what is made of what, and which tasks keep it going."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field

from rrd import layout
from rrd.access.gate import Gate
from rrd.access.keys import KeyStore, SigningKeyRow
from rrd.access.signing_file import read_signing_keys
from rrd.backup.staging import remove_leftovers
from rrd.care.refusals import Refusals
from rrd.ceiling import DECODING_THREADS
from rrd.clock import Clock, SystemClock
from rrd.config import Config
from rrd.console.box import Box
from rrd.console.desk import Desk
from rrd.console.sessions import SessionStore
from rrd.console.tries import Tries
from rrd.disk.disk import Disk, OsDisk
from rrd.errors import ConfigError, RrdError, StoreAway, WrongStore
from rrd.http.budget import Budget
from rrd.http.pulse import Pulse
from rrd.http.services import Services
from rrd.http.sockets import Sockets
from rrd.http.streams import Streams
from rrd.index import home
from rrd.index.contract import Index
from rrd.inventory.census import Patience
from rrd.lifecycle.departures import Departures
from rrd.lifecycle.guard import DataDirectory, Guard
from rrd.lifecycle.holds import Holds
from rrd.lifecycle.removal import Remover
from rrd.lifecycle.rounds import Retention
from rrd.log import emit
from rrd.measures import Measures, watch_loop
from rrd.objects.choose import open_store
from rrd.objects.files import ObjectFiles
from rrd.objects.identity import OwnedStore, has_marked
from rrd.objects.store import ObjectStore
from rrd.recordings.claims import Claims
from rrd.recordings.registry import Registry
from rrd.rollup.evict import Evictor
from rrd.rollup.worker import RollUp, empty_rolling_dir
from rrd.shares.admission import Admission
from rrd.shares.room import Room, Times
from rrd.shares.threads import FairThreads
from rrd.startup.catch_up import STORE_WAIT_S
from rrd.startup.recovery import Recovered, recover
from rrd.tombstones import Tombstones
from rrd.wire.limits import limits_of

logger = logging.getLogger(__name__)

_READING_THREADS = 8
"""How many blocks are read at once, and how many of objects."""

_READ_ROOM_TIMES = Times(tenant=9, key=9, address=0)

_LATE_INTERVAL_S = 5.0


@dataclass(frozen=True, slots=True)
class Seams:
    """What a daemon stands on. Tests put others in the place of these; everything else is as shipped."""

    clock: Clock = field(default_factory=SystemClock)
    disk: Disk = field(default_factory=OsDisk)
    store: ObjectStore | None = None
    """None: the one that the settings say."""
    open_index: Callable[[str], Awaitable[Index]] = home.open_file
    open_tombstones: Callable[[str], Tombstones] = Tombstones
    store_retry_s: tuple[float, float] = (1.0, 60.0)
    """Least and greatest ceiling of the pauses while the store is away, in seconds."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that a daemon is made of. The API sees ``services`` only."""

    store: OwnedStore
    tombstones: Tombstones
    guard: Guard
    rollup: RollUp
    evictor: Evictor
    retention: Retention
    services: Services
    must_rebuild: bool
    """The index was lost, so ``recover`` looks at everything."""


async def _confirm_now(store: OwnedStore) -> None:
    """Make sure that the store is this data directory's. Raises ``ConfigError``, ``StoreAway``."""
    try:
        await store.confirm()
    except WrongStore as error:
        raise ConfigError(str(error)) from None


async def _confirm(store: OwnedStore) -> bool:
    """Make sure that the store is this data directory's, unless it is away: then it is asked before a change.

    Return whether it answered. It is away, too, where it gives no answer within ``STORE_WAIT_S``. Raises
    ``ConfigError``.
    """
    try:
        async with asyncio.timeout(STORE_WAIT_S):
            await _confirm_now(store)
    except (StoreAway, TimeoutError) as error:
        why = error if isinstance(error, StoreAway) else StoreAway(f"no answer within {STORE_WAIT_S:g} s")
        emit(
            logger, logging.WARNING, "object_store_away", store=store.name, error=why,
            next_step="events are taken; nothing is put there before it is known to be the right one",
        )  # fmt: skip
        return False
    return True


async def make_parts(
    config: Config, keys: KeyStore, stack: AsyncExitStack, seams: Seams | None = None
) -> Parts:
    """Make the parts; ``stack`` takes them apart again, in the reverse order.

    Nothing in them makes a clock, a disk or a store of its own: these are the ``seams``'. Raises
    ``ConfigError`` for settings that can't be used, ``OSError`` if the data directory can't be.
    """
    seams = seams or Seams()
    clock, disk, claims, sealed = seams.clock, seams.disk, Claims(), asyncio.Event()
    tombstones = stack.enter_context(seams.open_tombstones(layout.tombstones_path(config.data_dir)))
    departures = Departures(tombstones, clock)
    store = await stack.enter_async_context(open_store(config, disk, seams.store))
    store.now = clock.monotonic
    loop = asyncio.get_running_loop()
    files = ObjectFiles(
        store, loop, cache_bytes_max=config.object_cache_bytes_max, deadline_s=config.s3_timeout_s
    )
    stack.callback(files.close)
    index, must_rebuild = await home.open_index(config.data_dir, seams.open_index)
    stack.push_async_callback(index.close)
    place = DataDirectory(config.data_dir)
    guard = Guard(config.data_dir, config.disk_reserve_bytes, monotonic=clock.monotonic, place=place)
    evictor = Evictor(config, disk, index, claims, clock, store=store, is_low=guard.is_low)
    stack.callback(evictor.close)
    registry = Registry(
        config, disk, index, clock, files=files,
        refusal=guard.refusal, refusals=departures.refusals, on_sealed=sealed.set,
    )  # fmt: skip
    rollup = RollUp(
        config, disk, index, store, claims, clock, live_sources=registry.live_sources, evictor=evictor,
        retry_s=seams.store_retry_s, nudged=sealed,
    )  # fmt: skip
    stack.callback(rollup.close)
    stack.push_async_callback(registry.stop)
    remover = Remover(config, disk, index, registry, store, files, claims, departures, clock)
    stack.push_async_callback(remover.close)
    retention = Retention(config, index, remover, clock, Holds(config), tombstones)
    signing_keys = await asyncio.to_thread(read_signing_keys, config.signing_keys_file)
    services = _make_services(
        config, clock, keys, signing_keys, stack, disk=disk, index=index, registry=registry, files=files,
        claims=claims, remover=remover, retention=retention, store=store,
    )  # fmt: skip
    return Parts(store, tombstones, guard, rollup, evictor, retention, services, must_rebuild)


def _make_services(
    config: Config,
    clock: Clock,
    keys: KeyStore,
    signing_keys: Sequence[SigningKeyRow],
    stack: AsyncExitStack,
    *,
    disk: Disk,
    index: Index,
    registry: Registry,
    files: ObjectFiles,
    claims: Claims,
    remover: Remover,
    retention: Retention,
    store: ObjectStore,
) -> Services:
    """Make what requests alone need, beside the parts that the whole daemon has."""
    sockets = Sockets(
        clock=clock, flush_age_ms=config.flush_age_ms, ping_interval_s=config.ping_interval_s,
        read_beat_ms=config.read_beat_ms,
    )  # fmt: skip
    registry.followers.on_follow = sockets.followed
    sockets.beat.has_urgent = registry.followers.has_any
    unfinished = Budget(
        config.held_bytes_max, rate_min=config.receive_rate_min, grace_s=config.receive_grace_s
    )
    gate = Gate(keys, clock, from_file=signing_keys)
    desk = _make_desk(config, clock, keys, gate, stack)
    measures = Measures(config.data_dir, clock, index)
    stack.push_async_callback(measures.close)
    return Services(
        config=config, clock=clock, disk=disk, gate=gate, limits=limits_of(config),
        # Without a desk there is no console, and nobody to show figures to.
        desk=desk, box=None if desk is None else Box(config, clock, measures), measures=measures,
        index=index, registry=registry, files=files, claims=claims, remover=remover, held=retention.held,
        store=store, pulse=Pulse(clock),
        sockets=sockets, streams=Streams(), unfinished=unfinished, admission=Admission(config, clock),
        read_room=Room(config.read_bytes_max, _READ_ROOM_TIMES), refusals=Refusals(config.data_dir, clock),
        decoding_threads=stack.enter_context(closing(FairThreads(DECODING_THREADS, name="decoding"))),
        reading_threads=stack.enter_context(closing(FairThreads(_READING_THREADS, name="reading"))),
        object_threads=stack.enter_context(closing(FairThreads(_READING_THREADS, name="reading-objects"))),
    )  # fmt: skip


def _make_desk(
    config: Config, clock: Clock, keys: KeyStore, gate: Gate, stack: AsyncExitStack
) -> Desk | None:
    if config.console is not True:
        return None
    try:
        sessions = stack.enter_context(SessionStore(layout.console_path(config.data_dir), clock))
    except RrdError as error:
        # A disk that is full, or damage: events are taken all the same.
        emit(logger, logging.ERROR, "console_off", error=error)
        return None
    return Desk(sessions, keys, gate, Tries())


async def bring_up_to_date(parts: Parts) -> Recovered:
    """Make index and files agree, and finish what a crash has interrupted. Nothing may be written before.

    Asks the object store, too, whose it is, and waits for it only where the index is lost and the store has
    been marked: what it holds is known there alone. Raises ``ConfigError`` if it is the wrong one.
    """
    parts.services.waits_for = "it asks the object store whose it is"
    data_dir, disk = parts.services.config.data_dir, parts.services.disk
    was_marked = has_marked(data_dir, disk)
    answers = await _confirm(parts.store)
    parts.services.waits_for = "it brings its index up to date"
    await asyncio.to_thread(empty_rolling_dir, disk, data_dir)
    await asyncio.to_thread(remove_leftovers, data_dir)
    if parts.must_rebuild:
        recovered = await _rebuild(parts, was_marked=was_marked, answers=answers)
    else:
        # A store that is away isn't waited for a second time.
        recovered = await _recover(parts, parts.store if answers else None)
    await parts.services.remover.resume()
    return recovered


async def _rebuild(parts: Parts, *, was_marked: bool, answers: bool) -> Recovered:
    if was_marked:
        # A rebuild waits for the store in any case, and must not read one of another data directory.
        parts.services.waits_for = "it makes its index anew, which needs an answer of the object store"
        await Patience(wait=True).ask(lambda: _confirm_now(parts.store))
        parts.services.waits_for = "it makes its index anew from segments and objects"
        return await _recover(parts, parts.store)
    # Nothing of this data directory can be in a store that it never marked. So a first start needs no answer
    # of a bucket: the events are stored here, and the bucket is asked before the first change.
    if answers:
        try:
            return await _recover(parts, parts.store, Patience(wait=False))
        except StoreAway as error:  # Objects are read first: the index is as empty as it was.
            emit(
                logger, logging.WARNING, "object_store_away", store=parts.store.name, error=error,
                next_step="events are taken; see whether rrd may list and read what is in the store",
            )  # fmt: skip
    return await _recover(parts, None)


async def _recover(parts: Parts, store: OwnedStore | None, patience: Patience | None = None) -> Recovered:
    services = parts.services
    return await recover(
        services.config, services.disk, services.index, rebuild=parts.must_rebuild,
        store=store, tombstones=parts.tombstones, patience=patience,
    )  # fmt: skip


def start_tasks(parts: Parts) -> list[asyncio.Task[None]]:
    """Start what runs as long as the daemon does; a task that ends by itself has failed.

    The registry's own tasks come first: they are ended by its ``stop``, when everything is safe.
    """
    services = parts.services
    jobs = {
        "sockets": services.sockets.run(),
        "streams": services.streams.run(),
        "budget": services.unfinished.run(),
        "guard": parts.guard.run(),
        "rollup": parts.rollup.run(),
        "evictor": parts.evictor.run(),
        "removal": services.remover.run(),
        "retention": parts.retention.run(),
        "refusals": services.refusals.run(),
        "quotas": services.admission.run(),
        "tombstones": _keep_tombstones(parts),
        "pulse": services.pulse.run(),
        "loop lag": watch_loop(),
    }
    if services.box is not None:
        jobs["box"] = services.box.run()
    return [asyncio.create_task(job, name=name) for name, job in jobs.items()]


async def watch_keys(services: Services) -> None:
    """Learn of keys that are made, revoked and expire, until cancelled: while the daemon starts, too."""
    dropping: set[asyncio.Task[None]] = set()

    def drop_revoked() -> None:
        services.registry.followers.keys_changed()
        task = asyncio.create_task(services.sockets.drop_revoked(services.gate))
        dropping.add(task)
        task.add_done_callback(dropping.discard)

    services.gate.uses.in_use = services.sockets.keys_in_use
    try:
        await services.gate.watch(on_change=drop_revoked)
    finally:
        await asyncio.to_thread(services.gate.uses.keep)


async def _keep_tombstones(parts: Parts) -> None:
    """Count what came too late."""
    while True:
        await asyncio.sleep(_LATE_INTERVAL_S)
        late = parts.services.registry.take_late_lines()
        try:
            for (tenant, recording_id), lines in late.items():
                await asyncio.to_thread(parts.tombstones.count_late, tenant, recording_id, lines)
        except RrdError as error:
            emit(logger, logging.WARNING, "tombstones_not_kept", error=error)
