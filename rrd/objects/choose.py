"""The object store that the settings ask for."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from rrd import layout
from rrd.config import Config
from rrd.config.checks import check_s3
from rrd.disk.disk import Disk
from rrd.errors import ConfigError, WrongStore
from rrd.objects.identity import OwnedStore, explained, judge, read_own
from rrd.objects.local import LocalStore
from rrd.objects.store import ObjectStore


@contextlib.asynccontextmanager
async def open_store(
    config: Config, disk: Disk, bare: ObjectStore | None = None
) -> AsyncIterator[OwnedStore]:
    """Yield ``bare``, or the store of ``open_bare_store``, changed only while it is this data directory's.

    Raises also ``WrongStore`` if the directory that was used is gone.
    """
    if config.object_store == "local":
        _check_there(_root(config), config.data_dir, disk)
    async with contextlib.nullcontext(bare) if bare is not None else open_bare_store(config, disk) as store:
        owned = OwnedStore(store, config.data_dir, disk)
        try:
            yield owned
        finally:
            owned.release()


@contextlib.asynccontextmanager
async def open_bare_store(config: Config, disk: Disk) -> AsyncIterator[ObjectStore]:
    """Yield the store that ``object_store`` and its settings say, and close it at the end.

    Asks nothing of a bucket, which may be away now and come back later. Raises ``ConfigError`` if the
    settings can't be right, with what to set.
    """
    store: ObjectStore
    if config.object_store == "local":
        root = _root(config)
        try:
            store = LocalStore(root, disk)
        except OSError as error:
            raise ConfigError(
                f"objects_dir: {root} can't be made a directory of objects: {error.strerror}"
            ) from None
    else:
        check_s3(config)
        # Its client's packages are a third of all that a daemon imports: 0.2 s of each start, for nothing
        # where there is no bucket.
        from rrd.objects.s3 import S3Store  # noqa: PLC0415

        store = S3Store(config)
    try:
        yield store
    finally:
        await store.close()


def _root(config: Config) -> str:
    return (config.objects_dir or layout.objects_dir(config.data_dir)).rstrip("/") or "/"


def _check_there(root: str, data_dir: str, disk: Disk) -> None:
    """Raise ``WrongStore`` if the directory is gone: a new one would look like one that lost everything."""
    own, name = read_own(data_dir, disk), f"local:{root}"
    if own is not None and own.store and not disk.is_dir(root):
        verdict = judge(own, None, store_name=name)
        raise WrongStore(explained(verdict, own, store_name=name, data_dir=data_dir))
