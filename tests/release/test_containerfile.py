"""The Containerfile agrees with the repository; an engine that builds it is nowhere in the tests."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from rrd.config import Config
from rrd.http.app import make_app

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Containerfile").read_text("utf-8").replace("\\\n", " ")
SETTINGS = {f"RRD_{field.name.upper()}" for field in msgspec.structs.fields(Config)}


def test_all_that_is_copied_is_there_and_is_not_ignored() -> None:
    copied = [
        source.rstrip("/")
        for line in re.findall(r"^COPY (?!--from)(.+)$", TEXT, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert "rrd" in copied
    assert [source for source in copied if not (ROOT / source).exists()] == []
    kept = {line[1:] for line in (ROOT / ".containerignore").read_text().splitlines() if line.startswith("!")}
    assert {source.partition("/")[0] for source in copied} == kept
    assert (ROOT / ".dockerignore").read_text() == (ROOT / ".containerignore").read_text()


def test_what_files_of_the_package_lead_to_is_copied_as_well() -> None:
    copied = set(re.findall(r"^COPY (\w+)/ \1/$", TEXT, re.MULTILINE))
    links = [path for path in (ROOT / "rrd").rglob("*") if path.is_symlink()]
    needed = {path.resolve().relative_to(ROOT).parts[0] for path in links}
    assert needed
    assert needed <= copied


def test_packages_are_those_of_the_lock_file() -> None:
    installs = re.findall(r"pip install (.+?)(?: &&|$)", TEXT, re.MULTILINE)
    assert len(installs) == 2
    assert "--require-hashes -r requirements.lock" in installs[0]
    assert "--no-deps --no-build-isolation ." in installs[1]


def test_it_runs_as_a_user_who_is_not_root_with_settings_that_there_are() -> None:
    users = re.findall(r"^USER (.+)$", TEXT, re.MULTILINE)
    assert users
    assert all(user.isdecimal() and int(user) > 0 for user in users)
    named = set(re.findall(r"\b(RRD_[A-Z_]+)=", TEXT))
    assert named
    assert named <= SETTINGS
    data = re.findall(r"RRD_DATA_DIR=(\S+)", TEXT)
    assert re.findall(r"^VOLUME (.+)$", TEXT, re.MULTILINE) == data


def test_its_health_is_what_the_daemon_answers() -> None:
    (path,) = re.findall(r"(/-/\w+)'", TEXT)
    routes = Path(make_app.__code__.co_filename).read_text("utf-8")
    assert f'"{path}"' in routes
