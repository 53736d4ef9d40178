"""What is drawn and written from a document: well-formed whatever the numbers and the names are."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from bench import figures
from bench.document import Attempt, Document, Environment, decode, encode, read, write
from bench.page import card, check_figure, headline, page, rate_figures
from bench.plots import Axis, bar_limit, bar_svg, make_axis, plot_svg
from bench.report import row_text, table
from bench.result import Check, Plot, Rate, Row, Series

NASTY = '<script>alert("1")</script> & \x00\x1b[31m \ud800'
NUMBERS = [
    0.0,
    -1.0,
    1e-320,
    5e-324,
    1e-9,
    0.7,
    1.0,
    999.96,
    1e6,
    1e300,
    1.7e308,
    -1.7e308,
    *map(float, ("nan", "inf", "-inf")),
]
SVG = "{http://www.w3.org/2000/svg}"

ENVIRONMENT = Environment(
    machine="2-core-Some-CPU", cores=2, cpu=NASTY, memory_bytes=2**34, kernel="Linux 6.1", python="3.11.2",
    versions={"rrd": "0.1.0"}, revision="f" * 40, is_dirty=True,
)  # fmt: skip


def plot(points: list[tuple[float, float]], *, is_log: bool = False) -> Plot:
    return Plot("title", "x", "y", [Series("one", points)], is_log_x=is_log, is_log_y=is_log)


def nasty_row() -> Row:
    return Row(
        number=1,
        title=NASTY,
        checks=[Check(NASTY, value, "%", bar=value, least=value, most=value) for value in NUMBERS],
        rates=[Rate(NASTY, NASTY, value, value, value) for value in NUMBERS],
        plots=[Plot(NASTY, NASTY, NASTY, [Series(NASTY, [(value, value) for value in NUMBERS])])],
        notes=[NASTY],
    )


def document(*attempts: Attempt) -> Document:
    return Document("2025-01-02T03:04:05+00:00", "quick", ENVIRONMENT, list(attempts), ["nothing"])


def attempt(row: Row | None, *, number: int = 1, failure: str = "") -> Attempt:
    return Attempt(number, "what it is", 0.5, 12.0, row, failure)


def row_of(*checks: Check) -> Row:
    return Row(1, "row", list(checks))


# Numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (0.123456, "0.123"), (1.5, "1.5"), (9.996, "10"), (12.34, "12.3"), (99.96, "100"),
        (1234.5, "1,234"), (9999.0, "10 k"), (12_345.0, "12.3 k"), (999_499.0, "999 k"), (999_960.0, "1 M"),
        (1_540_000.0, "1.54 M"), (2e9, "2 G"), (-3.14159, "-3.14"), (1e-9, "1.00e-09"), (1e300, "1.00e+300"),
        (math.nan, "–"), (math.inf, "–"),
    ],
)  # fmt: skip
def test_a_number_has_three_digits_that_count(value: float, text: str) -> None:
    assert figures.number(value) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.7, "%", "70 %"), (0.0123, "%", "1.23 %"), (12.0, "ms", "12 ms"),
        (1.54e6, "events/s", "1.54 M events/s"), (5e7, "bytes", "50 Mbytes"),
        (3.0, "×", "3 ×"), (3.0, "", "3"), (math.nan, "ms", "–"),
    ],
)  # fmt: skip
def test_a_quantity_bears_its_unit(value: float, unit: str, text: str) -> None:
    assert figures.quantity(value, unit) == text


def test_a_spread_says_its_unit_once() -> None:
    assert figures.spread(0.9, 0.97, "%") == "90–97 %"
    assert figures.spread(900.0, 1.2e6, "events/s") == "900 events/s–1.2 M events/s"
    assert figures.spread(None, 1.0, "%") == ""
    assert figures.spread(1.0, 1.0001, "s") == ""


def test_a_bar_says_which_side_is_good() -> None:
    assert figures.bar(Check("x", 1.0, "%", bar=0.7)) == "≥ 70 %"
    assert figures.bar(Check("x", 1.0, "ms", bar=20.0, goal="at most")) == "≤ 20 ms"
    assert figures.bar(Check("x", 1.0, "ms")) == ""


# Drawings


@pytest.mark.parametrize("is_log", [False, True])
@pytest.mark.parametrize(
    "points",
    [
        [], [(1.0, 1.0)], [(0.0, 0.0)], [(0.0, 0.0), (1.0, 0.0)], [(math.nan, 1.0), (1.0, math.inf)],
        [(-5.0, -5.0), (-1.0, -1.0)], [(1.0, 1e-300), (2.0, 1e300)],
        [(-1.7e308, -1.7e308), (1.7e308, 1.7e308)],
        [(5e-324, 5e-324)], [(1e16, 1e16), (1e16 + 2, 1e16 + 2)], [(float(at), 1.0) for at in range(5000)],
    ],
)  # fmt: skip
def test_any_points_make_a_drawing_inside_its_frame(points: list[tuple[float, float]], is_log: bool) -> None:
    root = ElementTree.fromstring(plot_svg(plot(points, is_log=is_log)))
    for line in root.iter(f"{SVG}polyline"):
        for pair in line.attrib["points"].split():
            assert all(0 <= float(value) <= 1000 for value in pair.split(","))
    for text in root.iter(f"{SVG}text"):
        assert "nan" not in text.attrib["x"]


def test_points_that_an_axis_cannot_show_are_left_out() -> None:
    points = [(1.0, 1.0), (10.0, 0.0), (100.0, math.nan), (1000.0, 5.0)]
    root = ElementTree.fromstring(plot_svg(plot(points, is_log=True)))
    (line,) = root.iter(f"{SVG}polyline")
    assert len(line.attrib["points"].split()) == 2
    assert len(list(root.iter(f"{SVG}circle"))) == 2


def test_a_line_goes_up_where_values_do() -> None:
    root = ElementTree.fromstring(plot_svg(plot([(0.0, 1.0), (1.0, 2.0), (2.0, 4.0)])))
    (line,) = root.iter(f"{SVG}polyline")
    heights = [float(pair.split(",")[1]) for pair in line.attrib["points"].split()]
    # SVG counts from the top.
    assert heights == sorted(heights, reverse=True)
    assert len(set(heights)) == 3


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (make_axis([3.0, 5600.0], is_log=False, is_whole=True), [0, 2000, 4000, 6000]),
        (make_axis([0.0, 0.0], is_log=False, is_whole=True), [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (make_axis([2.0, 700.0], is_log=True, is_whole=True), [1, 10, 100, 1000]),
        (make_axis([1.0, 1e12], is_log=True, is_whole=True), [1, 100, 1e4, 1e6, 1e8, 1e10, 1e12]),
        (Axis(1000.0, 19000.0, True), [1000, 2000, 5000, 10_000]),
        (Axis(1100.0, 1900.0, True), [1100, 1900]),
    ],
)
def test_ticks_are_round(axis: Axis, ticks: list[float]) -> None:
    assert axis.ticks() == pytest.approx(ticks)


def test_a_bar_is_as_long_as_its_share_and_never_longer_than_its_track() -> None:
    for value, width in [(5.0, "50.00%"), (20.0, "100.00%"), (-1.0, "0.00%")]:
        root = ElementTree.fromstring(bar_svg(value, limit=10.0, label="x"))
        assert root.findall(f"{SVG}rect")[1].attrib["width"] == width
    root = ElementTree.fromstring(bar_svg(math.nan, limit=10.0, label="x", line=5.0))
    assert len(root.findall(f"{SVG}rect")) == 1, "no bar for no number"
    assert [line.attrib["x1"] for line in root.findall(f"{SVG}line")] == ["50.00%"]


def test_whiskers_are_there_only_for_a_spread() -> None:
    with_spread = ElementTree.fromstring(bar_svg(5.0, limit=10.0, label="x", least=4.0, most=6.0))
    assert len(with_spread.findall(f"{SVG}line")) == 3
    for least, most in [(5.0, 5.0), (None, None), (math.nan, 6.0)]:
        root = ElementTree.fromstring(bar_svg(5.0, limit=10.0, label="x", least=least, most=most))
        assert not root.findall(f"{SVG}line")


def test_an_axis_ends_beyond_the_greatest_number() -> None:
    assert bar_limit([None, math.nan, math.inf, 3.0]) > 3.0
    assert bar_limit([]) == bar_limit([None, -5.0, 0.0]) == 1.0


# The page


def test_a_page_is_well_formed_whatever_is_in_it() -> None:
    row = nasty_row()
    text = page(
        document(attempt(row), attempt(None, number=2, failure=NASTY), attempt(Row(3, "", []), number=3))
    )
    ElementTree.fromstring(text)
    text.encode()
    assert "<script" not in text


def test_a_page_fetches_nothing() -> None:
    text = page(document(attempt(nasty_row()))).replace("http://www.w3.org/2000/svg", "")
    assert "http" not in text
    assert "url(" not in text
    assert "@import" not in text


def test_a_card_shows_what_is_not_met_first() -> None:
    good, bad = Check("good", 2.0, "×", bar=1.0), Check("bad", 0.5, "×", bar=1.0)
    assert headline(row_of(Check("stated", 9.0, "×"), good, bad)) == bad
    assert headline(row_of(Check("stated", 9.0, "×"), good)) == good
    assert headline(row_of()) is None
    assert "NOT MET" in card(attempt(row_of(good, bad)))
    assert "failed" in card(attempt(None))


def test_what_was_not_measured_is_not_called_missed() -> None:
    check = Check("x", math.nan, "%", bar=0.8, is_measured=False)
    assert check.is_met is None
    for text in (row_text(row_of(check)), card(attempt(row_of(check))), check_figure(check)):
        assert "not measured" in text
        assert "NOT MET" not in text
        assert "missed" not in text


def test_what_is_met_and_what_is_not_look_different() -> None:
    assert 'class="bar met"' in check_figure(Check("x", 2.0, "×", bar=1.0))
    assert 'class="bar missed"' in check_figure(Check("x", 0.5, "×", bar=1.0))
    assert 'class="goal"' not in check_figure(Check("x", 0.5, "×"))


def test_rrd_stands_out_among_those_compared() -> None:
    text = rate_figures("MB/s", [Rate("rrd, stored", "MB/s", 2, 1, 3), Rate("rrdtool", "MB/s", 2, 1, 3)])
    assert text.count('class="bar rrd"') == text.count('class="bar other"') == 1


# Document and text


@pytest.mark.parametrize(
    ("row", "status"),
    [
        (None, "failed"),
        (row_of(Check("x", 1.0, "×")), "stated"),
        (row_of(Check("x", 1.0, "×"), Check("x", 1.0, "×", bar=1.0)), "met"),
        (row_of(Check("x", 1.0, "×", bar=1.0), Check("x", 1.1, "×", bar=1.0, goal="at most")), "NOT MET"),
        (row_of(Check("x", math.nan, "×", bar=1.0)), "NOT MET"),
        (row_of(Check("x", math.nan, "×", bar=1.0, is_measured=False)), "not measured"),
        (
            row_of(Check("x", 2.0, "×", bar=1.0), Check("x", 1.0, "×", bar=1.0, is_measured=False)),
            "not measured",
        ),
        (row_of(Check("x", 0.5, "×", bar=1.0), Check("x", 1.0, "×", bar=1.0, is_measured=False)), "NOT MET"),
    ],
)
def test_a_row_reaches_its_bars_if_each_check_does(row: Row | None, status: str) -> None:
    assert attempt(row).status == status


def test_a_document_is_read_as_it_was_written(tmp_path: Path) -> None:
    row = msgspec.structs.replace(
        nasty_row(), title="plain", checks=[], rates=[Rate("a", "b", math.nan, -math.inf, 1.0)]
    )
    row = msgspec.structs.replace(row, plots=[], notes=["ä"])
    original = document(attempt(row))
    path = str(tmp_path / "a.json")
    write(path, original)
    found = read(path)
    rate = found.attempts[0].row.rates[0] if found.attempts[0].row else None
    assert rate is not None
    assert math.isnan(rate.median)
    assert rate.least == -math.inf
    assert encode(decode(encode(original))) == encode(original)


def test_the_table_tells_every_check_beside_its_bar() -> None:
    text = table(
        document(
            attempt(None, number=2, failure="Traceback\nboom\n"),
            attempt(row_of(Check("of the floor", 0.712, "%", bar=0.7, least=0.69, most=0.73))),
        )
    )
    lines = text.splitlines()
    assert lines[0].split() == ["1", "row", "met"]
    assert "71.2 % of the floor (69–73 %)" in lines[1]
    assert lines[1].split()[-3:] == ["70", "%", "met"]
    assert lines[2].endswith("failed")
    assert lines[3].strip() == "boom"


def test_a_row_as_text_tells_checks_rates_and_notes() -> None:
    text = row_text(
        Row(4, "posts", [Check("a", 1.0, "×")], [Rate("nginx", "MB/s", 5.0, 4.0, 6.0)], [], ["mind"], 3.0)
    )
    for part in ("posts", "1 × a", "nginx", "5 MB/s (4–6 MB/s)", "- mind", "took 3 s"):
        assert part in text


def test_the_command_draws_a_page_from_the_json_alone(tmp_path: Path) -> None:
    source = tmp_path / "2025-01-02-2-core-Ryzen.5.json"
    write(str(source), document(attempt(row_of(Check("x", 1.0, "×", bar=1.0)))))
    done = subprocess.run(
        [sys.executable, "-m", "bench.report", str(source)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    target = tmp_path / "2025-01-02-2-core-Ryzen.5.html"
    ElementTree.fromstring(target.read_text())
    source.write_text("{}")
    done = subprocess.run(
        [sys.executable, "-m", "bench.report", str(source)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
