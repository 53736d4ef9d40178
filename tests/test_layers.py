"""The import rules of ``rrd/__init__.py``, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "rrd").rglob("*.py"))

# From the bottom up. A part imports from layers below its own, and from its own unless that is closed.
LAYERS = (
    {
        *("errors", "ids", "layout", "clock", "config", "nesting", "ownership", "handles", "ceiling"),
        "metrics",
        *("log", "log_limit", "redaction", "traces", "__init__"),
    },
    {"wire", "segment", "index", "access", "objects", "tombstones"},
    {
        *("repeats", "history", "recording", "committer", "writes", "registry", "claims"),
        *(
            "readonly",
            "recovery",
            "catch_up",
            "rebuild",
            "playback",
            "rollup",
            "lifecycle",
            "care",
            "shares",
            "transfer",
        ),
    },
    {"http"},
    {"assembly", "memory", "daemon", "cli", "__main__"},
)
# Packages of the second line never import each other.
CLOSED = {"wire", "segment", "index", "access", "objects", "tombstones"}

# Module → where it may be imported.
ONLY_IN = {
    "aiohttp": {"http", "daemon", "transfer", "cli", "objects"},
    "aiobotocore": {"objects"},
    "botocore": {"objects"},
    "uvloop": {"daemon"},
    "aiosqlite": {"index"},
    "sqlite3": {"index", "access", "readonly", "tombstones", "transfer"},
    "google_crc32c": {"segment", "objects"},
    "fcntl": {"access", "objects", "recovery"},
}
SYNCS = {"fsync", "fdatasync", "syncfs", "sync"}


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = set(map(_module, FILES))


def _part(path: Path) -> str:
    """Return the package or module directly below ``rrd`` that a file belongs to."""
    return path.relative_to(ROOT / "rrd").parts[0].removesuffix(".py")


def _layer(part: str) -> int:
    return next(number for number, parts in enumerate(LAYERS) if part in parts)


def _imports(path: Path) -> Iterator[str]:
    """Yield the full name of every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES or node.module == "rrd" else node.module


def _is_allowed(importer: str, imported: str) -> bool:
    if importer == imported:
        return True
    below = _layer(imported) < _layer(importer)
    return below or (_layer(imported) == _layer(importer) and importer not in CLOSED)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_its_layer_and_below(path: Path) -> None:
    importer = _part(path)
    for name in _imports(path):
        top, _, rest = name.partition(".")
        if top == "rrd":
            # ``from rrd import __version__`` is an import of the package itself.
            imported = rest.partition(".")[0] if not rest.startswith("__") else "__init__"
            assert _is_allowed(importer, imported or "__init__"), f"{importer} imports {name}"
        elif top in ONLY_IN:
            assert importer in ONLY_IN[top], f"{importer} imports {top}"


def test_modules_of_a_layer_do_not_import_each_other_in_circles() -> None:
    graph: dict[str, set[str]] = {}
    for path in FILES:
        graph[_module(path)] = {name for name in _imports(path) if name.startswith("rrd.")}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " → ".join((*way, module))
        if module not in done:
            for name in graph.get(module, ()):
                visit(name, (*way, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_disk_module_syncs(path: Path) -> None:
    if path == ROOT / "rrd/segment/disk.py":
        return
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert not (node.value.id == "os" and node.attr in SYNCS), f"os.{node.attr}"


def test_every_part_has_its_layer() -> None:
    assert {_part(path) for path in FILES} == set().union(*LAYERS)


def test_pure_parts_know_no_loop() -> None:
    for part in ("wire", "segment"):
        for path in (ROOT / "rrd" / part).rglob("*.py"):
            assert "asyncio" not in set(_imports(path)), path
