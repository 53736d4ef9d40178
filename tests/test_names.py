"""A stranger finds the way: one meaning a name, and modules and functions that are read at once."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
TREES = {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in (ROOT / "rrd").rglob("*.py")}


def test_no_two_classes_have_the_same_name() -> None:
    names = Counter(
        node.name for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_the_id_of_a_recording_is_not_called_a_recording() -> None:
    wrong = [
        f"{path}:{node.lineno}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if (
            (isinstance(node, ast.arg) and node.arg == "recording")
            or (
                isinstance(node, ast.AnnAssign)
                and isinstance(node.target, ast.Name)
                and node.target.id == "recording"
            )
        )
        and isinstance(node.annotation, ast.expr)
        and ast.unparse(node.annotation) in {"str", "str | None"}
    ]
    assert wrong == []


def test_modules_and_functions_stay_small() -> None:
    sizes = {path: len((ROOT / path).read_text().splitlines()) for path in TREES}
    assert [path for path, size in sizes.items() if size > 400] == []
    long = [
        f"{path}: {node.name}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > 60
    ]
    assert long == []
