"""What rrd asks of an object store.

Keys are ``layout.object_key``'s; a store puts its own prefix or directory before them, and takes it away
again in what it lists. Only one daemon writes to a store's prefix, so nothing here is conditional.

Every method raises ``StoreAway`` if the store can't be reached, refuses, answers 5xx, or did not answer
within the method's deadline, which each implementation bounds by itself: whoever calls never waits for ever.
An ``OSError`` of a local disk comes through as itself only where it says that the disk is full (``ENOSPC``,
``EDQUOT``).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import NamedTuple, Protocol

from rrd.config import Config


class ObjectInfo(NamedTuple):
    """One object in a listing."""

    key: str
    size: int
    modified_ms: int


class Removed(NamedTuple):
    """What ``delete_prefix`` removed: objects (each old version counts as one), and their bytes."""

    objects: int
    size: int


class ObjectStore(Protocol):
    """A place for objects: immutable files with keys. Safe to be used by many tasks of one loop at once."""

    name: str
    """For logs and people, without secrets: ``local:/var/lib/rrd/objects``, ``s3://bucket/prefix``."""

    async def put(self, key: str, path: str) -> None:
        """Store the local file ``path`` under ``key``, over what was there, and verify it.

        When this returns the object is whole and durable as far as the store can tell: its size, and where
        the store reports one its checksum, are the file's. After an error anything may be there: nothing, the
        whole object, or unfinished parts; doing it again is always safe. Raises ``ObjectRejected`` if the
        store took something else, ``FileNotFoundError`` if there is no file ``path``.
        """
        ...

    async def read(self, key: str, offset: int, size: int) -> bytes:
        """Return ``size`` bytes from ``offset``; fewer only at the end. Raises ``ObjectMissing``."""
        ...

    async def size(self, key: str) -> int:
        """Return an object's size in bytes. Raises ``ObjectMissing``."""
        ...

    def list(self, prefix: str = "") -> AsyncGenerator[ObjectInfo, None]:
        """Yield all objects whose key begins with ``prefix``, in the order of their keys (as UTF-8 bytes).

        A page at a time: memory doesn't grow with the number of objects.
        """
        ...

    async def delete(self, key: str) -> None:
        """Remove an object, all versions of it. None there is no error."""
        ...

    async def delete_prefix(self, prefix: str) -> Removed:
        """Remove all objects, versions, delete markers, unfinished uploads whose key begins with ``prefix``.

        ``prefix`` must not be empty. Done again after a failure, it finishes the rest.
        """
        ...

    async def check(self) -> None:
        """Return if the store can be reached and lets us list. Raises ``StoreAway``: what to do about it."""
        ...

    async def close(self) -> None:
        """Let go of connections. Nothing may be called after."""
        ...


def bucket_name(config: Config) -> str:
    """Return what a bucket is called in words for people, and in what says where objects are."""
    prefix = config.s3_prefix.strip("/")
    return f"s3://{config.s3_bucket}" + (f"/{prefix}" if prefix else "")
