"""The syntax trees of rrd's modules, which several tests walk: a file is parsed once, when a test asks.

A test module that parsed them where it is imported would do so in each process that collects tests.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).parents[1]


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """Return the tree of one file. Nobody may change it."""
    return ast.parse(path.read_bytes())


def trees() -> dict[Path, ast.Module]:
    """Return the tree of each module of rrd, in the order of their paths."""
    return {path: tree_of(path) for path in sorted((ROOT / "rrd").rglob("*.py"))}
