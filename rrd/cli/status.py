"""``rrd status``: how the running daemon is, what hurts, and what to do about it."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from rrd import __version__
from rrd.cli import common
from rrd.cli.amounts import show_bytes, show_count, show_duration, show_ms
from rrd.cli.asking import NoAnswer, ask
from rrd.errors import RrdError

EXIT_CODES = {"well": 0, "note": 0, "warning": 1, "bad": 2}
NO_ANSWER = 3

_WIDTH = 100
_COLOURS = {"bad": "31", "warning": "33", "well": "32"}
_STAGES = {
    "gathering": "gathering", "sync": "sync", "commit": "commit", "ack_age": "first event to ack",
    "loop_lag": "loop lag",
}  # fmt: skip

_BUDGETS = {
    "held": "being sent", "buffer": "to be stored", "read": "answers",
    "object_cache": "cached objects",
}  # fmt: skip
_PLACES = ("sockets", "requests", "watchers", "recordings")

Told = Mapping[str, Any]
"""What the daemon answers. It may be of another version: whatever is missing counts as not known."""


def register(commands: common.Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "status",
        help="tell how the running daemon is, what hurts, and what to do",
        description="Asks the running daemon over the control socket in its data directory: as rrd's user, or"
        " as root.",
        epilog="Exit codes, as monitoring plugins have them: 0 well · 1 something hurts (a warning) · 2 bad:"
        " events are refused or lost, or it is not ready · 3 no daemon answers, and stderr says why.",
    )
    parser.add_argument("--json", action="store_true", help="print all of it, as one JSON object")
    common.runs(parser, _status)


def _status(args: argparse.Namespace) -> int:
    try:
        told = ask(common.settings(args), "/status")
    except NoAnswer as error:
        return _fail(args, str(error))
    except RrdError as error:  # Settings that can't be read: so it isn't known whom to ask.
        return _fail(args, f"{error}. So it isn't known which daemon to ask; one that runs goes on as before")
    if args.json:
        print(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
    else:
        for line in as_text(told, colours=sys.stdout.isatty()):
            print(line)
    return EXIT_CODES.get(told.get("worst", ""), 2)


def _fail(args: argparse.Namespace, text: str) -> int:
    if args.json:
        print(orjson.dumps({"state": "no_answer", "reason": text, "worst": "unknown"}).decode())
    print(f"rrd: {text}{'' if text.endswith('.') else '.'}", file=sys.stderr)
    return NO_ANSWER


def as_text(told: Told, *, colours: bool = False) -> Iterator[str]:
    """Yield the lines that people read."""
    worst, version = told.get("worst", "bad"), told.get("version", "?")
    state = {"not_ready": "not ready"}.get(told.get("state", "?"), told.get("state", "?"))
    so = {"well": ", and well", "note": ", and well", "warning": "; something hurts", "bad": "; it is bad"}
    yield _painted(f"rrd {version} is {state}{so.get(worst, '')}", worst, colours=colours)
    yield ""
    for name, value in rows(told):
        for number, line in enumerate(textwrap.wrap(value, _WIDTH - 14, break_on_hyphens=False) or [""]):
            yield f"  {'' if number else name:<11} {line}".rstrip()
    for trouble in told.get("troubles", []):
        yield ""
        yield from _of_trouble(trouble, colours=colours)
    if version != __version__:
        yield ""
        yield f"note: this command is {__version__}, and the daemon is {version}: it waits for a restart"


def rows(told: Told) -> Iterator[tuple[str, str]]:
    """Yield what is told, as pairs of a name and a text."""
    now, rates, hour = told.get("now", {}), told.get("rates", {}), told.get("hour", {})
    yield (
        "process",
        f"{told.get('pid', '?')}, up {show_duration(told.get('uptime_s', 0))}, since"
        f" {common.show_time(told.get('started_ms'))}",
    )
    yield "listens on", _listens(told)
    yield "data", told.get("data_dir", "?")
    store = told.get("store", {})
    yield "objects", f"{store.get('name', '?')}: {'it answers' if store.get('answers') else 'NO ANSWER'}"
    yield (
        "events",
        f"{show_count(rates.get('events_per_s', 0))}/s, {show_bytes(rates.get('received_bytes_per_s', 0))}/s"
        f" received, {show_bytes(rates.get('stored_bytes_per_s', 0))}/s stored,"
        f" {show_count(rates.get('blocks_per_s', 0))} acks/s",
    )
    if latencies := told.get("latencies", {}):
        yield "latency", "; ".join(_latencies(latencies))
    yield "open", ", ".join(_open(told))
    since = f", the oldest for {show_duration(age_s)}" if (age_s := now.get("backlog_age_s", 0)) else ""
    yield (
        "roll-up",
        f"{show_count(now.get('backlog_segments', 0))} segments wait,"
        f" {show_bytes(now.get('backlog_bytes', 0))}{since}",
    )
    yield (
        "disk",
        f"{show_bytes(now.get('disk_free_bytes', 0))} free, reserve"
        f" {show_bytes(now.get('disk_reserve_bytes', 0))}",
    )
    yield "memory", "; ".join(_memory(told))
    yield (
        "last hour",
        ", ".join(
            f"{show_count(hour.get(name, 0))} {name}"
            for name in ("events", "repeated", "quarantined", "refused", "errors")
        ),
    )


def _listens(told: Told) -> str:
    places = ", ".join(told.get("listens", [])) or "nothing yet"
    if metrics := told.get("metrics_listen"):
        places += f"; metrics at {metrics}"
    return f"{places}; the console is {'on' if told.get('console') else 'off'}"


def _latencies(latencies: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    for stage, name in _STAGES.items():
        if found := latencies.get(stage):
            yield f"{name} {show_ms(found.get('median_ms', 0))} (99 %: {show_ms(found.get('p99_ms', 0))})"


def _open(told: Told) -> Iterator[str]:
    for name, share in told.get("places", {}).items():
        if name in _PLACES:
            yield f"{show_count(share.get('used', 0))} {name} of {show_count(share.get('limit', 0))}"


def _memory(told: Told) -> Iterator[str]:
    whole = told.get("budgets", {}).get("memory", {}).get("limit", 0)
    size = show_bytes(told.get("now", {}).get("memory_bytes", 0))
    yield f"{size} of {show_bytes(whole)}" if whole else size
    for name, text in _BUDGETS.items():
        if share := told.get("budgets", {}).get(name):
            yield f"{text} {show_bytes(share.get('used', 0))} of {show_bytes(share.get('limit', 0))}"


def _of_trouble(trouble: Mapping[str, str], *, colours: bool) -> Iterator[str]:
    level = trouble.get("level", "bad")
    head = f"{level}: {trouble.get('code', '?')}: "
    lines = textwrap.wrap(
        head + trouble.get("text", ""), _WIDTH, subsequent_indent="  ", break_on_hyphens=False
    )
    yield _painted(lines[0], level, colours=colours)
    yield from lines[1:]
    yield from textwrap.wrap(
        f"next: {trouble.get('next_step', '')}", _WIDTH, initial_indent="  ", subsequent_indent="    ",
        break_on_hyphens=False,
    )  # fmt: skip


def _painted(text: str, level: str, *, colours: bool) -> str:
    colour = _COLOURS.get(level)
    return f"\033[{colour}m{text}\033[0m" if colours and colour else text
