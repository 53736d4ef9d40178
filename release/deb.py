"""``make deb``: the Debian package, built in a clean copy of the sources by dpkg-buildpackage.

The version follows from the history (``version``), ``debian/changelog`` from CHANGELOG.md. The package is for
the architecture, and for the release of Debian, of the machine that builds it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import textwrap
from email.utils import formatdate
from pathlib import Path

from release.tree import ROOT, copy_sources, git
from release.version import package_version

_MAINTAINER = re.compile(r"^Maintainer: (.+)$", re.MULTILINE)
_TOOLS = {"dpkg-buildpackage": "dpkg-dev", "dh": "debhelper"}


def build_deb(output: Path, version: str) -> Path:
    """Build the package into ``output`` and return its path. Exits with what is missing, if anything is."""
    if missing := [package for tool, package in _TOOLS.items() if shutil.which(tool) is None]:
        raise SystemExit(f"make deb needs tools of Debian's. Next: apt-get install {' '.join(missing)}")
    tree = output / "sources"
    copy_sources(tree)
    seconds = int(git("log", "-1", "--format=%ct"))
    (tree / "debian/changelog").write_text(changelog(version, seconds), "utf-8")
    environment = {**os.environ, "RRD_PYTHON": sys.executable, "SOURCE_DATE_EPOCH": str(seconds)}
    with (output / "build.log").open("w") as log:
        done = subprocess.run(
            ["dpkg-buildpackage", "--build=binary", "--no-sign", "--no-check-builddeps"],
            cwd=tree, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    if done.returncode != 0:
        tail = "\n".join((output / "build.log").read_text().splitlines()[-30:])
        raise SystemExit(f"{tail}\ndpkg-buildpackage failed: all that it said is in {output / 'build.log'}")
    (package,) = output.glob(f"rrd_{version}_*.deb")
    shutil.rmtree(tree)
    return package


def changelog(version: str, seconds: int) -> str:
    """Return debian/changelog: what CHANGELOG.md says first. ``seconds``: when the commit was made."""
    (maintainer,) = _MAINTAINER.findall((ROOT / "debian/control").read_text("utf-8"))
    _, _, newest = (ROOT / "CHANGELOG.md").read_text("utf-8").partition("\n## ")
    newest, _, _ = newest.partition("\n## ")
    paragraphs = [" ".join(part.split()) for part in newest.split("\n\n")[1:] if part.strip()]
    entries = "\n".join(
        textwrap.fill(text, 78, initial_indent="  * ", subsequent_indent="    ", break_on_hyphens=False)
        for text in paragraphs
    )
    date = formatdate(seconds, localtime=False)
    return f"rrd ({version}) stable; urgency=medium\n\n{entries}\n\n -- {maintainer}  {date}\n"


def main() -> None:
    """Build the package of the checkout, and print where it is."""
    parser = argparse.ArgumentParser(prog="make deb", description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "build/deb")
    parser.add_argument("--version", help="instead of the version that follows from the history")
    args = parser.parse_args()
    output = args.output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    for old in output.glob("rrd_*"):
        old.unlink()
    print(build_deb(output, args.version or package_version()))


if __name__ == "__main__":
    main()
