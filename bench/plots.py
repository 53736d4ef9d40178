"""Figures as SVG, from numbers to text: bars with whiskers, and lines over an axis.

Everything is placed in percent of the width, so that a drawing fits a phone and a desk while its text keeps
its size. Only what must bend along, the lines, lies in an inner drawing that is stretched. Colours come from
the page, by class. Numbers that are none are left out, wherever they stand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bench.figures import number, to_xml
from bench.result import Plot, Series

SERIES_COLOURS = 6
"""Classes ``s0`` to ``s5`` are there; more lines begin again."""

_BAR_HEIGHT = 18
_PLOT_HEIGHT = 230
_TOP, _BOTTOM = 16, 40
_DOTS_MAX = 40
"""A series of more points is drawn without dots."""
_TICKS_MAX = 6
_GREATEST = 1.7e308


# Bars


def bar_svg(
    value: float,
    *,
    limit: float,
    label: str,
    kind: str = "other",
    least: float | None = None,
    most: float | None = None,
    line: float | None = None,
) -> str:
    """Draw one bar on an axis from 0 to ``limit``, the spread as whiskers, and ``line`` as what to reach.

    ``kind`` is its class; ``label`` is what it says to those who can't see it.
    """
    middle = _BAR_HEIGHT / 2
    parts = [f'<rect class="track" x="0" y="4" width="100%" height="{_BAR_HEIGHT - 8}" rx="3"/>']
    if (width := _percent(value, limit)) is not None:
        size = f'width="{width:.2f}%" height="{_BAR_HEIGHT - 4}"'
        parts.append(f'<rect class="bar {to_xml(kind)}" x="0" y="2" {size} rx="3"/>')
    low, high = _percent(least, limit), _percent(most, limit)
    if low is not None and high is not None and high > low:
        parts.append(_line("whisker", low, middle, high, middle))
        parts += [_line("whisker", end, middle - 4, end, middle + 4) for end in (low, high)]
    if (at := _percent(line, limit)) is not None:
        parts.append(_line("goal", at, 0, at, _BAR_HEIGHT))
    return _svg(_BAR_HEIGHT, label, parts)


def bar_limit(values: Iterable[float | None]) -> float:
    """Return where an axis must end to show these values: a little beyond the greatest; 1 without any."""
    greatest = max((value for value in values if value is not None and math.isfinite(value)), default=0.0)
    return greatest * 1.04 if 0 < greatest < 1e300 else 1.0


def _percent(value: float | None, limit: float) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return min(100.0, max(0.0, 100 * (value / limit)))


# Lines


class Axis(NamedTuple):
    """From ``low`` to ``high``, greater than it; in powers of ten if ``is_log``, both above 0 then."""

    low: float
    high: float
    is_log: bool

    def share(self, value: float) -> float:
        """Return how far along ``value`` stands, from 0 to 1."""
        low, high, at = self.low, self.high, value
        if self.is_log:
            low, high, at = math.log10(low), math.log10(high), math.log10(at)
        # Halves, since a range may be greater than any number.
        return min(1.0, max(0.0, (at / 2 - low / 2) / (high / 2 - low / 2)))

    def ticks(self) -> list[float]:
        """Return round values on it, two at least if there are two."""
        return _log_ticks(self) if self.is_log else _even_ticks(self)


def make_axis(values: Sequence[float], *, is_log: bool, is_whole: bool) -> Axis:
    """Return an axis that shows all of ``values``, which are finite, and above 0 if ``is_log``.

    ``is_whole``: it begins and ends with a tick, and 0 is on it unless ``is_log``.
    """
    low, high = min(values, default=1.0), max(values, default=1.0)
    if is_log:
        low, high = max(low, 1e-306), max(high, 1e-306)
        if is_whole or high <= low * (1 + 1e-9):
            first, last = math.floor(math.log10(low)), min(308, math.ceil(math.log10(high)))
            low, high = 10.0 ** min(first, last - 1), 10.0**last
        return Axis(low, high, True)
    if is_whole:
        low, high = min(low, 0.0), max(high, 0.0)
        high = high if low < high else 1.0
        step = _step(low, high)
        low, high = math.floor(low / step) * step, math.ceil(high / step) * step
        return Axis(max(low, -_GREATEST), min(high, _GREATEST), False)
    if high - low <= abs(high) * 1e-12:
        room = abs(high) / 2 or 1.0
        low, high = max(low - room, -_GREATEST), min(high + room, _GREATEST)
    return Axis(low, high, False)


def plot_svg(plot: Plot) -> str:
    """Draw a plot; its title and legend are the page's."""
    lines = [_usable(series, plot) for series in plot.series]
    points = [point for line in lines for point in line]
    if not points:
        text = f'<text class="tick" x="50%" y="{_PLOT_HEIGHT / 2}" text-anchor="middle">no figures</text>'
        return _svg(_PLOT_HEIGHT, plot.title, [text])
    x_axis = make_axis([x for x, _ in points], is_log=plot.is_log_x, is_whole=False)
    y_axis = make_axis([y for _, y in points], is_log=plot.is_log_y, is_whole=True)
    height = _PLOT_HEIGHT - _TOP - _BOTTOM
    parts = _grid(x_axis, y_axis, height)
    parts.append(
        f'<svg x="0" y="{_TOP}" width="100%" height="{height}" viewBox="0 0 1000 1000" '
        'preserveAspectRatio="none">'
    )
    for index, line in enumerate(lines):
        drawn = " ".join(f"{1000 * x_axis.share(x):.1f},{1000 * (1 - y_axis.share(y)):.1f}" for x, y in line)
        parts.append(f'<polyline class="line s{index % SERIES_COLOURS}" points="{drawn}"/>')
    parts.append("</svg>")
    for index, line in enumerate(lines):
        if len(line) <= _DOTS_MAX:
            parts += [_dot(plot.series[index].name, index, point, x_axis, y_axis, height) for point in line]
    parts += _labels(plot, x_axis, y_axis, height)
    return _svg(_PLOT_HEIGHT, plot.title, parts)


def _usable(series: Series, plot: Plot) -> list[tuple[float, float]]:
    """Return the points that can be drawn on the plot's axes, from left to right."""
    return sorted(
        (x, y)
        for x, y in series.points
        if math.isfinite(x)
        and math.isfinite(y)
        and (x > 0 or not plot.is_log_x)
        and (y > 0 or not plot.is_log_y)
    )


def _grid(x_axis: Axis, y_axis: Axis, height: int) -> list[str]:
    across = [_TOP + height * (1 - y_axis.share(tick)) for tick in y_axis.ticks()]
    along = [100 * x_axis.share(tick) for tick in x_axis.ticks()]
    base = _TOP + height
    return [
        *(_line("grid", 0, y, 100, y) for y in across),
        *(_line("grid", x, base, x, base + 4) for x in along),
        _line("axis", 0, base, 100, base),
    ]


def _labels(plot: Plot, x_axis: Axis, y_axis: Axis, height: int) -> list[str]:
    """Label the ticks: those of y to the left of the drawing, where the page leaves a margin."""
    parts = []
    for tick in y_axis.ticks():
        y = _TOP + height * (1 - y_axis.share(tick)) + 4
        parts.append(f'<text class="tick" x="-6" y="{y:.1f}" text-anchor="end">{to_xml(number(tick))}</text>')
    for tick in x_axis.ticks():
        share = x_axis.share(tick)
        anchor = "start" if share < 0.04 else "end" if share > 0.96 else "middle"
        x, y = 100 * share, _TOP + height + 17
        parts.append(
            f'<text class="tick" x="{x:.2f}%" y="{y}" text-anchor="{anchor}">{to_xml(number(tick))}</text>'
        )
    y = _PLOT_HEIGHT - 6
    parts.append(f'<text class="unit" x="100%" y="{y}" text-anchor="end">{to_xml(plot.x)}</text>')
    return parts


def _dot(name: str, index: int, point: tuple[float, float], x_axis: Axis, y_axis: Axis, height: int) -> str:
    x, y = 100 * x_axis.share(point[0]), _TOP + height * (1 - y_axis.share(point[1]))
    title = to_xml(f"{name}: {number(point[1])} at {number(point[0])}")
    colour = f"s{index % SERIES_COLOURS}"
    return f'<circle class="dot {colour}" cx="{x:.2f}%" cy="{y:.1f}" r="2.5"><title>{title}</title></circle>'


def _step(low: float, high: float) -> float:
    """Return a round distance that divides the range into some five."""
    span = max(high / 5 - low / 5, 1e-300)
    power = 10.0 ** math.floor(math.log10(span))
    return next((m * power for m in (1, 2, 5) if m * power >= span * (1 - 1e-9)), 10 * power)


def _even_ticks(axis: Axis) -> list[float]:
    step = _step(axis.low, axis.high)
    first = math.ceil(axis.low / step * (1 - 1e-9))
    ticks = [(first + index) * step for index in range(_TICKS_MAX + 1)]
    return [tick for tick in ticks if math.isfinite(tick) and tick <= axis.high + step * 1e-6]


def _log_ticks(axis: Axis) -> list[float]:
    """Return powers of ten, and halves and fifths of them where there are few; else the ends."""
    first, last = math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high))
    stride = math.ceil((last - first) / _TICKS_MAX)
    powers = [10.0**power for power in range(max(first, -307), min(last, 308) + 1, stride)]
    fine = [m * power for power in powers for m in (1, 2, 5)] if last - first <= 2 else powers
    for ticks in (powers if last - first > 2 else fine, [axis.low, axis.high]):
        if len(within := [tick for tick in ticks if axis.low * 0.999 <= tick <= axis.high * 1.001]) > 1:
            break
    return within


# The text


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    """Draw a straight line: x in percent, y in pixels."""
    return f'<line class="{kind}" x1="{x1:.2f}%" y1="{y1:.1f}" x2="{x2:.2f}%" y2="{y2:.1f}"/>'


def _svg(height: int, label: str, parts: list[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="100%" height="{height}">'
        f"<title>{to_xml(label)}</title>{''.join(parts)}</svg>"
    )
