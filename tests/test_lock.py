"""``requirements.lock`` holds what ``pyproject.toml`` asks for, and only that, with hashes.

It need not hold the newest releases. ``packaging`` comes with pytest.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.harness import ROOT

LOCK = (ROOT / "requirements.lock").read_text()
ENTRIES = re.sub(r"\\\n *", " ", re.sub(r"^ *#.*\n", "", LOCK, flags=re.MULTILINE)).splitlines()
PINS = {
    canonicalize_name(pin.name): pin for pin in (Requirement(line.split(" --hash")[0]) for line in ENTRIES)
}
WANTED = [
    Requirement(text)
    for text in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
]


def test_each_entry_has_one_version_and_hashes() -> None:
    for line, pin in zip(ENTRIES, PINS.values(), strict=True):
        assert [part.operator for part in pin.specifier] == ["=="], line
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", line), line


def test_no_registry_is_named() -> None:
    assert "://" not in LOCK
    assert not re.search(r"^\s*(-i|--(extra-)?index-url|--find-links)\b", LOCK, re.MULTILINE)


@pytest.mark.parametrize("wanted", WANTED, ids=lambda wanted: wanted.name)
def test_each_requirement_is_met(wanted: Requirement) -> None:
    pin = PINS[canonicalize_name(wanted.name)]
    (version,) = [part.version for part in pin.specifier]
    assert wanted.specifier.contains(version)


def test_nothing_is_in_it_that_no_requirement_needs() -> None:
    """What is installed here tells what needs what; markers count as for any Python and machine."""
    needed: set[str] = set()
    waiting = [canonicalize_name(wanted.name) for wanted in WANTED]
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        needed.add(name)
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # Needed by another version of Python only.
        for text in requires:
            requirement = Requirement(text)
            if "extra" not in str(requirement.marker or ""):
                waiting.append(canonicalize_name(requirement.name))
    assert set(PINS) <= needed
    # And nothing is missing that this Python needs here.
    here = {name for name in needed if name in PINS or _is_needed_here(name, needed)}
    assert here == set(PINS)


def _is_needed_here(name: str, needed: set[str]) -> bool:
    for by in needed:
        try:
            requires = metadata.requires(by) or []
        except metadata.PackageNotFoundError:
            continue
        for text in requires:
            requirement = Requirement(text)
            if canonicalize_name(requirement.name) == name and (
                requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            ):
                return True
    return False


@pytest.mark.slow
def test_it_installs_into_a_new_environment(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    pip = [tmp_path / "venv/bin/pip", "--disable-pip-version-check", "--quiet", "install"]
    subprocess.run([*pip, "--require-hashes", "-r", ROOT / "requirements.lock"], check=True)
    subprocess.run([*pip, "--no-deps", ROOT], check=True)
    subprocess.run([tmp_path / "venv/bin/pip", "check"], check=True)
    said = subprocess.run(
        [tmp_path / "venv/bin/rrd", "--version"], check=True, capture_output=True, text=True
    )
    assert said.stdout.startswith("rrd ")
