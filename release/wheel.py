"""``make wheel``: rrd's own wheel, with what runs in browsers inside."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from release.tree import ROOT, copy_sources


def build_wheel(sources: Path, output: Path) -> Path:
    """Build the wheel of ``sources``, a tree of ``copy_sources``; return its path.

    The setuptools that builds it is the lock file's, in the environment that runs this.
    """
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "wheel"),
            *("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(output), str(sources)),
        ],
        check=True,
    )
    (wheel,) = output.glob("rrd-*.whl")
    return wheel


def main() -> None:
    """Build the wheel of the checkout, and print where it is."""
    parser = argparse.ArgumentParser(prog="make wheel", description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "build/wheel")
    output = parser.parse_args().output.absolute()
    for old in output.glob("rrd-*.whl"):
        old.unlink()
    sources = output / "sources"
    copy_sources(sources)
    print(build_wheel(sources, output))


if __name__ == "__main__":
    main()
