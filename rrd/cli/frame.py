"""One page of ``rrd top``, as lines of text. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rrd.cli.amounts import show_bytes, show_count, show_duration, show_ms

_TENANTS_MAX = 5
_STAGES = {"commit": "commit", "sync": "sync", "ack_age": "ack", "loop_lag": "loop"}
_RECORDING = ("RECORDING", "TENANT", "EVENTS/S", "STORED/S", "WAITING", "SENDERS")
_TENANT_CHARS = (16, 24)
_WIDE, _NARROW_COLUMNS = 100, 4
"""From so many characters on there is room for all columns of a recording, else for so many."""

Told = Mapping[str, Any]


def frame(status: Told, before: Told, look: Told, *, columns: int, lines: int) -> list[str]:
    """Return a page of at most ``lines`` lines of at most ``columns`` characters.

    ``status``: of ``/status``. ``before`` and ``look``: two answers of ``/top``; rates are what was between
    them. Whatever an older daemon leaves out counts as 0.
    """
    tenant_chars = _TENANT_CHARS[columns >= _WIDE]
    page = [_head(status, look), *_troubles(status), "", *_figures(before, look), ""]
    tenants = look.get("tenants", [])[:_TENANTS_MAX]
    if len(tenants) > 1:
        rows = [
            (_cut(each["name"], tenant_chars), show_count(each["recordings"]), *_rates(each))
            for each in tenants
        ]
        page += [*_table(("TENANT", "OPEN", "EVENTS/S", "STORED/S"), rows), ""]
    recordings = look.get("recordings", [])[: max(0, lines - len(page) - 1)]
    if recordings:
        shown = len(_RECORDING) if columns >= _WIDE else _NARROW_COLUMNS
        busy = [
            (
                each["id"],
                _cut(each["tenant"], tenant_chars),
                *_rates(each),
                show_bytes(each["waiting_bytes"]),
                str(each["sources"]),
            )
            for each in recordings
        ]
        page += _table(_RECORDING[:shown], [row[:shown] for row in busy])
    else:
        page.append("no recording is written to" if look.get("over_s") else "…")
    return [line[:columns].rstrip() for line in page[:lines]]


def _head(status: Told, look: Told) -> str:
    state = {"not_ready": "NOT READY", "starting": "STARTING", "stopping": "STOPPING"}.get(
        status.get("state", ""), status.get("state", "?")
    )
    version, pid = status.get("version", "?"), status.get("pid", "?")
    up = show_duration(max(0, look.get("at_ms", 0) - status.get("started_ms", 0)) / 1000)
    return f"rrd {version}  {state}  process {pid}  up {up}   q quits"


def _troubles(status: Told) -> list[str]:
    """Return a line on what hurts; ``rrd status`` has the rest."""
    found = [each for each in status.get("troubles", []) if each.get("level") != "note"]
    if not found:
        return ["all is well"]
    more = f" (and {len(found) - 1} more: rrd status)" if len(found) > 1 else " (rrd status says what to do)"
    return [f"{found[0].get('level', '?').upper()}: {found[0].get('code', '?')}{more}"]


def _figures(before: Told, look: Told) -> list[str]:
    now, places, budgets = look.get("now", {}), look.get("places", {}), look.get("budgets", {})
    passed_s = (look.get("at_ms", 0) - before.get("at_ms", 0)) / 1000 if before else 0.0
    counted, earlier = look.get("counted", {}), before.get("counted", {})

    def per_s(name: str) -> float:
        return max(0.0, counted.get(name, 0) - earlier.get(name, 0)) / passed_s if passed_s > 0 else 0.0

    def used(of: Told, name: str) -> float:
        return float(of.get(name, {}).get("used", 0))

    latencies = [
        f"{name} {show_ms(found.get('median_ms', 0))}/{show_ms(found.get('p99_ms', 0))}"
        for stage, name in _STAGES.items()
        if (found := look.get("latencies", {}).get(stage))
    ]
    places_used = [f"{show_count(used(places, name))} {name}" for name in ("sockets", "requests", "watchers")]
    segments, size = now.get("backlog_segments", 0), now.get("backlog_bytes", 0)
    return [
        f"events  {show_count(per_s('events')):>9}/s  received {show_bytes(per_s('received_bytes')):>9}/s"
        f"  stored {show_bytes(per_s('stored_bytes')):>9}/s  acks {show_count(per_s('blocks'))}/s",
        f"refused {show_count(per_s('refused')):>9}/s  repeated {show_count(per_s('repeated')):>9}/s"
        f"  quarantined {show_count(per_s('quarantined'))}/s",
        f"open    {show_count(used(places, 'recordings')):>9} recordings  {'  '.join(places_used)}",
        f"waiting {show_bytes(used(budgets, 'held')):>9} being sent  {show_bytes(used(budgets, 'buffer'))}"
        f" to be stored  {show_count(segments)} segments, {show_bytes(size)}",
        f"disk    {show_bytes(now.get('disk_free_bytes', 0)):>9} free"
        f"  memory {show_bytes(now.get('memory_bytes', 0))}  kept {show_bytes(now.get('kept_bytes', 0))}",
        "median/99 %  " + ("  ".join(latencies) or "nothing was stored lately"),
    ]


def _cut(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else f"{text[: chars_max - 1]}…"


def _rates(each: Mapping[str, float]) -> tuple[str, str]:
    return show_count(each["events_per_s"]), f"{show_bytes(each['bytes_per_s'])}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return aligned lines: names to the left, figures to the right."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    names = {"RECORDING", "TENANT"}
    return [
        "  ".join(
            cell.ljust(width) if name in names else cell.rjust(width)
            for name, cell, width in zip(head, line, widths, strict=True)
        )
        for line in lines
    ]
