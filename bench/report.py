"""The figures, for people: a row or the whole table as text, a whole run as a page.

python -m bench.report FILE.json        makes FILE.html again, from the JSON alone
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench import figures
from bench.document import Attempt, Document, read
from bench.page import page
from bench.result import Check, Rate, Row

_WHAT_WIDTH = 62


def print_row(row: Row) -> None:
    """Print all that one row has to say, but for its plots."""
    print(row_text(row))


def row_text(row: Row) -> str:
    """Return a row as lines of text: checks, then what was compared, then notes."""
    lines = [f"{row.number:2}  {row.title}", *map(_check_line, row.checks)]
    if row.rates:
        lines += ["", *map(_rate_line, row.rates)]
    if row.notes:
        lines += ["", *(f"      - {note}" for note in row.notes)]
    if row.took_s:
        lines.append(f"      took {figures.quantity(row.took_s, 's')}")
    return "\n".join(lines)


def table(document: Document) -> str:
    """Return the table of a run: each row's checks beside their bars."""
    lines: list[str] = []
    for attempt in sorted(document.attempts, key=lambda attempt: attempt.number):
        lines += _attempt_lines(attempt)
    return "\n".join(lines)


def _attempt_lines(attempt: Attempt) -> list[str]:
    title = attempt.row.title if attempt.row else attempt.title
    head = f"{attempt.number:2}  {title:{_WHAT_WIDTH + 16}} {attempt.status}"
    if attempt.row is None:
        last_words = attempt.failure.strip().splitlines()[-1:] or ["no last words"]
        return [head, f"      {last_words[0]}"]
    return [head, *map(_check_line, attempt.row.checks)]


def _check_line(check: Check) -> str:
    spread = figures.spread(check.least, check.most, check.unit)
    value = f"{figures.quantity(check.value, check.unit)} {check.what}{f' ({spread})' if spread else ''}"
    return f"      {value:{_WHAT_WIDTH}} {figures.bar(check):12} {figures.verdict(check)}"


def _rate_line(rate: Rate) -> str:
    spread = figures.spread(rate.least, rate.most, rate.unit)
    value = figures.quantity(rate.median, rate.unit)
    return f"      {rate.name:{_WHAT_WIDTH}} {value}{f' ({spread})' if spread else ''}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.report", description="Draw the report of a run again."
    )
    parser.add_argument("file", metavar="FILE.json", type=Path)
    source: Path = parser.parse_args().file
    try:
        document = read(str(source))
    except (OSError, ValueError) as error:
        sys.exit(f"{source}: {error}")
    target = source.with_suffix(".html")
    target.write_text(page(document))
    print(target)


if __name__ == "__main__":
    main()
