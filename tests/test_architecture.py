"""What the pages say about the code: its threads, tasks and locks are named, and each link is good."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parsed import trees

ROOT = Path(__file__).parents[1]
PAGES = [
    *("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "bench/README.md"),
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")),
]
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")

NAMED_BY_THEIR_OWNER = {
    "_lock",  # S3's client, by what it guards
    "_locks",  # Claims, which hands them out
}
"""asyncio's locks that the page calls by another name than their attribute's."""


def calls(*names: str) -> Iterator[ast.Call]:
    """Yield each call of a function or class that has one of these names, its module's name left out."""
    for tree in trees().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in names:
                yield node


def constants(call: ast.Call, *keywords: str) -> Iterator[str]:
    for keyword in call.keywords:
        if keyword.arg in keywords and isinstance(keyword.value, ast.Constant):
            yield str(keyword.value.value)


def section(title: str) -> str:
    return ARCHITECTURE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_each_pool_of_threads_is_in_the_table() -> None:
    pools = {
        name
        for call in calls("ThreadPoolExecutor", "FairThreads", "Threads")
        for name in constants(call, "thread_name_prefix", "name")
    }
    assert {"commit", "lookup", "rollup", "evict", "decoding"} <= pools
    assert {name for name in pools if f"`{name}`" not in section("Threads")} == set()


def test_each_task_that_lives_as_long_as_the_daemon_is_named() -> None:
    named = {name for call in calls("create_task") for name in constants(call, "name")} - {"signal"}
    jobs = next(
        node
        for path, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "start_tasks"
    )
    for node in ast.walk(jobs):
        if isinstance(node, ast.Dict):
            named |= {str(key.value) for key in node.keys if isinstance(key, ast.Constant)}
    assert {"committer", "rollup", "keys"} <= named
    assert {name for name in named if f"`{name}`" not in section("Threads")} == set()


def test_each_lock_of_the_event_loop_has_its_place_in_the_order() -> None:
    found: set[str] = set()
    for path, tree in trees().items():
        source = path.read_text("utf-8")
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None):
                continue
            is_lock = ast.unparse(node.value) in {"asyncio.Lock()", "Lock()"}
            if is_lock and "asyncio" in source:
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if isinstance(target, ast.Attribute):
                    found.add(target.attr)
    assert {"_sealing", "_indexing", "_writing", "_reading"} <= found
    text = section("Locks and their order")
    assert {name for name in found - NAMED_BY_THEIR_OWNER if f"{name}`" not in text} == set()


def anchors(page: str) -> set[str]:
    """Return the anchors of a page, as GitHub makes them of its headings."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", (ROOT / page).read_text("utf-8"), re.MULTILINE):
        kept = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(kept.strip().replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_each_link_leads_to_a_file_and_to_a_heading_in_it(page: str) -> None:
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text("utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        if not file.exists() or (anchor and anchor not in anchors(str(file.resolve().relative_to(ROOT)))):
            dead.append(target)
    assert dead == []


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_each_path_and_module_that_is_named_is_there(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    paths = set(re.findall(r"`((?:rrd|tests|config|bench|\.ci)/[\w./]*)`", text))
    # ``x`` and ``y`` stand for any name.
    assert {path for path in paths if "/x/" not in path and not (ROOT / path).exists()} == set()
    modules = set(re.findall(r"`(http|wire|shares|rollup|objects|history)\.(\w+)`", text))
    missing = {
        f"{package}.{name}"
        for package, name in modules
        if not (ROOT / "rrd" / package / f"{name}.py").exists()
        and not re.search(rf"^(?:class|def) {name}\b", _source(package), re.MULTILINE)
    }
    assert missing == set()


def _source(part: str) -> str:
    file = ROOT / "rrd" / f"{part}.py"
    files = [file] if file.exists() else sorted((ROOT / "rrd" / part).rglob("*.py"))
    return "".join(path.read_text("utf-8") for path in files)


def test_each_module_is_on_the_map_of_its_package() -> None:
    missing = []
    for path in trees():
        page = path.parent / "__init__.py"
        if path != page and path.parent.name not in {"rrd", "cli"}:
            words = re.findall(r"\w+", ast.get_docstring(trees()[page]) or "")
            if path.stem not in words:
                missing.append(str(path.relative_to(ROOT)))
    assert missing == []
