"""What all S3 servers for tests have in common: processes, free ports, a certificate, and a way in.

Processes are our children, known by their handles, each with a log of its own. The kernel ends them with us,
however we end (``setpriv --pdeathsig``), so they must be started from the main thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from tests.ports import free_port

START_S = 60.0


class MissingTools(Exception):
    """What a server needs is not installed. The message says what."""


class S3Server:
    """One server, in a temporary directory of its own. ``tests/s3_servers.py`` says how to use it."""

    kind = ""
    tools: tuple[str, ...] = ()
    doors: tuple[str, ...] = ()
    """Names of the processes that speak S3: what ``stop`` freezes."""
    has_versions = True

    def __init__(self) -> None:
        if missing := [tool for tool in (*self.tools, "setpriv") if shutil.which(tool) is None]:
            raise MissingTools(f"not installed: {', '.join(missing)}")
        # Not in pytest's own directory: unix sockets are made in here, whose paths may have 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix=f"rrd-{self.kind}-"))
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.tls_endpoint = ""
        self.ca = ""
        self.region = "us-east-1"
        self.access_key = f"TEST{secrets.token_hex(8).upper()}"
        self.secret_key = secrets.token_hex(20)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._last_error: Exception | None = None

    # For tests

    async def start(self) -> None:
        """Start whatever does not run; return when requests are answered."""
        raise NotImplementedError

    def stop(self) -> None:
        """Freeze it (SIGSTOP): connections are still accepted, by the kernel, and nothing is answered."""
        for name in self.doors:
            self._processes[name].send_signal(signal.SIGSTOP)

    def cont(self) -> None:
        """Let it go on after ``stop``."""
        for name in self.doors:
            self._processes[name].send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """``kill -9``, all of its processes at once."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
        self._processes.clear()

    def destroy(self) -> None:
        """Kill it and delete its data."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def settings(self, bucket: str, *, tls: bool = False, **more: Any) -> dict[str, Any]:
        """Return the settings of rrd that lead to ``bucket`` here. ``more``: other settings, added."""
        credentials = self.directory / "credentials"
        credentials.write_text(
            f"[default]\naws_access_key_id = {self.access_key}\naws_secret_access_key = {self.secret_key}\n"
        )
        credentials.chmod(0o600)
        return {
            "object_store": "s3",
            "s3_endpoint": self.tls_endpoint if tls else self.endpoint,
            "s3_ca_file": self.ca if tls else "",
            "s3_region": self.region,
            "s3_bucket": bucket,
            "s3_credentials_file": str(credentials),
            **more,
        }

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Any]:
        """Yield an aiobotocore S3 client, for looking behind rrd's back, and for wrecking things."""
        config = AioConfig(
            signature_version="s3v4",
            connect_timeout=5,
            read_timeout=30,
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"},
        )
        async with get_session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=config,
        ) as client:
            yield client

    async def make_bucket(self, name: str, *, versioned: bool = False) -> None:
        """Make a bucket; one that keeps old versions, if asked."""
        async with self.client() as client:
            await client.create_bucket(Bucket=name)
            if versioned:
                await client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})

    async def all_versions(self, bucket: str, prefix: str = "") -> list[str]:
        """Return the keys of all that is in a bucket: objects, old versions, delete markers, uploads."""
        async with self.client() as client:
            found = []
            try:
                pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
                async for page in pages:
                    found += [
                        row["Key"] for row in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
                    ]
            except client.exceptions.ClientError:  # Swift has no versions at its S3 door.
                pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
                async for page in pages:
                    found += [row["Key"] for row in page.get("Contents", ())]
            pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix)
            async for page in pages:
                found += [row["Key"] for row in page.get("Uploads", ())]
            return sorted(found)

    # For the kinds of servers

    def spawn(self, name: str, *command: str | Path, env: Mapping[str, str] | None = None) -> None:
        """Start a process, if it does not run already."""
        running = self._processes.get(name)
        if running is not None and running.poll() is None:
            return
        with (self.directory / f"{name}.out").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Nothing of the machine's own set-up may reach in.
                env={
                    "PATH": os.environ["PATH"],
                    "LC_ALL": "C.UTF-8",
                    "HOME": str(self.directory),
                    **(env or {}),
                },
                start_new_session=True,
            )

    async def run(self, *command: str | Path, deadline_s: float = START_S) -> str:
        """Run a command to its end and return what it printed."""
        process = await asyncio.create_subprocess_exec(
            *map(str, command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(self.directory)},
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), deadline_s)
        except BaseException:
            if process.returncode is None:
                process.kill()
                await process.wait()
            raise
        if process.returncode:
            raise RuntimeError(f"{command[0]} ended with {process.returncode}: {output.decode()[-2000:]}")
        return output.decode()

    async def wait_for(self, name: str, is_up: Callable[[], Awaitable[bool]]) -> None:
        """Return when ``is_up``. If process ``name`` ends or takes too long, raise what its log says."""
        end = time.monotonic() + START_S
        while not await is_up():
            if self._processes[name].poll() is not None or time.monotonic() > end:
                said = (self.directory / f"{name}.out").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{name} of {self.kind} did not come up: {self._last_error!r}\n{said}")
            await asyncio.sleep(0.05)

    async def answers(self) -> bool:
        """Tell if it answers a signed request. A server that only listens does not."""
        try:
            async with asyncio.timeout(10), self.client() as client:
                await client.list_buckets()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not up yet, and wait_for has the deadline
            self._last_error = error
            return False
        return True

    def make_certificate(self) -> tuple[Path, Path]:
        """Make a key and a certificate for 127.0.0.1 that signs itself; return both paths."""
        key, certificate = self.directory / "tls.key", self.directory / "tls.pem"
        if not certificate.exists():
            command = (
                "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=rrd-tests "
                "-addext subjectAltName=IP:127.0.0.1"
            )
            subprocess.run(
                [*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True
            )
        return key, certificate


@contextlib.asynccontextmanager
async def serving(server: S3Server) -> AsyncIterator[S3Server]:
    """Start a server, yield it, and destroy it whatever happens."""
    try:
        await server.start()
        yield server
    finally:
        server.destroy()
