"""The proxies whose configuration is shipped, each run from that file with as few changes as a test needs.

They speak TLS, with a certificate that only ``trusting`` and a browser with ``Certificate.flags`` believe; or
plain HTTP for what is not about TLS.
"""

from __future__ import annotations

import asyncio
import atexit
import base64
import contextlib
import functools
import hashlib
import os
import re
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest

from tests.harness import ROOT, eventually
from tests.ports import free_port

CONFIG_HEADER = "X-Config"
"""A response header with the number of the configuration in effect."""

_STOP_TIMEOUT_S = 10.0
# What only the proxy on a machine of one's own has to be told.
_NGINX_AROUND = """
daemon off;
{user}
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 256; }}
http {{
    client_body_temp_path {directory}/bodies;
    proxy_temp_path {directory}/proxied; fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    {site}
}}
"""


def unavailable(reason: str) -> None:
    """Skip, or fail where the caller of pytest insists that these tests run."""
    if os.environ.get("TESTS_REQUIRE_TOOLS") == "1":
        pytest.fail(f"TESTS_REQUIRE_TOOLS=1, but {reason}")
    pytest.skip(reason)


def replaced(text: str, old: str, new: str) -> str:
    """Replace what must be there: a shipped file that changed its form must not go untested."""
    assert old in text, f"{old!r} isn't in the shipped file"
    return text.replace(old, new)


class Certificate(NamedTuple):
    """A certificate for this machine's names, signed by itself, and its key."""

    path: Path
    key_path: Path
    flags: list[str]
    """What makes Chromium believe this one, and no other."""

    def trusting(self) -> ssl.SSLContext:
        """Return the context of a client that believes this certificate alone."""
        return ssl.create_default_context(cafile=self.path)


@functools.cache
def certificate() -> Certificate:
    """Return the certificate of all proxies of this test process."""
    openssl = shutil.which("openssl")
    if openssl is None:
        unavailable("openssl isn't installed")
    assert openssl is not None
    directory = Path(tempfile.mkdtemp(prefix="rrd-tls-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    directory.chmod(0o755)  # A proxy may read it as another user.
    path, key_path = directory / "certificate.pem", directory / "key.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=rrd of the tests", "-keyout", str(key_path), "-out", str(path)),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        capture_output=True,
        check=True,
    )
    public = subprocess.run(
        [openssl, "pkey", "-in", str(key_path), "-pubout", "-outform", "DER"], capture_output=True, check=True
    )
    pin = base64.b64encode(hashlib.sha256(public.stdout).digest()).decode()
    return Certificate(path, key_path, [f"--ignore-certificate-errors-spki-list={pin}"])


def visiting_proxy(address: str = "127.0.0.1") -> aiohttp.ClientSession:
    """Return a visitor of a proxy, who calls from ``address``."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0), ssl=certificate().trusting())
    return aiohttp.ClientSession(connector=connector)


class Proxy:
    """A proxy of one kind, to be run in ``directory`` before the daemon on ``upstream_port``."""

    name: str

    def __init__(self, binary: str, directory: Path, upstream_port: int, *, speaks_tls: bool = True) -> None:
        self.binary = binary
        self.speaks_tls = speaks_tls
        self.directory = directory
        self.upstream_port = upstream_port
        self.port, self.plain_port = free_port(), free_port()
        self.idle_ms = 60_000
        """After what silence the proxy cuts a socket, where it has such a setting."""
        self.log_path = directory / "output.log"

    @property
    def url(self) -> str:
        return f"{'https' if self.speaks_tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def keeps_sockets(self) -> bool:
        """Whether sockets stay open over a reload, as the shipped file says of this version."""
        raise NotImplementedError

    def write(self, config_number: int) -> None:
        """Write the configuration to be started with or reloaded; the number tells them apart."""
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def check(self) -> subprocess.CompletedProcess[str]:
        """Let the proxy judge its configuration."""
        raise NotImplementedError

    def signal_reload(self) -> None:
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run it until the block ends."""
        self.write(1)
        environment = {**os.environ, "HOME": str(self.directory), "XDG_DATA_HOME": str(self.directory)}
        with self.log_path.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        try:
            await self._wait_for_config(1)
            yield
        finally:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), _STOP_TIMEOUT_S)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()

    async def reload(self) -> None:
        """Change the configuration; return when it is in effect for new requests."""
        self.write(2)
        await asyncio.to_thread(self.signal_reload)
        await self._wait_for_config(2)

    async def break_upstream(self) -> None:
        """Send requests to ``upstream_port``, where nothing listens; return when that is in effect."""
        self.write(2)
        await asyncio.to_thread(self.signal_reload)

        async def is_broken() -> bool | None:
            try:
                async with visiting_proxy() as session, session.get(self.url + "/-/healthy") as reply:
                    return reply.status == 502 or None
            except aiohttp.ClientConnectionError:
                return None

        await eventually(is_broken, what=f"{self.name} to miss its upstream")

    async def _wait_for_config(self, number: int) -> None:
        async def in_effect() -> bool | None:
            assert self._process.returncode is None, self.log_path.read_text()
            # A session of its own, as an old connection may lead to an old worker.
            try:
                async with visiting_proxy() as session, session.get(self.url + "/-/healthy") as reply:
                    return reply.headers.get(CONFIG_HEADER) == str(number) or None
            except aiohttp.ClientConnectionError:
                return None

        await eventually(in_effect, what=f"configuration {number} of {self.name}")


class Nginx(Proxy):
    name = "nginx"
    keeps_sockets = True

    @staticmethod
    def find() -> str | None:
        # A user's PATH often lacks this directory.
        return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

    def write(self, config_number: int) -> None:
        site = (ROOT / "config/nginx.conf").read_text()
        tls = " ssl http2" if self.speaks_tls else ""
        site = replaced(site, "listen 443 ssl http2;", f"listen 127.0.0.1:{self.port}{tls};")
        site = replaced(site, "listen 80;", f"listen 127.0.0.1:{self.plain_port};")
        site, count = re.subn(r"^ *listen \[::\].*\n", "", site, flags=re.MULTILINE)
        assert count == 2
        site = replaced(site, "127.0.0.1:8787", f"127.0.0.1:{self.upstream_port}")
        files = "/etc/letsencrypt/live/rrd.example.com/"
        site = replaced(site, f"{files}fullchain.pem", str(certificate().path))
        site = replaced(site, f"{files}privkey.pem", str(certificate().key_path))
        site = replaced(site, "60s", f"{self.idle_ms}ms")
        site = replaced(
            site, "    location / {\n        proxy_pass",
            f"    add_header {CONFIG_HEADER} {config_number} always;\n    location / {{\n        proxy_pass",
        )  # fmt: skip
        user = "user root;" if os.geteuid() == 0 else ""
        text = _NGINX_AROUND.format(directory=self.directory, user=user, site=site)
        (self.directory / "nginx.conf").write_text(text)

    def judge(self, site: str) -> subprocess.CompletedProcess[str]:
        """Let nginx judge a site."""
        text = _NGINX_AROUND.format(directory=self.directory, user="", site=site)
        (self.directory / "nginx.conf").write_text(text)
        return self.check()

    def command(self) -> list[str]:
        return [self.binary, "-c", f"{self.directory}/nginx.conf", "-e", f"{self.directory}/early.log"]

    def check(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self.command(), "-t"], capture_output=True, text=True, check=False)

    def signal_reload(self) -> None:
        subprocess.run([*self.command(), "-s", "reload"], capture_output=True, check=True)


class Caddy(Proxy):
    name = "Caddy"

    def __init__(self, binary: str, directory: Path, upstream_port: int, *, speaks_tls: bool = True) -> None:
        super().__init__(binary, directory, upstream_port, speaks_tls=speaks_tls)
        self.admin_port = free_port()
        said = subprocess.run([binary, "version"], capture_output=True, text=True, check=True).stdout
        found = re.match(r"v?(\d+)\.(\d+)", said)
        assert found is not None, said
        self.version = int(found[1]), int(found[2])

    @property
    def keeps_sockets(self) -> bool:
        return self.version >= (2, 7)

    def write(self, config_number: int) -> None:
        site = (ROOT / "config/Caddyfile").read_text()
        scheme = "https" if self.speaks_tls else "http"
        names = ", ".join(f"{scheme}://{name}:{self.port}" for name in ("127.0.0.1", "localhost"))
        tls = f"\n\ttls {certificate().path} {certificate().key_path}" if self.speaks_tls else ""
        site = replaced(site, "\nrrd.example.com {", f"\n{names} {{{tls}")
        site = replaced(site, "127.0.0.1:8787", f"127.0.0.1:{self.upstream_port}")
        header = f"header {CONFIG_HEADER} {config_number}"
        site = replaced(site, "\treverse_proxy", f"\t{header}\n\t\treverse_proxy")
        if self.keeps_sockets:
            site = replaced(site, "# stream_close_delay", "stream_close_delay")
        own = f"admin 127.0.0.1:{self.admin_port}\n\tauto_https disable_redirects"
        site = replaced(site, "{\n\tlog {", f"{{\n\t{own}\n\tlog {{")
        (self.directory / "Caddyfile").write_text(site)

    def command(self) -> list[str]:
        return [self.binary, "run", *self._config()]

    def check(self) -> subprocess.CompletedProcess[str]:
        return self.judge((self.directory / "Caddyfile").read_text())

    def judge(self, config: str) -> subprocess.CompletedProcess[str]:
        """Let this version of Caddy judge a configuration."""
        path = self.directory / "Caddyfile.judged"
        path.write_text(config)
        command = [self.binary, "validate", "--config", str(path), "--adapter", "caddyfile"]
        environment = {**os.environ, "HOME": str(self.directory), "XDG_DATA_HOME": str(self.directory)}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    def signal_reload(self) -> None:
        command = [self.binary, "reload", *self._config(), "--address", f"127.0.0.1:{self.admin_port}"]
        subprocess.run(command, capture_output=True, check=True)

    def _config(self) -> list[str]:
        return ["--config", f"{self.directory}/Caddyfile", "--adapter", "caddyfile"]
