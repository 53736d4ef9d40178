"""The runner: rows in processes of their own, of which one may fail without harm to the others."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench import run as runner
from bench.document import Attempt, Document, read
from bench.environment import ROOT, environment, machine_name, missing
from bench.result import Check, Options, Row
from bench.rows import ROWS, Entry, find, measure, timed

STAND_IN = """
import os, subprocess, sys, time
from bench.result import Check, Row

def good(options):
    return Row(1, "good at " + options.scale, [Check("of it", 0.5, "%", 0.7)])

def bad(options):
    print("about to fail")
    raise RuntimeError("boom")

def untidy(options):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with open(os.environ["STAND_IN_PID"], "w") as file:
        file.write(str(child.pid))
    with open(os.path.join(__import__("tempfile").mkdtemp(), "big"), "w") as file:
        print(file.name)
    os._exit(3)
"""


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make rows 1 to 3 a good one, one that raises, and one that leaves things behind."""
    (tmp_path / "stand_in_rows.py").write_text(STAND_IN)
    (tmp_path / "sitecustomize.py").write_text(
        "import bench.rows as rows\n"
        "rows.ROWS = tuple(rows.Entry(number, name, 'stand_in_rows', name)"
        " for number, name in enumerate(('good', 'bad', 'untidy'), 1))\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    monkeypatch.setenv("STAND_IN_PID", str(tmp_path / "pid"))
    return tmp_path


def entry(number: int, title: str) -> Entry:
    return Entry(number, title, "stand_in_rows", title)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_a_row_is_measured_in_a_process_of_its_own(stand_ins: Path) -> None:
    attempt = runner.attempt_row(entry(1, "good"), "quick")
    assert attempt.row is not None, attempt.failure
    assert attempt.row.title == "good at quick"
    assert attempt.status == "NOT MET"
    assert attempt.row.took_s >= 0


def test_a_row_that_fails_leaves_its_last_words(stand_ins: Path) -> None:
    attempt = runner.attempt_row(entry(2, "bad"), "smoke")
    assert attempt.status == "failed"
    assert "about to fail" in attempt.failure
    assert "RuntimeError: boom" in attempt.failure
    assert attempt.failure.startswith("ended with status 1\n")


def test_what_a_row_leaves_behind_goes_with_it(stand_ins: Path) -> None:
    attempt = runner.attempt_row(entry(3, "untidy"), "smoke")
    assert "status 3" in attempt.failure
    pid = int((stand_ins / "pid").read_text())
    for _ in range(200):
        if not is_alive(pid):
            break
        time.sleep(0.01)
    assert not is_alive(pid)


def test_the_others_go_on_after_one_that_fails(stand_ins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = runner.run([entry(2, "bad"), entry(1, "good")], "smoke")
    assert [(attempt.number, attempt.status) for attempt in document.attempts] == [
        (1, "NOT MET"),
        (2, "failed"),
    ]
    printed = capsys.readouterr().out
    assert "boom" in printed
    assert document.scale == "smoke"


def test_late_rows_run_last_and_are_told_of_in_their_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    order: list[int] = []

    def attempt_row(found: Entry, scale: str) -> Attempt:
        order.append(found.number)
        return Attempt(found.number, found.title, 0.0, 0.0)

    monkeypatch.setattr(runner, "attempt_row", attempt_row)
    document = runner.run(ROWS, "smoke")
    late = [found.number for found in ROWS if found.is_late]
    assert order[-len(late) :] == late
    assert [attempt.number for attempt in document.attempts] == list(range(1, len(ROWS) + 1))


def test_results_never_overwrite_others(tmp_path: Path) -> None:
    attempts = [Attempt(1, "x", 0.0, 0.0, Row(1, "x", [Check("x", 1.0, "%")]))]
    document = Document("2025-01-02T03:04:05+00:00", "full", environment(), attempts)
    first, second = runner.save(document, tmp_path / "new"), runner.save(document, tmp_path / "new")
    assert first.name == f"2025-01-02-{document.environment.machine}.json"
    assert first != second
    assert read(str(second)) == document
    assert len(list((tmp_path / "new").glob("*.html"))) == 2


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("3", [3]),
        ("1,3-5", [1, 3, 4, 5]),
        ("5-3", None),
        ("5, 3", [3, 5]),
        ("99", None),
        ("x", None),
        ("", None),
    ],
)
def test_rows_are_chosen_by_number_and_range(text: str, numbers: Sequence[int] | None) -> None:
    if numbers is None:
        with pytest.raises(ValueError, match=r"."):
            runner.chosen(text)
    else:
        assert [found.number for found in runner.chosen(text)] == numbers


def test_rows_are_numbered_from_one_without_gaps() -> None:
    assert [found.number for found in ROWS] == list(range(1, len(ROWS) + 1))
    assert find(1) == ROWS[0]
    with pytest.raises(ValueError, match="no row 0"):
        find(0)


def test_a_row_that_is_not_written_yet_is_an_error() -> None:
    with pytest.raises(ImportError):
        measure(Entry(1, "x", "bench.rows.not_there"), Options("smoke"))


def test_how_long_a_row_took_is_noted() -> None:
    def slow(options: Options) -> Row:
        time.sleep(0.02)
        return Row(1, "x", [])

    assert timed(slow, Options("smoke")).took_s >= 0.02


@pytest.mark.parametrize(
    ("cpu", "name"),
    [
        ("AMD EPYC", "2-core-AMD-EPYC"),
        ("AMD EPYC 7763 64-Core Processor", "2-core-AMD-EPYC-7763"),
        ("Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz", "2-core-Intel-Xeon-Platinum-8375C"),
        ("", "2-core-machine"),
        ("../../etc", "2-core-..-..-etc"),
    ],
)
def test_a_machine_is_named_by_its_processor(cpu: str, name: str) -> None:
    assert machine_name(2, cpu) == name
    assert "/" not in name


def test_what_is_missing_is_said_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(os, "access", lambda *_: False)
    sentences = missing()
    assert any("apt-get install nginx" in sentence for sentence in sentences)
    assert any("nodejs" in sentence for sentence in sentences)


def test_the_command_refuses_rows_that_are_not_there() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.run", "--smoke", "--rows", "77"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "no such rows" in done.stderr
