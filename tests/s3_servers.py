"""S3 servers for tests, all on 127.0.0.1, each with data of its own that go when the block ends.

::

    async with ceph() as server:                   # or swift(), or moto()
        await server.make_bucket("recordings")     # versioned=True: one that keeps old versions
        config = msgspec.convert(server.settings("recordings", s3_prefix="p"), Config)
        ...
        server.stop()         # frozen (SIGSTOP): it accepts connections and stays silent
        server.cont()         # and goes on
        server.kill()         # kill -9 of all its processes
        await server.start()  # back on the same ports, with its data; moto forgets objects, keeps buckets

``settings`` makes a credentials file and returns what ``Config``, ``running`` and ``DaemonProcess`` want:
``running(path, **server.settings("recordings"))``; with ``tls=True`` through https (Ceph alone).
``server.endpoint``, ``.tls_endpoint``, ``.ca`` (path of the certificate), ``.access_key``, ``.secret_key``
and ``.region`` are there by themselves, ``server.client()`` is an aiobotocore client, and
``server.all_versions(bucket)`` shows what is left: old versions, delete markers and unfinished uploads, too.

moto is quick (half a second) and always there. Ceph takes some 5 s to start and wants Debian's packages,
Swift 3 s and an environment of its own (TESTS_SWIFT: a directory that has one already): tests that use
them are marked ``s3`` (``pytest.mark.s3``), and ``make test-s3`` runs them. Without the tools such a test
is skipped, or fails if TESTS_REQUIRE_TOOLS=1 is in the environment.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from typing import NoReturn

import pytest

from tests.s3.ceph_server import CephServer
from tests.s3.moto_server import MotoServer
from tests.s3.server import MissingTools, S3Server, serving
from tests.s3.swift_server import SwiftServer

__all__ = ["S3Server", "ceph", "moto", "swift"]


def moto() -> contextlib.AbstractAsyncContextManager[S3Server]:
    """moto's server: checks no signatures and no checksums, keeps versions, holds all in memory."""
    return _serving(MotoServer)


def ceph() -> contextlib.AbstractAsyncContextManager[S3Server]:
    """A Ceph cluster: http and https, keeps versions, ignores checksum headers, checks signed hashes."""
    return _serving(CephServer)


def swift() -> contextlib.AbstractAsyncContextManager[S3Server]:
    """OpenStack Swift: refuses wrong checksums, has no versions at its S3 door."""
    return _serving(SwiftServer)


@contextlib.asynccontextmanager
async def _serving(kind: type[S3Server]) -> AsyncIterator[S3Server]:
    try:
        server = kind()
    except MissingTools as missing:
        unavailable(str(missing))
    async with serving(server):
        yield server


def unavailable(reason: str) -> NoReturn:
    """Skip, or fail where the caller of pytest insists that these tests run."""
    if os.environ.get("TESTS_REQUIRE_TOOLS") == "1":
        pytest.fail(f"TESTS_REQUIRE_TOOLS=1, but {reason}")
    pytest.skip(reason)
