"""A clean copy of the sources: the files that git tracks, and what ``make assets`` built.

A build in the checkout itself would put stray files into the package: those of an editor, those that an
earlier build left in ``build/``.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILT = Path("rrd/assets/built")


def git(*words: str) -> str:
    """Return what git prints in the checkout, without the line's end."""
    return subprocess.run(
        ["git", *words], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.rstrip()


def copy_sources(target: Path) -> None:
    """Copy the sources to ``target``, which is emptied first. Exits if browsers' part is not built."""
    if not (ROOT / BUILT / "manifest.json").is_file():
        raise SystemExit(f"{BUILT}: not built. Next: make assets")
    shutil.rmtree(target, ignore_errors=True)
    for name in git("ls-files", "-z").split("\0"):
        # A file that was deleted and not yet committed is listed, too.
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    shutil.copytree(ROOT / BUILT, target / BUILT)
