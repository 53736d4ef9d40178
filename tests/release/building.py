"""Packages to install in tests: that of the checkout, and that of the commit before it."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build(checkout: Path, *options: str) -> Path:
    """``make deb`` in a checkout; return the package."""
    # What `make test-deb` was given is not meant for this one.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "ARGS"))}
    done = subprocess.run(
        ["make", "--no-print-directory", *options, "deb"],
        cwd=checkout, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return Path(done.stdout.splitlines()[-1])


def build_before(scratch: Path, package: Path) -> tuple[Path, str]:
    """Return a package of the commit before, and in words what it is.

    Where that commit is not there or makes no package, it is the given one under a lower version.
    """
    if _has_package("HEAD~1"):
        with _checkout(scratch / "before", "HEAD~1") as before:
            built = build(before, *_ready_made(before))
            return Path(shutil.copy(built, scratch)), "of the commit before"
    tree = scratch / "repacked"
    subprocess.run(["dpkg-deb", "--raw-extract", str(package), str(tree)], check=True)
    control = tree / "DEBIAN/control"
    lines = [
        "Version: 0.0.1~before" if line.startswith("Version: ") else line
        for line in control.read_text().splitlines()
    ]
    control.write_text("\n".join(lines) + "\n")
    target = scratch / "rrd_before.deb"
    subprocess.run(
        ["dpkg-deb", "-Zxz", "-z1", "--build", str(tree), str(target)], check=True, capture_output=True
    )
    shutil.rmtree(tree)
    return target, "of this commit, under a lower version"


def _has_package(commit: str) -> bool:
    look = ["git", "cat-file", "-e", f"{commit}:debian/rules"]
    return subprocess.run(look, cwd=ROOT, check=False, capture_output=True).returncode == 0


@contextlib.contextmanager
def _checkout(path: Path, commit: str) -> Iterator[Path]:
    subprocess.run(
        ["git", "worktree", "add", "--detach", str(path), commit], cwd=ROOT, check=True, capture_output=True
    )
    try:
        yield path
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(path)], cwd=ROOT, check=True)


def _ready_made(before: Path) -> list[str]:
    """Share what was downloaded for this checkout, where lock files are the same; return make's options."""
    options = []
    if filecmp.cmp(ROOT / "requirements.lock", before / "requirements.lock", shallow=False):
        environment = ROOT / ".venv-release"
        options += [f"VENV_RELEASE={environment}", f"--old-file={environment}/installed"]
    if filecmp.cmp(ROOT / "assets/package-lock.json", before / "assets/package-lock.json", shallow=False):
        (before / "assets/node_modules").symlink_to(ROOT / "assets/node_modules")
        (before / "assets/node_modules/.package-lock.json").touch()
    return options
