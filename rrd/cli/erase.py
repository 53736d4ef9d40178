"""``rrd erase``: recordings, gone for good. Through the daemon where one runs, else right here."""

from __future__ import annotations

import argparse
import contextlib
import functools
import sys
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlencode

from rrd import ids, layout
from rrd.access.keys import KeyStore
from rrd.audit import note, user
from rrd.cli import common
from rrd.config import Config
from rrd.errors import BadRequest, ConfigError, NotFound, RrdError
from rrd.index import home

if TYPE_CHECKING:
    import aiohttp

    from rrd.index.contract import Index
    from rrd.lifecycle.removal import Receipt, Remover

_SHOWN_MAX = 20
_PAGE = 100


class EraseRequest(NamedTuple):
    """What was asked for: recordings by their ids, or all that match filters."""

    tenant: str | None
    recordings: tuple[str, ...]
    filters: tuple[tuple[str, str], ...]


class Matches(NamedTuple):
    """A recording that is to go."""

    tenant: str
    recording_id: str
    events: int
    size: int


def register(commands: common.Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "erase",
        help="erase recordings for good",
        description="Erases recordings wherever they lie: segments, objects with all versions, metadata. "
        "Late events for them are refused from then on. Nothing brings them back but a backup.",
    )
    parser.add_argument("recordings", nargs="*", metavar="RECORDING")
    common.add_meta_flag(parser)
    parser.add_argument("--tenant", type=common.tenant, help="whose; needed where several tenants are meant")
    parser.add_argument("--yes", action="store_true", help="don't ask")
    parser.add_argument("--dry-run", action="store_true", help="say what would go, and leave it")
    parser.add_argument("--url", default="", help="the daemon; by default the one that the settings tell")
    common.runs(parser, _erase)


def _erase(args: argparse.Namespace) -> int:
    from rrd.startup.recovery import lock_data_dir  # noqa: PLC0415

    config = common.settings(args)
    wanted = _wanted(args, config)
    home.require(config.data_dir)
    with contextlib.ExitStack() as stack:
        is_served = False
        try:
            stack.enter_context(lock_data_dir(config.data_dir))
        except ConfigError:
            is_served = True
        if not is_served and not args.dry_run:
            # What a killed daemon has stored and not indexed is to be found as well.
            common.run_to_end(_catch_up(config))
        found = common.run_to_end(_find(config, wanted))
        _show(found)
        if args.dry_run or not found:
            return 0 if found else 1
        if not args.yes and not _agreed(found):
            print("rrd: nothing was erased.", file=sys.stderr)
            return 1
        if is_served:
            receipt = common.run_to_end(_through_daemon(config, args.url or _url(config), wanted, found))
        else:
            receipt = common.run_to_end(_here(config, wanted, found))
            for tenant in dict.fromkeys(row.tenant for row in found):
                ids_of = [row.recording_id for row in found if row.tenant == tenant]
                common.audit(
                    args, "erased", tenant=tenant, recordings=len(ids_of),
                    recording=ids_of[0] if len(ids_of) == 1 else None,
                )  # fmt: skip
    _tell(receipt)
    return 0


def _wanted(args: argparse.Namespace, config: Config) -> EraseRequest:
    if bool(args.recordings) == bool(args.meta):
        raise BadRequest("say which recordings: their ids, or --meta KEY=VALUE")
    recordings = [ids.check_recording_id(text, config.recording_ids) for text in args.recordings]
    return EraseRequest(args.tenant, tuple(dict.fromkeys(recordings)), tuple(args.meta))


async def _find(config: Config, wanted: EraseRequest) -> list[Matches]:
    """Return what there is of what is wanted. Raises ``NotFound``, ``BadRequest`` if it isn't clear whose."""
    async with home.opened(config.data_dir) as index:
        tenants = [wanted.tenant] if wanted.tenant else [tenant.name for tenant in await index.tenants()]
        if wanted.filters:
            if len(tenants) > 1:
                raise BadRequest("there are several tenants. Say whose recordings are meant: --tenant")
            return [found async for found in _matching(index, tenants, wanted)]
        return [await _one(index, tenants, recording_id) for recording_id in wanted.recordings]


async def _one(index: Index, tenants: Sequence[str], recording_id: str) -> Matches:
    rows = [row for tenant in tenants if (row := await index.recording(tenant, recording_id)) is not None]
    if not rows:
        raise NotFound(f"there is no recording {recording_id}. Nothing was erased")
    if len(rows) > 1:
        names = ", ".join(row.tenant for row in rows)
        raise BadRequest(
            f"recording {recording_id} is there for several tenants ({names}). Say which: --tenant"
        )
    return Matches(rows[0].tenant, recording_id, rows[0].next_seq - 1, rows[0].stored_bytes)


async def _matching(index: Index, tenants: Sequence[str], wanted: EraseRequest) -> AsyncIterator[Matches]:
    for tenant in tenants:
        offset = 0
        while page := await index.list_recordings(tenant, filters=wanted.filters, limit=_PAGE, offset=offset):
            for listed in page:
                row = await index.recording(tenant, listed.recording_id)
                if row is not None:
                    yield Matches(tenant, listed.recording_id, row.next_seq - 1, row.stored_bytes)
            offset += len(page)


def _show(found: Sequence[Matches]) -> None:
    if not found:
        print("rrd: no recording matches.", file=sys.stderr)
        return
    rows = [(row.tenant, row.recording_id, str(row.events), str(row.size)) for row in found[:_SHOWN_MAX]]
    common.print_table(("TENANT", "RECORDING", "EVENTS", "BYTES"), rows)
    if len(found) > _SHOWN_MAX:
        print(f"... and {len(found) - _SHOWN_MAX} more")


def _agreed(found: Sequence[Matches]) -> bool:
    if not sys.stdin.isatty():
        raise BadRequest("stdin is no terminal, so the question can't be answered. Add --yes if it is meant")
    events = sum(row.events for row in found)
    print(f"Erase {len(found)} recordings with {events} events for good? Type yes: ", end="", file=sys.stderr)
    sys.stderr.flush()
    return sys.stdin.readline().strip() == "yes"


def _tell(receipt: Receipt) -> None:
    print(
        f"erased {receipt.recordings} recordings: {receipt.events} events, {receipt.bytes} bytes,"
        f" {receipt.objects} objects"
    )
    if receipt.pending:
        print(
            f"rrd: the object store is away: objects of {receipt.pending} recordings are still there."
            " The daemon removes them when it is back.",
            file=sys.stderr,
        )


# Without a daemon


@contextlib.asynccontextmanager
async def _remover(config: Config) -> AsyncIterator[Remover]:
    """Put a daemon's parts together, without serving anything."""
    from rrd.daemon.assembly import bring_up_to_date, make_parts  # noqa: PLC0415 - all of the daemon

    async with contextlib.AsyncExitStack() as stack:
        keys = stack.enter_context(KeyStore(layout.keys_path(config.data_dir)))
        parts = await make_parts(config, keys, stack)
        await bring_up_to_date(parts)
        yield parts.services.remover


async def _catch_up(config: Config) -> None:
    async with _remover(config):
        pass


async def _here(config: Config, wanted: EraseRequest, found: Sequence[Matches]) -> Receipt:
    from rrd.lifecycle.removal import Receipt  # noqa: PLC0415

    total = Receipt()
    async with _remover(config) as remover:
        if wanted.filters:
            return await remover.erase_matching(found[0].tenant, wanted.filters)
        for row in found:
            total = total.plus(await remover.erase(row.tenant, row.recording_id))
    return total


# Through the daemon


def _url(config: Config) -> str:
    if not config.port:
        raise BadRequest("a daemon runs here, and the settings don't tell its port. Say where it is: --url")
    from rrd.exchange.posting import url_of  # noqa: PLC0415 - aiohttp

    return url_of(config.host, config.port)


async def _through_daemon(
    config: Config, url: str, wanted: EraseRequest, found: Sequence[Matches]
) -> Receipt:
    """Ask the daemon that holds the data directory, with a key made for it, and revoked in the end."""
    import asyncio  # noqa: PLC0415

    import aiohttp  # noqa: PLC0415

    from rrd.exchange.posting import admitted  # noqa: PLC0415
    from rrd.lifecycle.removal import Receipt  # noqa: PLC0415

    total = Receipt()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=10)) as session:
        with KeyStore(layout.keys_path(config.data_dir)) as store:
            for tenant in dict.fromkeys(row.tenant for row in found):
                key_id, key = store.create_key(tenant=tenant, scope="erase", label="rrd erase")
                # The daemon notes the erasure, by this key.
                made = {"key": key_id, "tenant": tenant, "label": "rrd erase"}
                await asyncio.to_thread(note, config.data_dir, "key_made", user() | made)
                try:
                    for path in _paths(wanted, [row for row in found if row.tenant == tenant]):
                        ask = functools.partial(_delete, session, url.rstrip("/") + path, key)
                        total = total.plus(await admitted(ask))
                finally:
                    store.revoke_key(key_id)
    return total


def _paths(wanted: EraseRequest, found: Sequence[Matches]) -> list[str]:
    if wanted.filters:
        return [f"/recordings?{urlencode([(f'meta[{key}]', value) for key, value in wanted.filters])}"]
    return [f"/recordings/{quote(row.recording_id)}" for row in found]


async def _delete(session: aiohttp.ClientSession, url: str, key: str) -> Receipt:
    import aiohttp  # noqa: PLC0415
    import orjson  # noqa: PLC0415

    from rrd.exchange.posting import PostFailed  # noqa: PLC0415
    from rrd.lifecycle.removal import Receipt  # noqa: PLC0415

    try:
        async with session.delete(url, headers={"Authorization": f"Bearer {key}"}) as response:
            status, body = response.status, await response.read()
    except aiohttp.ClientError as error:
        raise RrdError(f"{url}: {error}. A daemon holds the data directory: say where with --url") from error
    try:
        answer = orjson.loads(body)
        if status in {200, 202}:
            return Receipt(**answer)
        message = answer["error"]["message"]
    except (ValueError, TypeError, KeyError):
        raise RrdError(f"{url}: answered {status}, and not as rrd does. Check --url") from None
    if status == 404:  # It expired, or somebody else erased it, since it was found.
        return Receipt()
    raise PostFailed(f"{url}: {status}: {message}", answered=status)
