"""Words that make a sentence hard to read stand in no message, no setting and no page of the docs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PAGES = [
    "README.md",
    "CHANGELOG.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "Makefile",
    "bench/README.md",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")),
    *sorted(
        str(path.relative_to(ROOT))
        for path in (ROOT / "config").rglob("*")
        if path.suffix not in {"", ".json"} or path.name == "Caddyfile"
    ),
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "systemd").iterdir()),
]

VAGUE = re.compile(
    r"\b(whoever|somebody|nobody|everybody|anybody|who has|by half|he|him|himself|his)\b", re.IGNORECASE
)
"""The actor has a name: the client, the daemon, the reader."""

GENITIVE_FIRST = re.compile(r"(?:\A|[.!?:]\s+|\n\n|\|\s*)Of\s")
"""A sentence that opens with "Of …" has its subject last."""


def messages(source: str) -> Iterator[str]:
    """Yield each text of a module that may reach a person: all of its strings but its docstrings."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def found_in(text: str) -> list[str]:
    """Return the sentences' pieces that break a rule."""
    # Comments and lists as running text, so that a sentence goes on over the end of a line.
    flat = re.sub(r"\n(?:[#*>|-]+ *| +[#-]* *)?", "\n", text)
    return [match.group() for rule in (VAGUE, GENITIVE_FIRST) for match in rule.finditer(flat)]


@pytest.mark.parametrize("page", PAGES)
def test_the_docs_and_settings_name_who_acts(page: str) -> None:
    assert found_in((ROOT / page).read_text("utf-8")) == []


def test_messages_name_who_acts() -> None:
    bad = {
        f"{path.relative_to(ROOT)}: {text}": found
        for path in sorted((ROOT / "rrd").rglob("*.py"))
        for text in messages(path.read_text("utf-8"))
        if (found := found_in(text))
    }
    assert bad == {}


@pytest.mark.parametrize(
    "text",
    ["nobody answers", "Whoever reads\nit", "It is so. Of two, one is\nleft", "# a\n#\n# Of three"],
)
def test_what_breaks_a_rule_is_found(text: str) -> None:
    assert found_in(text)
