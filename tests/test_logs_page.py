"""docs/logs.md names each event that an operator may meet: held against each call that logs one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from rrd.http.troubles import DAMAGE
from tests.parsed import trees

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/logs.md").read_text("utf-8")

MADE_UP = {
    "rrd/care/refusals.py": {"name", "f'{name}_more'"},  # what ``tell`` is given, and how many more
    "rrd/lifecycle/removal.py": {"tombstone.reason"},  # why a recording was removed
}
"""Where a name is no constant, and how it is written there; each that can come of it is in the table."""


def names_in_page() -> set[str]:
    rows = [line for line in PAGE.partition("## Events")[2].splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def logged() -> Iterator[tuple[str, ast.expr]]:
    """Yield each event that is logged at INFO or above, with the file that does so."""
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            file = str(path.relative_to(ROOT))
            if called.rpartition(".")[2] == "emit" and len(node.args) == 3:
                if ast.unparse(node.args[1]) != "logging.DEBUG":
                    yield file, node.args[2]
            elif called.endswith(("refusals.tell", "self.tell")) and node.args:
                yield file, node.args[0]


def test_each_event_from_info_on_is_in_the_table() -> None:
    names: set[str] = set()
    made_up: dict[str, set[str]] = {}
    for file, name in logged():
        if isinstance(name, ast.Constant):
            names.add(str(name.value))
        else:
            made_up.setdefault(file, set()).add(ast.unparse(name))
    assert len(names) > 80
    assert sorted(names - names_in_page()) == []
    assert made_up == MADE_UP


def test_events_that_no_call_names_are_in_the_table() -> None:
    made = {"erased", "expired", "refused_more", "library", "lines_left_out", "log_failed", "crashed"}
    assert made <= names_in_page()


def test_each_row_says_what_it_means_and_how_bad_it_is() -> None:
    rows = [line.split("|") for line in PAGE.partition("## Events")[2].splitlines() if line.startswith("| `")]
    assert all(len(row) == 6 and row[3].strip() for row in rows)
    assert {level for row in rows for level in row[2].split()} == set("iwec")
    # What is bad has a step.
    assert [row[1] for row in rows if set(row[2].split()) & {"e", "c"} and not row[4].strip()] == []


def test_what_rrd_status_takes_for_damage_is_logged_so() -> None:
    assert names_in_page() >= DAMAGE


def test_what_the_page_looks_for_in_the_journal_is_found_there() -> None:
    patterns = re.findall(r"journalctl [^`]*-g '([^']+)'", PAGE)
    assert patterns
    for pattern in patterns:
        sought = re.compile(pattern.replace(r"\|", "|"))  # As a table writes it.
        found = {name for name in names_in_page() if sought.search(f"{name} key=value")}
        assert found, f"{pattern!r} finds no line as JournalFormatter writes it"
