"""The bar: on a terminal, and nowhere else."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.progress import Progress, bar, size_text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_messages_and_nothing_else() -> None:
    output = io.StringIO()
    with Progress(output=output) as progress:
        progress.begin("file", total=10)
        progress.add(5)
        progress.tell("something happened")
    assert output.getvalue() == "something happened\n"


@pytest.mark.parametrize("quiet", [True, False])
def test_a_terminal_gets_a_bar_that_is_taken_away_unless_it_is_to_be_quiet(quiet: bool) -> None:
    output = Terminal()
    with Progress(output=output, quiet=quiet) as progress:
        progress.begin("file", total=10)
        progress.tell("message")
        progress.begin("other", total=10)
    told = output.getvalue()
    assert "message\n" in told
    assert ("file" in told) == (not quiet)
    if not quiet:
        # Before a message and at the end the line is erased.
        assert told.index("file") < told.index("\r\x1b[Kmessage") < told.index("other")
        assert told.endswith("\r\x1b[K")


@given(st.text(max_size=200), st.integers(0, 2**60), st.integers(0, 2**60), st.integers(20, 300))
def test_a_bar_fits_into_its_line(what: str, done: int, total: int, width: int) -> None:
    assert len(bar(what, done, total, width=width)) <= width


def test_a_bar_tells_how_far_it_is() -> None:
    assert bar("x", 512, 1024, width=79) == f"x [{'#' * 15:30}]  50% of 1.0 KiB"
    assert bar("x", 9999, 1024, width=79).endswith("100% of 1.0 KiB")
    assert bar("x", 5, 0, width=79) == "x 5 B"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 << 29, "1.5 GiB"), (5 << 50, "5120.0 TiB")],
)
def test_sizes_read_as_people_say_them(size: int, text: str) -> None:
    assert size_text(size) == text
