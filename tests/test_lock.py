"""``requirements.lock``: what the shipped install consists of, each file by its hash.

That PyPI has a newer release is nothing to fail for; that ``pyproject.toml`` asks for something else is. The
slow tests install for real, from the index that pip is set up with.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.harness import ROOT

LOCK = ROOT / "requirements.lock"
INSTALL = ("pip install --require-hashes -r requirements.lock", "pip install --no-deps --no-build-isolation")
"""The second builds with the setuptools of the first: pip's own way fetches one that no hash is known of."""

CLOSURE = """
import json, sys
from importlib.metadata import distribution
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
found, wanted = {}, [Requirement(text) for text in sys.argv[1:]]
while wanted:
    requirement = wanted.pop()
    name = canonicalize_name(requirement.name)
    if name in found:
        continue
    known = distribution(name)
    found[name] = known.version
    for text in known.requires or ():
        inner = Requirement(text)
        extras = requirement.extras or {""}
        if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
            wanted.append(inner)
print(json.dumps(found))
"""
"""Prints what requirements lead to in an environment, as an object of versions by name."""


class Pin(NamedTuple):
    requirement: Requirement
    version: str
    hashes: list[str]
    via: list[str]
    """Who wants it; ``rrd`` for what ``pyproject.toml`` names itself."""


def pins(text: str) -> dict[str, Pin]:
    """Read a lock: a pin, its hashes, and as comments who wants it."""
    found: dict[str, Pin] = {}
    for entry in re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]:
        head, _, rest = entry.partition(" \\\n")
        requirement = Requirement(head)
        (pinned,) = requirement.specifier
        assert pinned.operator == "=="
        hashes = re.findall(r"^ {4}--hash=sha256:([0-9a-f]{64})(?: \\)?$", rest, re.MULTILINE)
        via = re.findall(r"^ {4}#(?: via)? {1,3}(\S.*)$", rest, re.MULTILINE)
        found[canonicalize_name(requirement.name)] = Pin(requirement, pinned.version, hashes, via)
    return found


def asked_for() -> list[Requirement]:
    """Return what ``pyproject.toml`` needs to build and to run."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [*map(Requirement, [*project["project"]["dependencies"], *project["build-system"]["requires"]])]


def test_each_requirement_is_pinned_and_nothing_else_is() -> None:
    locked = pins(LOCK.read_text())
    for requirement in asked_for():
        pin = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin.version), f"make lock: {requirement}"
        assert pin.requirement.marker is None, requirement
    reached: set[str] = {canonicalize_name(requirement.name) for requirement in asked_for()}
    while more := {name for name, pin in locked.items() if reached.intersection(pin.via)} - reached:
        reached |= more
    assert reached == locked.keys()


def test_each_line_is_a_pin_with_hashes_from_any_index() -> None:
    text = LOCK.read_text()
    assert all(pin.hashes for pin in pins(text).values())
    assert "://" not in text
    other = re.compile(r" {4}(?:--hash=sha256:[0-9a-f]{64}(?: \\)?|#.*)|#.*|[a-z0-9.-]+==[^ ]+(?: ; .+)? \\")
    assert [line for line in text.splitlines() if not other.fullmatch(line)] == []


@pytest.mark.parametrize("page", ["README.md", "Makefile", "docs/install.md", "Containerfile"])
def test_install_lines_take_what_is_locked(page: str) -> None:
    lines = [
        line
        for line in (ROOT / page)
        .read_text()
        .replace("--quiet --disable-pip-version-check ", "")
        .replace("--no-cache-dir ", "")
        .splitlines()
        if "pip install" in line and re.search(r" \.(?:`| \\)?$| -r | \. &&", line)
    ]
    assert [line for line in lines if not any(wanted in line for wanted in INSTALL)] == []
    assert [wanted for wanted in INSTALL if not any(wanted in line for line in lines)] == []


@pytest.mark.slow
def test_it_installs_into_a_new_environment_and_is_all_that_rrd_needs(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path], check=True)
    pip: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--require-hashes", "-r", LOCK], check=True)
    source = tmp_path / "source"
    # Building leaves files behind, which a clone doesn't have.
    subprocess.run(["git", "clone", "--quiet", ROOT, source], check=True)
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-build-isolation", source], check=True)
    subprocess.run([*pip, "check"], check=True)
    told = subprocess.run([tmp_path / "bin" / "rrd", "--version"], check=True, capture_output=True, text=True)
    assert told.stdout.startswith("rrd ")

    # ``packaging`` is no part of the install: the one that pip itself carries serves.
    program = CLOSURE.replace("from packaging", "from pip._vendor.packaging")
    argv: list[str | Path] = [python, "-c", program, *map(str, asked_for())]
    found = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    locked = {
        name: pin.version
        for name, pin in pins(LOCK.read_text()).items()
        if pin.requirement.marker is None or pin.requirement.marker.evaluate()
    }
    assert json.loads(found) == locked


@pytest.mark.slow
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("version", ["3.11", "3.14"])
def test_wheels_for_linux_are_among_its_hashes(tmp_path: Path, machine: str, version: str) -> None:
    """Nothing is compiled at an install, on either kind of machine."""
    platforms = [f"--platform=manylinux2014_{machine}", f"--platform=manylinux_2_28_{machine}"]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--dry-run"]
    command += ["--require-hashes", "--only-binary=:all:", f"--python-version={version}", *platforms]
    subprocess.run([*command, "--target", tmp_path, "-r", LOCK], check=True)
