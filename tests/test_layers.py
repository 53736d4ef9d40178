"""The import rules of ``rrd/__init__.py``, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.parsed import tree_of

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "rrd").rglob("*.py"))

# From the bottom up. A part imports from layers below its own, and from its own unless that is closed.
LAYERS = (
    {
        *("errors", "ids", "layout", "clock", "backoff", "config", "nesting", "extent", "log"),
        *("ownership", "handles", "ceiling", "metrics", "progress", "__init__"),
    },
    {"disk"},
    {"wire", "segment", "index", "access", "objects", "tombstones"},
    {"audit", "shelf", "summary", "assets", "measures"},
    {"recordings", "shares", "console"},
    {"readonly", "playback", "inventory", "rollup", "lifecycle", "care"},
    {"startup", "backup", "exchange"},
    {"http"},
    {"daemon", "setup", "cli", "__main__"},
)
# Packages of this layer never import each other.
CLOSED = {"wire", "segment", "index", "access", "objects", "tombstones"}

# Module → where it may be imported.
ONLY_IN = {
    "aiohttp": {"http", "daemon", "exchange", "cli", "objects"},
    "aiobotocore": {"objects"},
    "botocore": {"objects"},
    "uvloop": {"daemon"},
    "prometheus_client": {"http"},
    "aiosqlite": {"index"},
    "sqlite3": {"disk", "index", "access", "backup", "exchange"},
    "google_crc32c": {"segment", "objects"},
    "fcntl": {"disk"},
}
# Where JSON is read or written by the standard library rather than by orjson or msgspec, and why.
STANDARD_JSON = {
    "rrd/log/forms.py": "a text of a library may hold lone surrogates",
    "rrd/startup/spool.py": "what visitors choose may hold lone surrogates",
    "rrd/exchange/sidecar.py": "the same",
    "rrd/exchange/origins.py": "the same, metadata is one line in any version, numbers have any size",
    "rrd/exchange/owners.py": "what a note counts as is its escaped form",
    "rrd/cli/quarantine.py": "ASCII alone plays no tricks with a terminal",
    "rrd/cli/check_config.py": "a setting from the environment may hold lone surrogates",
    "rrd/index/sqlite/listing.py": "what visitors choose may hold lone surrogates",
}
# What says where segments lie, and who may say it beside the shelf.
PLACES = {
    *("active_path", "active_dir", "sealed_path", "sealed_dir", "sealed_root", "torn_dir"),
    *("rolling_path", "rolling_dir", "parse_active", "parse_sealed", "parse_rolling", "parse_torn"),
    "object_key",
}
ALLOWED_PLACES = {
    "rrd/ownership.py": {"active_dir"},  # looks whether it may be written, before anything is opened
    "rrd/recordings/writes.py": {"active_dir"},  # tries whether a file can be written there
    "rrd/inventory/census.py": {"object_key"},  # holds an object's own words against its key
    "rrd/inventory/proof.py": {"parse_rolling"},  # asks what kind of file a path is
    "rrd/lifecycle/local_files.py": {"parse_torn"},  # the same
    "rrd/backup/restore.py": {"active_dir", "sealed_root"},  # moves the folders as they are
}
SYNCS = {"fsync", "fdatasync", "syncfs", "sync"}
# What makes, changes, moves or removes files, and handles without a type.
CHANGES = {
    "os": {
        *SYNCS,
        *("open", "write", "pwrite", "writev", "pwritev", "truncate", "ftruncate", "link", "symlink"),
        *("rename", "renames", "replace", "unlink", "remove", "mkdir", "makedirs", "rmdir", "removedirs"),
        *("chmod", "fchmod", "lchmod", "chown", "fchown", "lchown", "utime", "mkfifo", "mknod", "sendfile"),
    },
    "shutil": {"copy", "copy2", "copyfile", "copytree", "copymode", "copystat", "move", "rmtree", "chown"},
    "pathlib": {"Path"},
}
# File → calls that it may make all the same, and why.
ALLOWED_CHANGES = {
    "rrd/cli/__init__.py": {"os.open"},  # /dev/null in the place of a standard output that is closed
    "rrd/ownership.py": {"os.chown"},  # gives files away, and changes none
    "rrd/ceiling.py": {"pathlib.Path"},  # reads the kernel's own files
}


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
    for node in ast.walk(tree_of(path)):
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


def _may_import(importer: str, name: str) -> bool:
    top, _, rest = name.partition(".")
    if top == "rrd":
        # ``from rrd import __version__`` is an import of the package itself.
        imported = rest.partition(".")[0] if not rest.startswith("__") else "__init__"
        return _is_allowed(importer, imported or "__init__")
    return top not in ONLY_IN or importer in ONLY_IN[top]


# One test for all files: a row for each of some 400 would take more time than the work.
def test_a_module_imports_only_from_its_layer_and_below() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in FILES
        for name in _imports(path)
        if not _may_import(_part(path), name)
    ]
    assert wrong == []


def test_one_module_alone_knows_what_keeps_the_index() -> None:
    """A second backend is a package beside it: all of rrd has the contract, and what ``home`` opens."""
    packages = [path.parent for path in (ROOT / "rrd/index").rglob("__init__.py")]
    backends = [package for package in packages if package.name != "index"]
    assert backends
    for backend in backends:
        name = _module(backend / "__init__.py")
        users = {path for path in FILES if backend not in path.parents and _uses(path, name)}
        assert users == {ROOT / "rrd/index/home.py"}
    assert {path for path in FILES if ROOT / "rrd/index" in path.parents and _uses(path, "sqlite3")} <= {
        path for path in FILES if ROOT / "rrd/index/sqlite" in path.parents
    }


def _uses(path: Path, package: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for name in _imports(path))


def test_json_is_read_and_written_by_orjson_or_msgspec() -> None:
    found = {str(path.relative_to(ROOT)) for path in FILES if "json" in _imports(path)}
    assert sorted(found ^ STANDARD_JSON.keys()) == []


def test_a_wait_with_a_deadline_can_be_cancelled() -> None:
    """Before Python 3.12 ``asyncio.wait_for`` swallows a cancellation that comes as its work ends."""
    assert [path for path in FILES if "asyncio.wait_for(" in path.read_text()] == []


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


def _changes(path: Path) -> Iterator[str]:
    """Yield the calls in a file that may change files: those of ``CHANGES``, and ``open`` but to read."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in CHANGES.get(node.value.id, ()):
                yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom):
            yield from (
                f"{node.module}.{alias.name}"
                for alias in node.names
                if alias.name in CHANGES.get(node.module or "", ())
            )
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            modes = [argument.value for argument in node.args[1:2] if isinstance(argument, ast.Constant)]
            modes += [
                keyword.value.value
                for keyword in node.keywords
                if keyword.arg == "mode" and isinstance(keyword.value, ast.Constant)
            ]
            if any(set(str(mode)) & set("wxa+") for mode in modes):
                yield "open to write"


def test_only_the_disk_package_changes_files() -> None:
    found = {
        str(path.relative_to(ROOT)): changes
        for path in FILES
        if _part(path) != "disk" and (changes := set(_changes(path)))
    }
    assert found == ALLOWED_CHANGES


def _places(path: Path) -> set[str]:
    """Return which places of segments a file knows."""
    used: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "layout":
            used.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and node.module == "rrd.layout":
            used |= {alias.name for alias in node.names}
    return used & PLACES


def test_only_the_shelf_knows_where_segments_lie() -> None:
    found = {
        str(path.relative_to(ROOT)): places
        for path in FILES
        if _part(path) not in {"shelf", "layout"} and (places := _places(path))
    }
    assert found == ALLOWED_PLACES


def test_every_part_has_its_layer() -> None:
    assert {_part(path) for path in FILES} == set().union(*LAYERS)


def test_pure_parts_know_no_loop() -> None:
    for part in ("wire", "segment"):
        for path in (ROOT / "rrd" / part).rglob("*.py"):
            assert "asyncio" not in set(_imports(path)), path
