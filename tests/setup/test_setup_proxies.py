"""The files for nginx and Caddy with a name put in: what is shipped, and what the proxies take."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rrd.setup.first_keys import FirstKeys
from rrd.setup.handout import Installation, handout
from rrd.setup.proxies import KINDS, ProxyKind, proxy_file, without_comments
from rrd.setup.settings_file import shipped
from tests.harness import ROOT
from tests.ports import free_port
from tests.proxies.proxy_lab import Caddy, Nginx, certificate
from tests.proxies.served import make_proxy
from tests.setup.setup_lab import NAME, environment

OTHER = "xn--bcher-kva.example"


@pytest.mark.parametrize(
    "path",
    [
        *("config/rrd.toml", "config/nginx.conf", "config/Caddyfile"),
        *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "systemd").iterdir())),
    ],
)
def test_an_installation_takes_along_what_the_repository_ships(path: str) -> None:
    name = path.rpartition("/")[2]
    assert shipped(name) == (ROOT / path).read_text("utf-8")
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    patterns = project["tool"]["setuptools"]["package-data"]["rrd"]
    packed = {path for pattern in patterns for path in (ROOT / "rrd").glob(pattern)}
    assert ROOT / "rrd/setup/files" / name in packed


@pytest.mark.parametrize("kind", KINDS)
def test_the_name_and_the_upstream_stand_wherever_the_shipped_ones_stood(kind: ProxyKind) -> None:
    text = proxy_file(kind, name=OTHER, upstream="127.0.0.1:9000")
    assert "example.com" not in text.replace("stage.example.com", "")
    assert "8787" not in text
    assert OTHER in text
    assert "127.0.0.1:9000" in text


@pytest.mark.parametrize("kind", KINDS)
def test_without_its_explanations_a_file_says_the_same(kind: ProxyKind) -> None:
    whole = proxy_file(kind, name=OTHER, upstream="127.0.0.1:9000")
    short = without_comments(whole)
    said = [line for line in whole.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert [line for line in short.splitlines() if line] == said
    assert "\n\n\n" not in short


def judged(kind: str, text: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Let the installed proxy judge a file, with the tests' own certificates and ports."""
    proxy = make_proxy(kind, directory, 1)
    if isinstance(proxy, Caddy):
        return proxy.judge(text)
    assert isinstance(proxy, Nginx)
    for part, path in (("fullchain", certificate().path), ("privkey", certificate().key_path)):
        text = text.replace(f"/etc/letsencrypt/live/{OTHER}/{part}.pem", str(path))
    # nginx listens when it judges.
    ports = {"443 ssl": f"{free_port()} ssl", "80;": f"{free_port()};"}
    for port, free in ports.items():
        text = text.replace(port, free)
    return proxy.judge(text)


@pytest.mark.parametrize("is_short", [False, True], ids=["explained", "short"])
@pytest.mark.parametrize("kind", ["nginx", "caddy", "new caddy"])
def test_the_proxies_take_what_is_printed(kind: str, is_short: bool, tmp_path: Path) -> None:
    knows_delay = kind == "new caddy"
    family: ProxyKind = "nginx" if kind == "nginx" else "caddy"
    text = proxy_file(family, name=OTHER, upstream="127.0.0.1:9000", knows_delay=knows_delay)
    assert ("\t\t\tstream_close_delay 24h" in text) is knows_delay
    done = judged(kind, without_comments(text) if is_short else text, tmp_path)
    assert done.returncode == 0, done.stderr


def run_setup(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rrd", "setup", *argv], env=environment(RRD_CONFIG="", RRD_PORT="9000"),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_prints_the_file_alone_and_does_nothing_else(kind: str, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    done = run_setup("--proxy", kind, "--name", f"{NAME.upper()}.", "--data-dir", str(data_dir))
    assert (done.returncode, done.stderr) == (0, "")
    family: ProxyKind = "nginx" if kind == "nginx" else "caddy"
    text = proxy_file(family, name=NAME, upstream="127.0.0.1:9000")
    assert done.stdout.replace("# stream_close_delay", "stream_close_delay") == text.replace(
        "# stream_close_delay", "stream_close_delay"
    )
    assert not data_dir.exists()


@pytest.mark.parametrize(
    "name", ["https://rrd.example.com", "rrd.example.com:443", "a b", "-a.example", "a;b", "a..b", "x" * 64]
)
def test_what_is_no_host_name_reaches_no_configuration(name: str) -> None:
    done = run_setup("--proxy", "nginx", f"--name={name}")
    assert done.returncode == 2
    assert "rrd.example.com" in done.stderr
    assert done.stdout == ""


def test_a_proxy_needs_a_name() -> None:
    done = run_setup("--proxy", "nginx")
    assert done.returncode == 1
    assert "--name" in done.stderr


def test_what_a_person_is_told_to_type_keeps_the_sites_that_caddy_serves_already() -> None:
    place = Installation(
        "http://127.0.0.1:8787", f"https://{NAME}", NAME, "t", "", has_console=True, flags=""
    )
    told = handout(place, FirstKeys(None, None, ()), {"caddy": "x {\n}\n"}).splitlines()
    (replaces,) = [number for number, line in enumerate(told) if "> /etc/caddy/Caddyfile" in line]
    assert told[replaces - 1].split()[:3] == ["cp", "-p", "--backup=numbered"]
    assert "other sites" in told[replaces - 2]
