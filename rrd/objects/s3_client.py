"""aiobotocore as rrd uses it: calls with a deadline, and clients that outlive outages.

What is set apart from botocore's defaults, and why:

- Each call has a deadline of ours. botocore's timeouts don't guard an upload to a server that accepts the
  connection and then says nothing.
- Checksums are sent as ready headers, never as trailers of a chunked body, which older servers answer with
  411 or 501 over https. So ``when_required``.
- Bodies are signed, over https too: then every server refuses one that was damaged on the way, also those
  that ignore checksums. The hash is computed before, in a thread (``s3_body``); ``_Signer`` hands it on.
- One retry, for a pooled connection that turns out to be dead. Whoever calls has a backoff of its own.
- Names are looked up in threads of our own: the loop's default ones belong to commits, which a dead name
  server must not hold up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from typing import Any

import botocore.auth
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from aiohttp.abc import AbstractResolver, ResolveResult
from botocore.loaders import create_loader

from rrd.config import Config
from rrd.errors import StoreAway
from rrd.objects.s3_body import FilePart
from rrd.objects.s3_errors import FAILURES, is_about_credentials, meaning

_CONNECTIONS_MAX = 32
_BYTES_PER_TIMEOUT = 10 << 20  # With s3_timeout_s = 20 that is a line of 0.5 MB/s.
_CREDENTIALS_S = 30.0
CLIENT_AGE_MIN_S = 10.0  # A client takes some 0.1 s of the loop to make: with a wrong key, not at each call.
_SIGNATURE = "rrd-s3v4"
_LOADER = create_loader()
"""botocore's descriptions of S3, which take some 0.2 s to read: once, however many clients are made."""

# Where distributions keep the CAs that they trust, if OpenSSL was built to look elsewhere.
_SYSTEM_CA_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Red Hat
    "/etc/ssl/ca-bundle.pem",  # SUSE
)


class S3Client:
    """Calls to one bucket. ``name``: of the store, for messages. Connects when it is first used.

    Credentials are looked for at the first call, and again, soon, after a refusal that others could mend.
    """

    def __init__(
        self, config: Config, name: str, threads: Executor, *, client_age_min_s: float = CLIENT_AGE_MIN_S
    ) -> None:
        self._config = config
        self._client_age_min_s = client_age_min_s
        self._name = name
        self._threads = threads
        self._lock = asyncio.Lock()
        self._current: _Connected | None = None
        self._former: list[_Connected] = []
        self._is_refused = False

    async def call(self, what: str, operation: str, *, size: int = 0, **arguments: Any) -> dict[str, Any]:
        """Call an S3 operation on the bucket and return its answer, with a body (``Body``) as bytes.

        ``what`` it is for, for the error; ``size``: bytes of body that go over the line, which the deadline
        grows with. Raises ``ObjectError``s alone, and ``CancelledError``.
        """
        deadline_s = self._config.s3_timeout_s * (1 + size / _BYTES_PER_TIMEOUT)
        try:
            async with self._connected() as client, asyncio.timeout(deadline_s):
                answer: dict[str, Any] = await getattr(client, operation)(
                    Bucket=self._config.s3_bucket, **arguments
                )
                if operation == "get_object":
                    async with answer["Body"] as body:
                        answer["Body"] = await body.read()
                return answer
        except FAILURES as error:
            if is_about_credentials(error):
                self._is_refused = True
            raise meaning(error, what, self._name, deadline_s) from error

    async def close(self) -> None:
        for one in (*self._former, self._current):
            if one is not None:
                await one.stack.aclose()
        self._former.clear()
        self._current = None

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        try:
            async with asyncio.timeout(_CREDENTIALS_S), self._lock:
                if self._current is None or (
                    self._is_refused and time.monotonic() - self._current.made_s > self._client_age_min_s
                ):
                    await self._connect()
                mine = self._current
                assert mine is not None
                mine.users += 1
        except TimeoutError as error:
            raise StoreAway(
                f"{self._name}: no credentials were found within {_CREDENTIALS_S:.0f} s"
            ) from error
        try:
            yield mine.client
        finally:
            mine.users -= 1

    async def _connect(self) -> None:
        session = _make_session(self._config)
        await asyncio.get_running_loop().run_in_executor(
            self._threads, session.warm_up_loader_caches, "s3", None
        )
        stack = contextlib.AsyncExitStack()
        client = await stack.enter_async_context(_make_client(session, self._config, self._threads))
        client.meta.events.register("choose-signer.s3", _choose_signature)
        if self._current is not None:
            self._former.append(self._current)
        self._current = _Connected(client, stack)
        self._is_refused = False
        for one in [one for one in self._former if not one.users]:
            self._former.remove(one)
            await one.stack.aclose()


class _Connected:
    """An aiobotocore client, and how many calls it has under way."""

    def __init__(self, client: Any, stack: contextlib.AsyncExitStack) -> None:
        self.client = client
        self.stack = stack
        self.made_s = time.monotonic()
        self.users = 0


def _make_session(config: Config) -> Any:
    session = AioSession(profile="default" if config.s3_credentials_file else None)
    session.register_component("data_loader", _LOADER)
    if config.s3_credentials_file:
        # A profile that was named goes before the environment, and ~/.aws has no say.
        session.set_config_variable("credentials_file", config.s3_credentials_file)
        session.set_config_variable("config_file", config.s3_credentials_file)
    # At debug they log headers, signatures included. ``log`` keeps them out of rrd's own log; a program that
    # uses this module may have another.
    for name in ("botocore", "aiobotocore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return session


def _make_client(
    session: Any, config: Config, threads: Executor
) -> contextlib.AbstractAsyncContextManager[Any]:
    """Return a client for the S3 settings, to be entered with ``async with``; sends nothing to the bucket.

    Entering looks for credentials, which may ask the machine's role for some; finding none is no error yet.
    """
    client: contextlib.AbstractAsyncContextManager[Any] = session.create_client(
        "s3",
        region_name=config.s3_region,
        endpoint_url=config.s3_endpoint or None,
        verify=config.s3_ca_file or _system_cas(),
        config=AioConfig(
            signature_version="s3v4",
            connect_timeout=config.s3_timeout_s,
            read_timeout=config.s3_timeout_s,
            max_pool_connections=_CONNECTIONS_MAX,
            retries={"mode": "standard", "total_max_attempts": 2},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={
                "addressing_style": "path" if config.s3_path_style else "virtual",
                "payload_signing_enabled": True,
            },
            connector_args={"resolver": _Resolver(threads)},
        ),
    )
    return client


def _choose_signature(**_: Any) -> str:
    botocore.auth.AUTH_TYPE_MAPS[_SIGNATURE] = _Signer
    return _SIGNATURE


class _Signer(botocore.auth.S3SigV4Auth):  # type: ignore[misc]
    """AWS Signature Version 4 that takes the hash of a ``FilePart`` from it."""

    def payload(self, request: Any) -> str:
        if isinstance(request.body, FilePart):
            return request.body.sha256.hex()
        return str(super().payload(request))


class _Resolver(AbstractResolver):
    """Host names → addresses, in threads of ours."""

    def __init__(self, threads: Executor) -> None:
        self._threads = threads

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        def look_up() -> list[ResolveResult]:
            found = socket.getaddrinfo(
                host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
            )
            return [
                ResolveResult(
                    hostname=host,
                    host=str(address[0]),
                    port=int(address[1]),
                    family=kind,
                    proto=protocol,
                    flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                )
                for kind, _, protocol, _, address in found
            ]

        return await asyncio.get_running_loop().run_in_executor(self._threads, look_up)

    async def close(self) -> None:
        pass


def _system_cas() -> str | bool:
    """Return the file of the CAs that this system trusts; True, botocore's own bundle, if there is none."""
    candidates = (ssl.get_default_verify_paths().cafile, *_SYSTEM_CA_FILES)
    return next((path for path in candidates if path and os.path.exists(path)), True)
