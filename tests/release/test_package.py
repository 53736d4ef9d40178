"""The Debian package in a Debian of its own: installed, run as its unit says, upgraded, removed, purged."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.boot.machine import booted, need_machine
from tests.ports import free_port
from tests.release.building import ROOT, build, build_before
from tests.release.clean_root import CACHE, CleanRoot, need_tools

pytestmark = pytest.mark.deb

KEEP_SETTINGS = "-o Dpkg::Options::=--force-confold"


class Made(NamedTuple):
    """What the tests of this module share."""

    package: Path
    before: Path
    origin: str
    """Which package ``before`` is."""
    fresh: CleanRoot
    """With the package installed; never changed."""
    install_s: float


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    need_tools()
    # The roots have gigabytes, and files of another user.
    scratch = tmp_path_factory.mktemp("package")
    try:
        ready = os.environ.get("TESTS_DEB")
        package = Path(ready) if ready else build(ROOT)
        given = os.environ.get("TESTS_DEB_BEFORE")
        before, origin = (Path(given), "that was named") if given else build_before(scratch, package)
        CACHE.parent.mkdir(exist_ok=True)
        fresh = CleanRoot.bootstrapped(scratch / "fresh", cache=CACHE)
        fresh.run("apt-get update")
        began = time.monotonic()
        fresh.install(package, "--no-install-recommends")
        yield Made(package, before, origin, fresh, time.monotonic() - began)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@pytest.fixture
def root(made: Made, tmp_path: Path) -> Iterator[CleanRoot]:
    copy = made.fresh.copy(tmp_path / "root")
    yield copy
    shutil.rmtree(copy.path, ignore_errors=True)


class Client:
    """A sender and reader of one daemon."""

    def __init__(self, port: int, key: str) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._key = key

    def send(self, recording_id: str, text: str) -> None:
        event = {"type": 5, "timestamp": 1_700_000_000_000, "data": {"tag": "t", "payload": text}}
        metadata = event | {"data": {"tag": "recording-meta", "payload": {"sent": text}}}
        # Run together: what tells events apart then has gone wrong on Debian's Python alone.
        self._ask(f"/recordings/{recording_id}/ingest", (json.dumps(event) + json.dumps(metadata)).encode())

    def read(self, recording_id: str) -> list[str]:
        events = json.loads(self._ask(f"/recordings/{recording_id}/events"))
        return [event["data"]["payload"] for event in events]

    def _ask(self, path: str, body: bytes | None = None) -> bytes:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/x-ndjson"}
        request = urllib.request.Request(self._base + path, body, headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return bytes(answer.read())


def _key(root: CleanRoot) -> str:
    said = root.run("rrd keys create --tenant acme --scope all --label test")
    (key,) = re.findall(r"^(ak_\S+)$", said, re.MULTILINE) or [said.split()[-1]]
    return str(key)


def _owner(root: CleanRoot, path: str) -> str:
    return root.run(f"stat -c '%U:%G %a' {path}").strip()


def test_what_is_installed_is_complete_and_nothing_but_root_can_change_it(root: CleanRoot) -> None:
    assert root.run("rrd --version").startswith("rrd ")
    root.run("rrd check-config")
    assert 'data_dir = "/var/lib/rrd"' in (root.path / "etc/rrd/rrd.toml").read_text()
    assert _owner(root, "/var/lib/rrd") == "rrd:rrd 700"
    assert root.run("getent passwd rrd").rstrip().endswith("/usr/sbin/nologin")
    assert root.run("find /usr/lib/rrd ! -user root -o -perm /022 ! -type l") == ""
    assert root.run("find /usr/lib/rrd/lib/python3.* -maxdepth 2 -name 'pip*' -o -name 'setuptools*'") == ""
    for page in ("man1/rrd.1", "man1/rrd-serve.1", "man1/rrd-keys.1", "man5/rrd.toml.5"):
        assert (root.path / f"usr/share/man/{page}.gz").exists() or "path-exclude" in root.run(
            "cat /etc/dpkg/dpkg.cfg.d/* 2> /dev/null || true"
        )
    assert "rrd" in (root.path / "usr/share/bash-completion/completions/rrd").read_text()
    wanted = root.path / "etc/systemd/system/multi-user.target.wants/rrd.service"
    assert wanted.is_symlink()
    # What /record.js, the console and exports are made of.
    (built,) = root.path.glob("usr/lib/rrd/lib/python3.*/site-packages/rrd/assets/built/manifest.json")
    assert json.loads(built.read_text())


def test_nothing_in_the_package_knows_where_it_was_built(made: Made) -> None:
    # METADATA holds the README, which says where a package is built.
    where = "/usr/lib/rrd /etc/rrd /var/lib/dpkg/info/rrd.*"
    found = made.fresh.run(f"grep -rlF --exclude=METADATA -e '{ROOT}' -e build/deb {where}", code=1)
    assert found == ""


def test_modules_are_compiled_and_need_no_write_to_start(root: CleanRoot) -> None:
    missing = root.run(
        "cd /usr/lib/rrd/lib/python3.*/site-packages && /usr/lib/rrd/bin/python3 -c '"
        "import pathlib, importlib.util as u\n"
        'print(*(p for p in pathlib.Path("rrd").rglob("*.py")'
        " if not pathlib.Path(u.cache_from_source(p)).exists()))'"
    )
    assert missing.split() == []
    before = root.files()
    root.run("rrd --help")
    assert root.files() == before


def test_the_daemon_runs_as_its_unit_says_and_keeps_what_it_acks(root: CleanRoot) -> None:
    key, recording_id = _key(root), str(uuid.uuid4())
    for text in ("one", "two"):
        with root.serving() as port:
            Client(port, key).send(recording_id, text)
    with root.serving() as port:
        assert Client(port, key).read(recording_id) == ["one", "two"]
    assert root.run("find /var/lib/rrd ! -user rrd") == ""
    assert "no differences" in root.run("setpriv --reuid=rrd --regid=rrd --init-groups rrd verify")


def test_two_commands_lead_from_nothing_to_a_first_event(
    made: Made, root: CleanRoot, capsys: pytest.CaptureFixture[str]
) -> None:
    # The port alone is not what an operator has: another rrd may run on this machine.
    port = free_port()
    began = time.monotonic()
    said = root.run(f"RRD_PORT={port} rrd setup --name rrd.example.com --origin https://shop.example")
    setup_s = time.monotonic() - began
    assert "stored, read back" in said
    assert "https://rrd.example.com" in said
    with capsys.disabled():
        print(
            f"\napt install ./{made.package.name}: {made.install_s:.0f} s with all that it depends on; "
            f"rrd setup: {setup_s:.0f} s, an event stored and read back"
        )
    again = root.run(f"RRD_PORT={port} rrd setup --name rrd.example.com --origin https://shop.example")
    assert "nothing has changed" in again
    # What setup made as root is the daemon's.
    assert root.run("find /var/lib/rrd ! -user rrd") == ""
    with root.serving():
        pass


def test_an_upgrade_keeps_data_and_edited_settings_and_can_be_taken_back(
    made: Made, root: CleanRoot, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nupgraded from a package {made.origin}")
    root.run("apt-get purge -y rrd")
    root.install(made.before)
    old = root.run("dpkg-query -W -f '${Version}' rrd")
    key, recording_id = _key(root), str(uuid.uuid4())
    with root.serving() as port:
        Client(port, key).send(recording_id, "before")
    settings = root.path / "etc/rrd/rrd.toml"
    edited = re.sub(r"^flush_age_ms = .*$", "flush_age_ms = 777", settings.read_text(), flags=re.MULTILINE)
    settings.write_text(edited)

    root.install(made.package, KEEP_SETTINGS)
    new = root.run("dpkg-query -W -f '${Version}' rrd")
    root.run(f"dpkg --compare-versions '{new}' gt '{old}'")
    assert settings.read_text() == edited
    with root.serving() as port:
        client = Client(port, key)
        assert client.read(recording_id) == ["before"]
        client.send(recording_id, "after")

    root.install(made.before, KEEP_SETTINGS, "--allow-downgrades")
    with root.serving() as port:
        assert Client(port, key).read(recording_id) == ["before", "after"]
    assert settings.read_text() == edited


def test_removing_keeps_settings_and_data_and_purging_keeps_recordings_alone(root: CleanRoot) -> None:
    key, recording_id = _key(root), str(uuid.uuid4())
    with root.serving() as port:
        Client(port, key).send(recording_id, "precious")
    held = root.files(named="*.zst")
    root.run("apt-get remove -y rrd")
    assert (root.path / "etc/rrd/rrd.toml").exists()
    assert not (root.path / "usr/lib/rrd").exists()
    assert _owner(root, "/var/lib/rrd") == "rrd:rrd 700"
    said = root.run("apt-get purge -y rrd")
    assert "rm -r /var/lib/rrd" in said
    assert root.files(named="*rrd*") == {"/var/lib/rrd"}
    assert root.files(named="*.zst") >= held


def test_what_holds_no_recording_is_purged_without_a_trace(made: Made, root: CleanRoot) -> None:
    root.run("apt-get purge -y rrd")
    before = root.files()
    root.install(made.package)
    _key(root)
    with root.serving():
        pass
    root.run("apt-get purge -y rrd")
    assert root.files() == before
    assert root.files(named="*rrd*") == set()
    # The user stays, as Debian's users of services do: files of its number would become another's.
    assert root.run("getent passwd rrd").startswith("rrd:")


def test_an_upgrade_under_load_refuses_no_connection_and_loses_nothing(made: Made) -> None:
    need_machine()
    with booted(made.fresh.path, {made.package: "/root/rrd.deb"}) as machine:
        machine.wait_for("rrd.service", "active")
        assert machine.show("rrd.socket", "ActiveState") == "active"
        key = machine.key()
        machine.run("systemctl", "restart", "rrd.service")  # Which knows the key from its start.
        before = machine.show("rrd.service", "MainPID")
        with machine.load(key) as more_acked:
            more_acked()
            # The same version, which dpkg treats as an upgrade.
            machine.run("dpkg", "--install", "/root/rrd.deb")
            machine.wait_for("rrd.service", "active")
            assert machine.show("rrd.service", "MainPID") != before
            more_acked()
        machine.run("systemd-analyze", "security", "rrd.service", "--threshold=12")
        machine.run("rrd", "status")
