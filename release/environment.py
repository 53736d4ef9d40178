"""The virtual environment of the package: made where it is built, right for where it is installed.

Wheels are taken by the hashes of ``requirements.lock``. What only installs or builds (pip, setuptools) is not
in it, and of the wheels' programs only ``rrd``: nothing that the daemon doesn't need lies on the machine.
"""

from __future__ import annotations

import argparse
import compileall
import os
import py_compile
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from release.wheel import build_wheel

HOME = Path("/usr/lib/rrd")
PYTHON = "/usr/bin/python3"
BUILD_ONLY = ("pip", "setuptools")
"""In the lock file to build rrd's wheel with; no package of it imports them."""


def make_environment(sources: Path, root: Path) -> None:
    """Make ``root`` + ``HOME`` from the lock file and the rrd of ``sources``."""
    home = root / HOME.relative_to("/")
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(home)], check=True)
    with tempfile.TemporaryDirectory() as scratch:
        wheel = build_wheel(sources, Path(scratch))
        _install(home, "--require-hashes", "--requirement", str(sources / "requirements.lock"))
        _install(home, "--no-deps", "--no-index", str(wheel))
    for package in BUILD_ONLY:
        for path in (_site(home)).glob(f"{package}*"):
            shutil.rmtree(path)
    # Only pip and setuptools use these.
    shutil.rmtree(_site(home) / "_distutils_hack", ignore_errors=True)
    (_site(home) / "distutils-precedence.pth").unlink(missing_ok=True)
    _relocate(home)
    _compile(home, root)


def _install(home: Path, *what: str) -> None:
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", str(home / "bin/python3"), "--quiet"),
            *("--disable-pip-version-check", "install", "--no-compile", "--only-binary", ":all:"),
            # Where a package came from is the build machine's affair.
            *("--no-warn-script-location", *what),
        ],
        check=True,
    )


def _relocate(home: Path) -> None:
    """Have every path in the environment be that of the installed one."""
    keep = {"python", "python3", "rrd"}
    for path in (home / "bin").iterdir():
        if path.name not in keep:
            path.unlink()
    program = home / "bin/rrd"
    _, _, rest = program.read_text("utf-8").partition("\n")
    program.write_text(f"#!{HOME}/bin/python3\n{rest}", "utf-8")
    version = sys.version_info
    (home / "pyvenv.cfg").write_text(
        f"home = {os.path.dirname(PYTHON)}\n"
        "include-system-site-packages = false\n"
        f"version = {version.major}.{version.minor}\n",
        "utf-8",
    )
    for record in _site(home).glob("*.dist-info/direct_url.json"):
        record.unlink()
    shutil.rmtree(home / "include", ignore_errors=True)


def _compile(home: Path, root: Path) -> None:
    """Write bytecode that is never checked against its source: dpkg replaces both or neither.

    A check by time would fail: the package's files get the time of its changelog.
    """
    compileall.compile_dir(
        _site(home), quiet=1, workers=0, stripdir=str(root),
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )  # fmt: skip


def _site(home: Path) -> Path:
    (site,) = home.glob("lib/python3.*/site-packages")
    return site


def main() -> None:
    """Make the environment below a directory that stands for the target's root."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path)
    parser.add_argument("root", type=Path)
    args = parser.parse_args()
    make_environment(args.sources.absolute(), args.root.absolute())


if __name__ == "__main__":
    main()
