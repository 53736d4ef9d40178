"""Names mean one thing: no two classes of the code share one, and a recording's id is called so."""

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
