"""A stranger finds the way: one meaning a name, and modules and functions that are read at once."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

from tests.parsed import trees

ROOT = Path(__file__).parents[1]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_no_two_classes_have_the_same_name() -> None:
    names = Counter(
        node.name for tree in trees().values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_the_id_of_a_recording_is_not_called_a_recording() -> None:
    wrong = [
        f"{_name(path)}:{node.lineno}"
        for path, tree in trees().items()
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
    sizes = {_name(path): len(path.read_text().splitlines()) for path in trees()}
    assert [path for path, size in sizes.items() if size > 400] == []
    long = [
        f"{_name(path)}: {node.name}"
        for path, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > 60
    ]
    assert long == []
