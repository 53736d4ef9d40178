"""The reference of the settings: up to date, and whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import rrd
from rrd.config.changes import kind_of
from rrd.config.reference import reference
from tests.config.other_values import FIELDS

ROOT = Path(rrd.__file__).parents[1]
PAGE = (ROOT / "docs" / "settings.md").read_text()
ROWS = {
    row[0]: row
    for line in PAGE.splitlines()
    if len(row := re.split(r"(?<!\\)\|", line)[1:-1]) == 5 and row[0].strip().startswith("`")
}
CELLS = {re.findall(r"`([^`]+)`", name)[0]: [cell.strip() for cell in row] for name, row in ROWS.items()}


def test_the_reference_is_up_to_date() -> None:
    # `make reference` writes it anew.
    assert reference((ROOT / "config" / "rrd.toml").read_text()) == PAGE


def test_each_setting_stands_in_the_reference_once() -> None:
    assert list(CELLS) == [field.name for field in FIELDS]


@pytest.mark.parametrize("name", [field.name for field in FIELDS])
def test_a_row_says_what_a_setting_is_about_and_when_it_counts(name: str) -> None:
    cell, question, kind, default, counts = CELLS[name]
    assert f"`RRD_{name.upper()}`" in cell
    assert len(question) > 10
    assert question.count("`") % 2 == 0
    assert question[-1] in "?.:"
    assert kind
    assert default.startswith("`")
    assert counts == kind_of(name)
