"""All rows of the table, one after another, then the table, a JSON file and the report.

    python -m bench.run [--quick | --smoke] [--rows 1,3-5] [--out DIR]

Each row runs in a process of its own, in a session and a temporary directory of its own: what it leaves
behind is ended and removed with it, and one that fails is told of in the table while the others go on. Rows
that delete thousands of files come last, since ext4 makes new files slowly for minutes after that.

Ends with status 0 if every row ran, whether it reached its bars or not; 1 if one failed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.document import Attempt, Document, read_row, write
from bench.environment import ROOT, environment, missing
from bench.page import page
from bench.report import table
from bench.result import Options, Row, Scale
from bench.rows import ROWS, Entry, add_scale

RESULTS = ROOT / "bench/results"

_LAST_WORDS = 3000
"""Characters of a failed row's output that are kept."""


def run(entries: Sequence[Entry], scale: Scale) -> Document:
    """Measure rows in turn and say how it goes. A row that fails is in the document as such."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    lacking = missing()
    for sentence in lacking:
        print(f"note: {sentence}", flush=True)
    attempts: list[Attempt] = []
    for entry in sorted(entries, key=lambda entry: entry.is_late):
        print(f"row {entry.number:2}, {entry.title} … ", end="", flush=True)
        attempt = attempt_row(entry, scale)
        print(f"{attempt.status}, {attempt.took_s:.0f} s", flush=True)
        if attempt.failure:
            print(_indented(attempt.failure), flush=True)
        attempts.append(attempt)
    attempts.sort(key=lambda attempt: attempt.number)
    return Document(started, scale, environment(), attempts, lacking)


def attempt_row(entry: Entry, scale: Scale) -> Attempt:
    """Run one row in a process of its own."""
    load_average = os.getloadavg()[0]
    started = time.monotonic()
    row, failure = _row_of_process(entry, scale)
    took_s = time.monotonic() - started
    return Attempt(entry.number, entry.title, load_average, took_s, row, failure)


def _row_of_process(entry: Entry, scale: Scale) -> tuple[Row | None, str]:
    """Return the row, or None and the last words of whoever should have measured it."""
    timeout_s = Options(scale).pick(full=3600, quick=900, smoke=240)
    with tempfile.TemporaryDirectory(prefix="rrd-bench-row-") as directory:
        row_path, log_path = f"{directory}/row.json", f"{directory}/log"
        command = [sys.executable, "-m", "bench.rows", str(entry.number), "--json", row_path]
        command += [] if scale == "full" else [f"--{scale}"]
        with open(log_path, "wb") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env=os.environ | {"TMPDIR": directory},
                start_new_session=True,
            )
        try:
            status: int | None = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            # Its daemons, floors and clients as well: they are in its session, and nobody else is.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if status == 0:
            try:
                return read_row(row_path), ""
            except (OSError, ValueError) as error:
                return None, f"it ended well, but its row can't be read: {error}"
        last_words = Path(log_path).read_text(errors="replace")[-_LAST_WORDS:].strip()
        reason = f"not done after {timeout_s} s" if status is None else f"ended with status {status}"
        return None, f"{reason}\n{last_words}".strip()


def chosen(text: str) -> list[Entry]:
    """Read ``1,3-5``: return those rows, in the table's order. Raises ``ValueError``."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        numbers |= set(range(int(first), int(last if dash else first) + 1)) or {-1}
    unknown = numbers - {entry.number for entry in ROWS}
    if unknown:
        raise ValueError(f"no such rows: {text}")
    return [entry for entry in ROWS if entry.number in numbers]


def save(document: Document, directory: Path) -> Path:
    """Write JSON and page, under a name that isn't taken yet. Return the JSON file's path."""
    directory.mkdir(parents=True, exist_ok=True)
    scale = "" if document.scale == "full" else f"-{document.scale}"
    stem = f"{document.started[:10]}-{document.environment.machine}{scale}"
    path, count = directory / f"{stem}.json", 1
    while path.exists():
        count += 1
        path = directory / f"{stem}-{count}.json"
    write(str(path), document)
    # Not with_suffix: there are dots in the names of processors.
    (directory / f"{path.name.removesuffix('.json')}.html").write_text(page(document))
    return path


def _indented(text: str) -> str:
    return "\n".join(f"      {line}" for line in text.splitlines())


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.run", description="Measure the table, or some rows of it, and write a report."
    )
    add_scale(parser)
    parser.add_argument("--rows", metavar="1,3-5", help="these rows only")
    parser.add_argument("--out", metavar="DIR", type=Path, default=RESULTS, help="default: bench/results")
    args = parser.parse_args()
    try:
        entries = chosen(args.rows) if args.rows else list(ROWS)
    except ValueError as error:
        parser.error(f"--rows: {error}")
    document = run(entries, args.scale)
    print(f"\n{table(document)}\n")
    path = save(document, args.out)
    print(f"{path}\n{path.with_name(path.name.removesuffix('.json') + '.html')}")
    sys.exit(any(attempt.status == "failed" for attempt in document.attempts))


if __name__ == "__main__":
    main()
