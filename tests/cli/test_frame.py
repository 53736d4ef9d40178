"""A page of ``rrd top``: it fits any terminal, shows what is busiest, and takes an answer with holes."""

from __future__ import annotations

from typing import Any

import pytest

from rrd.cli.frame import frame

STATUS = {
    "version": "1.2.3", "pid": 42, "state": "ready", "started_ms": 0,
    "troubles": [{"code": "quarantined", "level": "note"}],
}  # fmt: skip


def look(at_ms: int, events: int) -> dict[str, Any]:
    return {
        "at_ms": at_ms,
        "now": {"disk_free_bytes": 5 << 30, "memory_bytes": 100 << 20, "backlog_segments": 3},
        "places": {"recordings": {"used": 7, "limit": 10}, "sockets": {"used": 12_345, "limit": 15_000}},
        "budgets": {"buffer": {"used": 1 << 20, "limit": 2 << 20}},
        "counted": {"events": events, "received_bytes": events * 100, "refused": 0},
        "latencies": {"commit": {"median_ms": 2.5, "p99_ms": 40}},
        "tenants": [
            {"name": name, "recordings": 60, "events_per_s": 5.0, "bytes_per_s": 1e6}
            for name in ("acme", "x" * 63)
        ],
        "recordings": [
            {
                "id": f"{number:036d}", "tenant": "x" * 63, "events_per_s": 1e6, "bytes_per_s": 1e9,
                "waiting_bytes": 1 << 40, "sources": 3,
            }
            for number in range(50)
        ],
    }  # fmt: skip


@pytest.mark.parametrize("columns", [1, 20, 80, 99, 100, 250])
@pytest.mark.parametrize("lines", [1, 5, 12, 24, 100])
def test_a_page_fits_its_terminal(columns: int, lines: int) -> None:
    page = frame(STATUS, look(1_000, 5), look(2_000, 10), columns=columns, lines=lines)
    assert len(page) <= lines
    assert max(map(len, page)) <= columns


def test_rates_are_what_was_between_two_looks() -> None:
    text = "\n".join(frame(STATUS, look(1_000, 500), look(3_000, 2_500), columns=120, lines=40))
    assert text.startswith("rrd 1.2.3  ready  process 42")
    assert "all is well" in text
    for part in (
        "1,000/s",
        "97.7 KiB/s",
        "7 recordings",
        "12,345 sockets",
        "1.0 MiB to be stored",
        "commit 2.5 ms/40 ms",
    ):
        assert part in text
    assert "WAITING" in text and "TENANT" in text


def test_what_hurts_is_told_in_a_line() -> None:
    troubles = [{"code": "disk_full", "level": "bad"}, {"code": "held", "level": "warning"}]
    page = frame({**STATUS, "troubles": troubles, "state": "not_ready"}, {}, look(1, 1), columns=80, lines=24)
    assert "NOT READY" in page[0]
    assert page[1] == "BAD: disk_full (and 1 more: rrd status)"


def test_an_answer_with_holes_is_shown_all_the_same() -> None:
    """An older daemon, before a restart, knows less."""
    page = frame({}, {}, {}, columns=80, lines=24)
    assert page[0].startswith("rrd ?")
    assert page[-1] == "…"
    assert frame({}, {}, {"over_s": 1.0}, columns=80, lines=24)[-1] == "no recording is written to"
