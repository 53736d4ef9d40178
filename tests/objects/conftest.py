"""Fixtures of the object stores' tests: servers, one of each for the whole run, and files to put."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.s3.ceph_server import CephServer
from tests.s3.moto_server import MotoServer
from tests.s3.server import MissingTools, S3Server
from tests.s3.swift_server import SwiftServer
from tests.s3_servers import unavailable

MakeFile = Callable[[bytes], str]


def _serve(kind: type[S3Server]) -> Iterator[S3Server]:
    try:
        server = kind()
    except MissingTools as missing:
        unavailable(str(missing))
    try:
        asyncio.run(_start(server))
        yield server
    finally:
        server.destroy()


async def _start(server: S3Server) -> None:
    await server.start()
    await server.make_bucket("recordings")
    if server.has_versions:
        await server.make_bucket("versioned", versioned=True)


@pytest.fixture(scope="session")
def moto_server() -> Iterator[S3Server]:
    yield from _serve(MotoServer)


@pytest.fixture(scope="session")
def ceph_server() -> Iterator[S3Server]:
    yield from _serve(CephServer)


@pytest.fixture(scope="session")
def swift_server() -> Iterator[S3Server]:
    yield from _serve(SwiftServer)


ANY_SERVER = [
    "moto",
    pytest.param("ceph", marks=pytest.mark.s3),
    pytest.param("swift", marks=pytest.mark.s3),
]


@pytest.fixture(params=ANY_SERVER)
def server(request: pytest.FixtureRequest) -> S3Server:
    """Each kind of server in turn, with the bucket ``recordings``, and ``versioned`` if it can."""
    found: S3Server = request.getfixturevalue(f"{request.param}_server")
    return found


@pytest.fixture(params=ANY_SERVER[1:])
def real_server(request: pytest.FixtureRequest) -> S3Server:
    """Ceph and Swift, which keep what they were given over a kill, and check signatures."""
    found: S3Server = request.getfixturevalue(f"{request.param}_server")
    return found


_numbers = itertools.count()


@pytest.fixture
def prefix() -> str:
    """A prefix that no other test of this run has."""
    return f"test-{next(_numbers)}"


@pytest.fixture
def make_file(tmp_path: Path) -> MakeFile:
    """Make a new file of these bytes and return its path."""
    numbers = itertools.count()

    def make(data: bytes) -> str:
        path = tmp_path / f"file-{next(numbers)}"
        path.write_bytes(data)
        return str(path)

    return make


def some_bytes(size: int, seed: int = 0) -> bytes:
    """Return bytes that don't compress or repeat, the same each time."""
    return random.Random(f"{size} {seed}").randbytes(size)
