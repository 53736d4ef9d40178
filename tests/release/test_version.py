"""Packages of later commits have higher versions, by dpkg's own order."""

from __future__ import annotations

import itertools
import shutil
import subprocess

import pytest

from release.version import project_version, version_of

IN_ORDER = [
    version_of("1.1.0", place="+", commit_count=740, commit="ffffffff", is_dirty=False),
    version_of("1.2.0", place="~", commit_count=748, commit="ffffffff", is_dirty=False),
    version_of("1.2.0", place="~", commit_count=749, commit="00000000", is_dirty=False),
    version_of("1.2.0", place="~", commit_count=749, commit="00000000", is_dirty=True),
    version_of("1.2.0", place="~", commit_count=1000, commit="00000000", is_dirty=False),
    version_of("1.2.0", place="", commit_count=1001, commit="00000000", is_dirty=False),
    version_of("1.2.0", place="", commit_count=1001, commit="00000000", is_dirty=True),
    version_of("1.2.0", place="+", commit_count=1002, commit="00000000", is_dirty=False),
    version_of("1.2.1", place="~", commit_count=1003, commit="00000000", is_dirty=False),
]


def test_a_release_has_the_version_of_the_project_alone() -> None:
    made = version_of(project_version(), place="", commit_count=1, commit="00000000", is_dirty=False)
    assert made == project_version()


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="dpkg is not installed")
def test_versions_rise_with_the_history() -> None:
    for lower, higher in itertools.pairwise(IN_ORDER):
        subprocess.run(["dpkg", "--compare-versions", lower, "lt", higher], check=True)
