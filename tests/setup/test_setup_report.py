"""Lines of a setup: marked on a terminal that can show marks, words elsewhere."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from rrd.setup.report import StepReport, goes_into_journal


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal, of an encoding."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("kind", "encoding", "lines"),
    [
        (Terminal, "utf-8", ["✓ a", "✓ b", "✓ c", "! d"]),
        (Terminal, "latin-1", ["done: a", "same: b", "works: c", "note: d"]),
        (io.TextIOWrapper, "utf-8", ["done: a", "same: b", "works: c", "note: d"]),
    ],
)
def test_each_step_is_a_line_that_the_stream_can_show(
    kind: type[io.TextIOWrapper], encoding: str, lines: list[str]
) -> None:
    written = io.BytesIO()
    report = StepReport(kind(written, encoding=encoding))
    report.same("b")
    assert not report.has_changed
    written.truncate(0)
    written.seek(0)
    report.done("a")
    report.same("b")
    report.works("c")
    report.note("d")
    assert report.has_changed
    assert written.getvalue().decode(encoding).splitlines() == lines


def test_only_the_journals_own_stream_is_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "a").open("w") as journal, (tmp_path / "b").open("w") as other:
        status = os.fstat(journal.fileno())
        monkeypatch.delenv("JOURNAL_STREAM", raising=False)
        assert not goes_into_journal(journal)
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert [goes_into_journal(stream) for stream in (journal, other, io.StringIO())] == [
            True,
            False,
            False,
        ]
