"""The load generator against a daemon: every form is taken, stored and read back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bench.daemon import Daemon, daemon
from bench.load import Outcome, Phase, Plan, Target, WrongUse, run
from bench.load.__main__ import main

SMALL: dict[str, Any] = {"recordings": 3, "rate": 50.0, "for_s": 0.2, "processes": 1}

# A closed loop sends what it can in its time, which a busy machine may take away.
FORMS: dict[str, dict[str, Any]] = {
    "text": {"processes": 2},
    "text, batches": {"batch": 4},
    "binary": {"is_binary": True, "batch": 3},
    "zstd, one stream": {"encoding": "zstd", "stream": "one", "batch": 3},
    "gzip, a stream each": {"encoding": "gzip", "batch": 3},
    "br, a stream each": {"encoding": "br", "batch": 3},
    "br, one stream": {"encoding": "br", "stream": "one"},
    "permessage-deflate": {"deflate": "takeover"},
    "permessage-deflate, no takeover": {"deflate": "no-takeover"},
    "POST, gzip": {"is_post": True, "encoding": "gzip", "batch": 4},
    "POST, closed loop": {"is_post": True, "is_closed": True, "for_s": 2.0, "batch": 20, "window": 2},
    "closed loop": {"is_closed": True, "for_s": 2.0},
    "closed loop, window": {"is_closed": True, "for_s": 2.0, "window": 5, "encoding": "zstd"},
    "all events": {"events": "all", "seed": 1500},
    "bursts": {"thinks": True, "rate": 100.0},
    "ramp": {"ramp_s": 0.2},
}


@pytest.fixture(scope="module")
def server() -> Iterator[Daemon]:
    with daemon({"RRD_FLUSH_AGE_MS": "50"}) as started:
        yield started


@pytest.fixture(scope="module")
def outcomes(server: Daemon) -> dict[str, Outcome]:
    """All forms, some at a time: most of each is the start of processes."""
    with ThreadPoolExecutor(4) as threads:
        started = {
            form: threads.submit(run, Target.of(server), Plan(**SMALL | changes))
            for form, changes in FORMS.items()
        }
        return {form: future.result() for form, future in started.items()}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_taken_and_read_back(form: str, outcomes: dict[str, Outcome]) -> None:
    plan, outcome = Plan(**SMALL | FORMS[form]), outcomes[form]
    assert outcome.problems == []
    assert outcome.is_good
    assert outcome.opened == plan.recordings
    assert outcome.sent == outcome.acked == outcome.latencies.count == sum(outcome.acked_by_second)
    if plan.is_closed:
        assert outcome.sent > 0
    else:
        assert outcome.sent == plan.recordings * plan.events_each
    assert outcome.findings is not None
    assert outcome.findings.stored == outcome.sent
    assert outcome.findings.recordings == plan.recordings
    assert len(outcome.cpu_shares) == plan.processes


def test_phases_come_in_order(server: Daemon) -> None:
    phases: list[Phase] = []
    run(Target.of(server), Plan(**SMALL), on_phase=phases.append)
    assert phases == ["opened", "sending", "sent", "closed", "verified"]


def test_the_command_by_itself(server: Daemon) -> None:
    command = [sys.executable, "-m", "bench.load", "--recordings", "2", "--rate", "20", "--for", "0.2"]
    target = Target.of(server)
    ended = subprocess.run(
        [*command, "--url", target.url, "--key", target.key], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "8 sent, 8 acked, 0 refused" in ended.stdout
    assert "0 lost, 0 doubled, 0 changed, 0 disordered" in ended.stdout
    assert "p99.9" in ended.stdout
    assert ended.stderr == ""
    assert target.key not in ended.stdout


def test_a_wrong_key_is_said_and_not_shown(server: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    url = Target.of(server).url
    for arguments in (["--key", "a-wrong-key"], ["--key", "a-wrong-key", "--post"], ["--kee", "a-wrong-key"]):
        try:
            status = main(["--url", url, *arguments])
        except SystemExit as error:
            status = int(error.code or 0)
        assert status == 2
    printed = capsys.readouterr()
    assert "may not write" in printed.err
    assert "a-wrong-key" not in printed.err + printed.out


def test_a_key_that_may_not_read_can_not_verify(server: Daemon) -> None:
    with pytest.raises(WrongUse, match="may not read"):
        run(Target(Target.of(server).url, server.key, "a-wrong-key"), Plan(**SMALL))


def test_nobody_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", "http://127.0.0.1:1", "--key", "k"]) == 2
    assert "can't be reached" in capsys.readouterr().err


def test_a_plan_that_makes_no_sense_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--key", "k", "--closed", "--think"]) == 2
    assert "--think goes with --rate only" in capsys.readouterr().err
