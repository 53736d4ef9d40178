"""The version of the Debian package: that of pyproject.toml, and where in the history it was built.

======================  ===========================  ==========================================
the commit              the version                  why
======================  ===========================  ==========================================
is tagged ``v1.2.0``    ``1.2.0``                    the release
is before that tag      ``1.2.0~748.g52cae177``      ``~`` sorts before the release itself
is after that tag       ``1.2.0+751.g0a1b2c3d``      ``+`` sorts after it
has changes on top      the same, and ``.dirty``     it is not what the commit says
======================  ===========================  ==========================================

The number counts the commits up to this one, so each commit's package upgrades that of the one before it.
"""

from __future__ import annotations

import tomllib

from release.tree import ROOT, git


def package_version() -> str:
    """Return the version of a package of the checkout as it is. Exits if the history is cut off."""
    if git("rev-parse", "--is-shallow-repository") == "true":
        raise SystemExit(
            "This clone is shallow, so its commits can't be counted. Next: git fetch --unshallow, "
            "or name the version: make deb VERSION=0.1.0~local"
        )
    tag = f"v{project_version()}"
    here = git("tag", "--points-at", "HEAD").split()
    before = git("tag", "--merged", "HEAD").split()
    return version_of(
        project_version(),
        place="" if tag in here else "+" if tag in before else "~",
        commit_count=int(git("rev-list", "--count", "HEAD")),
        commit=git("rev-parse", "--short=8", "HEAD"),
        is_dirty=bool(git("status", "--porcelain", "--untracked-files=no")),
    )


def version_of(project: str, *, place: str, commit_count: int, commit: str, is_dirty: bool) -> str:
    """Return the version by the table above. ``place``: "" at the tag, "~" before it, "+" after it."""
    if not place and is_dirty:
        place = "+"
    counted = f"{place}{commit_count}.g{commit}" if place else ""
    return f"{project}{counted}{'.dirty' if is_dirty else ''}"


def project_version() -> str:
    """Return the version that pyproject.toml states."""
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    return version
