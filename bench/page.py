"""A run as a page to look at: one file, nothing fetched, nothing to be switched on.

The page is well-formed XML as well, which the tests make use of. Its style is in ``page.css``.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from bench import figures
from bench.document import Attempt, Document
from bench.figures import to_xml
from bench.plots import SERIES_COLOURS, bar_limit, bar_svg, plot_svg
from bench.result import Check, Plot, Rate, Row

_CLASSES = {
    "met": "is-met",
    "NOT MET": "is-not-met",
    "stated": "is-stated",
    "not measured": "is-stated",
    "failed": "is-failed",
}
_BAR_KINDS = {True: "met", False: "missed", None: "stated"}
_SCALES = {
    "full": "",
    "quick": "A quick run: less of everything, and more noise.",
    "smoke": "A smoke run, to see whether it all runs: its figures mean nothing.",
}


def page(document: Document) -> str:
    """Return the whole page."""
    style = Path(__file__).with_name("page.css").read_text()
    attempts = sorted(document.attempts, key=lambda attempt: attempt.number)
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8"/>',
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
        f"<title>rrd, measured {to_xml(document.started[:10])}</title>",
        f"<style>{to_xml(style) if '&' in style or '<' in style else style}</style></head><body>",
        _head(document),
        f'<nav class="cards">{"".join(map(card, attempts))}</nav>',
        *map(section, attempts),
        _environment(document),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _head(document: Document) -> str:
    attempts = document.attempts
    with_bars = [attempt for attempt in attempts if attempt.status in {"met", "NOT MET"}]
    met = sum(attempt.status == "met" for attempt in with_bars)
    failed = sum(attempt.status == "failed" for attempt in attempts)
    summary = f"{met} of {len(with_bars)} rows reach their bars"
    if failed:
        summary += f"; {failed} failed to run"
    remarks = [_SCALES[document.scale], *document.missing]
    return (
        f"<h1>rrd, measured</h1><p><strong>{summary}.</strong> "
        f'<span class="soft">{to_xml(f"{document.environment.machine}, {document.started[:10]}")}</span></p>'
        '<p class="soft">Shares and factors are ratios inside one run, taken round by round: medians, with '
        "the least and the most. Absolute figures belong to this machine and this hour.</p>"
        + "".join(f"<p>{to_xml(remark)}</p>" for remark in remarks if remark)
    )


# A row


def card(attempt: Attempt) -> str:
    """Return a row's headline: of its checks the first that is not met, else the first with a bar."""
    check = headline(attempt.row) if attempt.row else None
    body = ""
    if check is not None:
        goal = f" ({figures.bar(check)})" if check.bar is not None else ""
        body = (
            f'<span class="big">{to_xml(figures.quantity(check.value, check.unit))}</span>'
            f'<span class="what">{to_xml(check.what + goal)}</span>'
        )
    title = attempt.row.title if attempt.row else attempt.title
    return (
        f'<a class="card {_CLASSES[attempt.status]}" href="#row-{attempt.number}">'
        f'<span class="title"><span class="number">{attempt.number}</span>{to_xml(title)}</span>'
        f"{body}{_pill(attempt.status)}</a>"
    )


def headline(row: Row) -> Check | None:
    """Return the check that says most about a row; None if it has none."""
    ranks = {False: 0, True: 1, None: 2}
    return min(row.checks, key=lambda check: ranks[check.is_met], default=None)


def section(attempt: Attempt) -> str:
    """Return all that is known of a row."""
    row = attempt.row
    parts = [
        f'<section id="row-{attempt.number}"><header><h2><span class="number">{attempt.number}</span>'
        f"{to_xml(row.title if row else attempt.title)}</h2>{_pill(attempt.status)}</header>"
    ]
    if row is None:
        parts.append(f"<p>It could not be measured. Its last words:</p><pre>{to_xml(attempt.failure)}</pre>")
    else:
        columns = [_checks(row.checks), *_rates(row.rates), *map(_plot, row.plots)]
        parts.append(f'<div class="columns">{"".join(filter(None, columns))}</div>')
        if row.notes:
            notes = "".join(f"<li>{to_xml(note)}</li>" for note in row.notes)
            parts.append(f'<ul class="notes">{notes}</ul>')
    parts.append(
        f'<p class="took">Took {figures.quantity(attempt.took_s, "s")}; load average '
        f"{figures.number(attempt.load_average)} before.</p></section>"
    )
    return "".join(parts)


def _checks(checks: list[Check]) -> str:
    return "<div><h3>against the bar</h3>" + "".join(map(check_figure, checks)) + "</div>" if checks else ""


def check_figure(check: Check) -> str:
    """Return a check as a bar, with what is to be reached as a line across."""
    value, goal = figures.quantity(check.value, check.unit), figures.bar(check)
    svg = bar_svg(
        check.value,
        limit=bar_limit([check.value, check.bar, check.most]),
        label=f"{value} {check.what} {goal}".strip(),
        kind=_BAR_KINDS[check.is_met],
        least=check.least,
        most=check.most,
        line=check.bar,
    )
    spread = figures.spread(check.least, check.most, check.unit)
    verdict = figures.verdict(check)
    right = f'<span class="goal-text {_CLASSES[verdict]}">{to_xml(goal)} {verdict}</span>' if goal else ""
    return (
        '<div class="figure"><div class="head"><span class="name">'
        f'<span class="value">{to_xml(value)}</span> '
        f"{to_xml(check.what)}{_spread(spread)}</span>{right}</div>{svg}</div>"
    )


def _rates(rates: list[Rate]) -> list[str]:
    """Return a block for each unit, so that what stands side by side can be compared."""
    units = list(dict.fromkeys(rate.unit for rate in rates))
    in_order = sorted(rates, key=lambda rate: units.index(rate.unit))
    return [rate_figures(unit, list(group)) for unit, group in groupby(in_order, key=lambda rate: rate.unit)]


def rate_figures(unit: str, rates: list[Rate]) -> str:
    """Return rates of one unit as bars on one scale; rrd's own stand out."""
    limit = bar_limit([value for rate in rates for value in (rate.median, rate.most)])
    parts = [f"<div><h3>{to_xml(unit)}</h3>"]
    for rate in rates:
        # The unit stands above them all.
        value = figures.quantity(rate.median, "%" if unit == "%" else "")
        kind = "rrd" if rate.name.split(" ")[0].strip(",:") == "rrd" else "other"
        svg = bar_svg(
            rate.median,
            limit=limit,
            label=f"{rate.name}: {figures.quantity(rate.median, unit)}",
            kind=kind,
            least=rate.least,
            most=rate.most,
        )
        spread = figures.spread(rate.least, rate.most, "%" if unit == "%" else "")
        parts.append(
            f'<div class="figure is-{kind}"><div class="head"><span class="name">{to_xml(rate.name)}</span>'
            f'<span><span class="value">{to_xml(value)}</span>{_spread(spread)}</span></div>{svg}</div>'
        )
    return "".join(parts) + "</div>"


def _plot(plot: Plot) -> str:
    names = "".join(
        f'<li><i class="s{index % SERIES_COLOURS}"></i>{to_xml(series.name)}</li>'
        for index, series in enumerate(plot.series)
    )
    legend = f'<ul class="legend">{names}</ul>' if names else ""
    return (
        f'<figure class="plot"><h3>{to_xml(plot.title)}</h3>'
        f"{legend}<small>{to_xml(plot.y)}</small>{plot_svg(plot)}</figure>"
    )


def _pill(status: str) -> str:
    return f'<span class="pill {_CLASSES[status]}">{status}</span>'


def _spread(text: str) -> str:
    return f' <span class="spread">({to_xml(text)})</span>' if text else ""


# The machine


def _environment(document: Document) -> str:
    found = document.environment
    revision = (
        f"{found.revision}{', with changes' if found.is_dirty else ''}" if found.revision else "not known"
    )
    facts = {
        "started": document.started,
        "scale": document.scale,
        "processor": f"{found.cpu}, {found.cores} cores",
        "memory": f"{found.memory_bytes / 2**30:.1f} GiB",
        "kernel": found.kernel,
        "Python": found.python,
        "libraries": ", ".join(f"{name} {version}" for name, version in found.versions.items()),
        "revision": revision,
    }
    rows = "".join(f"<dt>{name}</dt><dd>{to_xml(value)}</dd>" for name, value in facts.items())
    return f"<section><header><h2>What it was measured on</h2></header><dl>{rows}</dl></section>"
