"""The alerts, by promtool: each fires on what it is for, and none on a good day."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.harness import ROOT

pytestmark = pytest.mark.table

RULES = ROOT / "config" / "prometheus" / "rrd.rules.yml"

NEEDS_PROMTOOL = pytest.mark.skipif(
    shutil.which("promtool") is None and os.environ.get("TESTS_REQUIRE_TOOLS") != "1",
    reason="promtool is not installed (Debian: prometheus)",
)

MINUTES = 26 * 60
"""How long each story goes on, with a value a minute: the longest look back is a day and an hour. Rules are
looked at every ten minutes, which is enough for what goes on for hours."""

GOOD_DAY = {
    'up{job="rrd"}': "1x{n}",
    'process_start_time_seconds{job="rrd"}': "1000x{n}",
    "rrd_ready": "1x{n}",
    'rrd_failed_blocks_total{reason="storage_failed"}': "0x{n}",
    "rrd_running_commit_seconds": "0.01x{n}",
    'rrd_ack_age_seconds_bucket{le="1.5"}': "0+100x{n}",
    'rrd_ack_age_seconds_bucket{le="60"}': "0+100x{n}",
    'rrd_ack_age_seconds_bucket{le="+Inf"}': "0+100x{n}",
    'rrd_sync_seconds_bucket{le="0.01"}': "0+100x{n}",
    'rrd_sync_seconds_bucket{le="60"}': "0+100x{n}",
    'rrd_sync_seconds_bucket{le="+Inf"}': "0+100x{n}",
    'rrd_loop_lag_seconds_bucket{le="0.01"}': "0+100x{n}",
    'rrd_loop_lag_seconds_bucket{le="60"}': "0+100x{n}",
    'rrd_loop_lag_seconds_bucket{le="+Inf"}': "0+100x{n}",
    'rrd_refusals_total{code="bad_request"}': "0+60x{n}",
    'rrd_refusals_total{code="unauthenticated"}': "0+6x{n}",
    'rrd_refusals_total{code="too_many_sockets"}': "0x{n}",
    'rrd_refusals_total{code="over_sockets_address_max"}': "0x{n}",
    'rrd_quarantined_lines_total{reason="not_json"}': "0+1x{n}",
    "rrd_decoded_lines_total": "0+1000x{n}",
    "rrd_stored_events_total": "0+1000x{n}",
    # It fills by a megabyte a minute, for months to come.
    "rrd_free_disk_bytes": "1000000000000-1000000x{n}",
    "rrd_disk_reserve_bytes": "1073741824x{n}",
    'rrd_budget_used_bytes{budget="held_bytes"}': "10x{n}",
    'rrd_budget_limit_bytes{budget="held_bytes"}': "100x{n}",
    'rrd_places_used{place="sockets"}': "10x{n}",
    'rrd_places_limit{place="sockets"}': "100x{n}",
    "rrd_paused_connections": "0x{n}",
    "rrd_object_store_away": "0x{n}",
    "rrd_backlog_age_seconds": "300x{n}",
    "rrd_set_aside_recordings": "0x{n}",
    'rrd_logged_problems_total{level="error"}': "0x{n}",
    'rrd_logged_problems_total{level="warning"}': "0+1x{n}",
    "rrd_measured_age_seconds": "10x{n}",
}
"""Series and their values, in promtool's notation."""

FIRES: dict[str, dict[str, str]] = {
    "RrdDown": {'up{job="rrd"}': "0x{n}"},
    "RrdRestarts": {'process_start_time_seconds{job="rrd"}': "1000+600x{n}"},
    "RrdNotReady": {"rrd_ready": "0x{n}"},
    "RrdBlocksFail": {'rrd_failed_blocks_total{reason="storage_failed"}': "0+1x{n}"},
    "RrdCommitStalls": {"rrd_running_commit_seconds": "0+60x{n}"},
    "RrdAcksLate": {'rrd_ack_age_seconds_bucket{le="1.5"}': "0+90x{n}"},
    "RrdSyncsSlow": {'rrd_sync_seconds_bucket{le="0.01"}': "0+90x{n}"},
    "RrdLoopLags": {'rrd_loop_lag_seconds_bucket{le="0.01"}': "0+90x{n}"},
    "RrdRefusesForWantOfRoom": {'rrd_refusals_total{code="too_many_sockets"}': "0+10x{n}"},
    "RrdQuotaUsedUp": {'rrd_refusals_total{code="over_sockets_address_max"}': "0+10x{n}"},
    "RrdKeysRefused": {'rrd_refusals_total{code="unauthenticated"}': "0+100x{n}"},
    "RrdQuarantineGrows": {'rrd_quarantined_lines_total{reason="not_json"}': "0+30x{n}"},
    "RrdVisitorsGone": {"rrd_stored_events_total": "0+1000x1440 1440000x{n}"},
    "RrdDiskFull": {"rrd_free_disk_bytes": "1000000000x{n}"},
    "RrdDiskFillsUp": {"rrd_free_disk_bytes": "200000000000-100000000x{n}"},
    "RrdBudgetTight": {'rrd_budget_used_bytes{budget="held_bytes"}': "95x{n}"},
    "RrdPlacesTight": {'rrd_places_used{place="sockets"}': "95x{n}"},
    "RrdSendersWait": {"rrd_paused_connections": "3x{n}"},
    "RrdObjectStoreAway": {"rrd_object_store_away": "1x{n}"},
    "RrdBacklogOld": {"rrd_backlog_age_seconds": "0+60x{n}"},
    "RrdRollUpsFail": {"rrd_set_aside_recordings": "1x{n}"},
    "RrdErrorsLogged": {'rrd_logged_problems_total{level="error"}': "0+1x{n}"},
    "RrdFiguresOld": {"rrd_measured_age_seconds": "0+60x{n}"},
}
"""Alert → what is otherwise than on a good day."""


def alerts() -> list[str]:
    return re.findall(r"- alert: (\w+)", RULES.read_text())


def story(changes: dict[str, str], directory: Path) -> set[str]:
    """Return the alerts that fire within a day on which ``changes`` is otherwise than usual."""
    series = GOOD_DAY | changes
    assert series.keys() == GOOD_DAY.keys(), "it changes what is there on a good day"
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "10m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": name, "values": values.format(n=MINUTES)} for name, values in series.items()
                ],
                "promql_expr_test": [
                    {
                        "expr": "count by (alertname) (ALERTS{alertstate='firing'})",
                        "eval_time": f"{MINUTES}m",
                        "exp_samples": [],
                    }
                ],
            }
        ],
    }
    path = directory / "story.yml"
    path.write_text(json.dumps(test))  # JSON is YAML.
    told = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True, check=False)
    found = re.findall(r'alertname="(\w+)"', told.stdout + told.stderr)
    assert told.returncode == (1 if found else 0), told.stdout + told.stderr
    return set(found)


def test_each_alert_has_a_story() -> None:
    assert [*FIRES] == alerts()


@NEEDS_PROMTOOL
def test_rules_are_well_formed() -> None:
    subprocess.run(["promtool", "check", "rules", RULES], check=True, capture_output=True)


@NEEDS_PROMTOOL
def test_nothing_fires_on_a_good_day(tmp_path: Path) -> None:
    assert story({}, tmp_path) == set()


@NEEDS_PROMTOOL
@pytest.mark.parametrize("alert", FIRES)
def test_an_alert_fires_alone_on_what_it_is_for(alert: str, tmp_path: Path) -> None:
    assert story(FIRES[alert], tmp_path) == {alert}


def test_each_alert_says_what_to_do() -> None:
    page = (ROOT / "docs" / "alerts.md").read_text()
    rules = RULES.read_text()
    for alert in alerts():
        assert f"\n### {alert}\n" in page
        assert f"runbook: docs/alerts.md#{alert.lower()}\n" in rules
