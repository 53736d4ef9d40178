"""``rrd setup`` from nothing, again, cut off anywhere, and where something stands in its way."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tomllib
import urllib.request
from pathlib import Path

import pytest

from rrd import layout
from rrd.access.keys import KeyStore, key_hash
from rrd.setup.first_keys import LABELS
from rrd.setup.trial import TRIAL_LABEL
from rrd.startup.recovery import is_held
from tests.client.client_lab import wait_for
from tests.harness import DaemonProcess
from tests.setup.setup_lab import (
    NAME,
    ORIGIN,
    PUBLIC,
    TIMEOUT_S,
    Tried,
    public_and_private,
    steps_of,
)

WORKS = [
    "a daemon starts, and runs for the trial alone",
    "an event was stored, read back, and erased again",
]


@pytest.fixture
def tried(tmp_path: Path) -> Tried:
    return Tried(tmp_path)


def test_from_nothing_to_a_first_event_and_a_second_time_nothing_changes(tried: Tried) -> None:
    first = tried.run("--name", NAME, "--origin", ORIGIN)
    assert (first.returncode, first.stderr) == (0, "")
    assert steps_of(first.stdout, "works") == WORKS
    assert steps_of(first.stdout, "note") == []
    settings = tried.config.read_text()
    assert {"public_url": f"https://{NAME}", "console": True}.items() <= tomllib.loads(settings).items()
    keys = tried.live_keys()
    assert {row.label: row.origins for row in keys} == {LABELS["ingest"]: (ORIGIN,), LABELS["read"]: ()}
    assert [len(found) for found in public_and_private(first.stdout)] == [1, 1]

    second = tried.run("--name", NAME, "--origin", ORIGIN)
    assert (second.returncode, second.stderr) == (0, "")
    assert steps_of(second.stdout, "done") == []
    assert "nothing has changed" in second.stdout
    assert steps_of(second.stdout, "works") == WORKS
    assert tried.config.read_text() == settings
    assert tried.live_keys() == keys
    assert public_and_private(second.stdout) == (set(), set())
    assert all(f"rrd keys rotate {row.id}" in second.stdout for row in keys)


def test_what_is_printed_works(tried: Tried) -> None:
    printed = tried.run("--origin", ORIGIN).stdout
    snippet = re.search(r"<script[^>]*>(.*)</script>", printed, re.DOTALL)
    assert snippet is not None
    (public,), _ = public_and_private(printed)
    assert json.loads(snippet[1]) == {"publicApiKey": public, "checkoutEveryNms": 300_000}
    served = re.search(r"Run it:\n\n  rrd (serve .*)\n", printed)
    assert served is not None
    with DaemonProcess(tried.directory) as daemon:
        lines = re.findall(r"^  (curl .*?[^\\])$", printed, re.MULTILINE | re.DOTALL)
        told = [
            subprocess.run(
                ["sh", "-c", line.replace(f":{tried.port}/", f":{daemon.port}/").replace("curl", "curl -s")],
                capture_output=True, text=True, timeout=TIMEOUT_S, check=True,
            ).stdout
            for line in lines
        ]  # fmt: skip
    stored, events, listed = map(json.loads, told)
    assert stored["successful_rows"] == 1
    assert [each["data"]["tag"] for each in events] == ["hello"]
    # The trial's own recording is gone.
    assert len(listed["recordings"]) == 1


def test_it_leaves_no_trace_of_the_trial(tried: Tried) -> None:
    assert tried.run().returncode == 0
    assert [row for row in tried.live_keys() if row.label == TRIAL_LABEL] == []
    assert not is_held(str(tried.data_dir))
    refused = tried.data_dir / "refusals.json"
    assert not refused.exists() or json.loads(refused.read_text())["totals"] == []
    with DaemonProcess(tried.directory) as daemon:
        key = daemon.key("read", tenant="default")
        request = urllib.request.Request(
            f"{daemon.url}/statistics", headers={"Authorization": f"Bearer {key}"}
        )

        def counted() -> int | None:
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return int(json.load(answer)["totalRecordings"])
            except urllib.error.HTTPError:
                return None

        assert wait_for(counted, deadline_s=10, what="the key to count") == 0


@pytest.mark.table
@pytest.mark.parametrize("lines", range(1, 8))
def test_cut_off_after_any_step_the_next_run_finishes_it(tried: Tried, lines: int) -> None:
    """By ``kill -9``, once so many lines were printed. A daemon of its own ends with it."""
    command = [*tried.command, "--name", NAME]
    with subprocess.Popen(
        command, env=tried.settings(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        printed = "".join(process.stdout.readline() for _ in range(lines))
        process.send_signal(signal.SIGKILL)
        printed += process.stdout.read()
    data_dir = str(tried.data_dir)
    wait_for(lambda: not is_held(data_dir) or None, deadline_s=20, what="the daemon to end")
    done = tried.run("--name", NAME)
    assert (done.returncode, done.stderr) == (0, "")
    assert steps_of(done.stdout, "works") == WORKS
    assert sorted(row.label for row in tried.live_keys()) == sorted(LABELS.values())
    # A key that is good was shown, by whichever run has made it.
    shown = {key_hash(key) for keys in public_and_private(printed + done.stdout) for key in keys}
    with KeyStore(layout.keys_path(data_dir)) as store:
        good = {digest for digest, row in store.load().keys.items() if row.revoked_ms is None}
    assert {digest for digest in good if digest not in shown} == set()
    assert tomllib.loads(tried.config.read_text())["public_url"] == f"https://{NAME}"


def test_a_port_in_use_is_named_with_what_to_do(
    tried: Tried, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """By another rrd: the trial must not take that one for its own."""
    with DaemonProcess(tmp_path_factory.mktemp("other")) as other:
        done = tried.run(RRD_PORT=str(other.port))
    assert done.returncode == 1
    assert f"another program listens on 127.0.0.1:{other.port}. Stop it" in done.stderr
    again = tried.run()
    assert (again.returncode, steps_of(again.stdout, "works")) == (0, WORKS)
    assert sorted(row.label for row in tried.live_keys()) == sorted(LABELS.values())


def test_a_daemon_that_runs_is_used_and_left_running(tried: Tried) -> None:
    with DaemonProcess(tried.directory) as daemon:
        done = tried.run(RRD_PORT=str(daemon.port))
        assert (done.returncode, done.stderr) == (0, "")
        assert f"a daemon serves {tried.data_dir}" in steps_of(done.stdout, "same")
        assert steps_of(done.stdout, "note") == ["it runs with the settings of before: restart it"]
        assert "Run it:" not in done.stdout
        assert daemon.stop() == 0


def test_an_operators_settings_and_keys_stay(tried: Tried) -> None:
    text = (
        f'# mine\npublic_url = "https://mine.example"\nport = {tried.port}\ndata_dir = "{tried.data_dir}"\n'
    )
    tried.config.write_text(text)
    assert tried.run("--origin", ORIGIN).returncode == 0
    before = tried.live_keys()
    done = tried.run("--name", NAME, "--origin", "https://blog.example")
    assert done.returncode == 0
    assert tried.config.read_text() == f"{text}\n# By rrd setup.\nconsole = true\n"
    note_of_settings, note_of_key = steps_of(done.stdout, "note")
    assert "public_url is set there, and stays" in note_of_settings
    assert note_of_key.endswith(" --add-origin https://blog.example")
    assert tried.live_keys() == before


def test_a_key_that_was_revoked_is_made_anew(tried: Tried) -> None:
    (before,), _ = public_and_private(tried.run().stdout)
    (row,) = [row for row in tried.live_keys() if row.scope == "ingest"]
    subprocess.run(
        [*tried.command[:3], "keys", "revoke", row.id, "--config", str(tried.config)],
        env=tried.settings(), check=True, capture_output=True, timeout=TIMEOUT_S,
    )  # fmt: skip
    done = tried.run()
    (after,) = set(PUBLIC.findall(done.stdout))
    assert after != before
    assert [each.startswith("public key") for each in steps_of(done.stdout, "done")] == [True]


def test_a_user_without_rights_tries_it_in_a_directory(tmp_path: Path) -> None:
    tried = Tried(tmp_path)
    command = [*tried.command[:4], "--data-dir", "here"]
    done = subprocess.run(
        command, cwd=tmp_path, env=tried.settings() | {"RRD_CONFIG": ""},
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here"]
    assert f"rrd serve --data-dir {tmp_path}/here\n" in done.stdout


REFUSED = {
    "a name without a file to keep it in": (["--data-dir", "here", "--name", NAME], {}, 1, "--config FILE"),
    "any port": (["--config", "rrd.toml"], {"RRD_PORT": "0"}, 1, "Set a port"),
    "a bad setting": (["--config", "rrd.toml"], {"RRD_FLUSH_AGE_MS": "1"}, 1, "flush_age_ms"),
    "an origin with a path": (
        ["--data-dir", "here", "--origin", "https://a.example/x"],
        {},
        2,
        "not an origin",
    ),
    "a tenant in capitals": (["--data-dir", "here", "--tenant", "Shop"], {}, 2, "a-z0-9_-"),
}


@pytest.mark.parametrize(("argv", "settings", "code", "said"), REFUSED.values(), ids=REFUSED)
def test_what_can_not_be_is_refused_before_keys_are_made(
    tmp_path: Path, argv: list[str], settings: dict[str, str], code: int, said: str
) -> None:
    tried = Tried(tmp_path)
    done = subprocess.run(
        [*tried.command[:4], *argv], cwd=tmp_path, env=tried.settings() | {"RRD_CONFIG": ""} | settings,
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.rglob("keys.sqlite")) == []


def test_keys_never_go_into_the_journal(tried: Tried, tmp_path: Path) -> None:
    """As ``systemd-run rrd setup``, or a cloud's first boot, would have it (systemd.exec(5))."""
    with (tmp_path / "journal").open("w+") as journal:
        status = os.fstat(journal.fileno())
        done = subprocess.run(
            tried.command, env=tried.settings() | {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"},
            stdin=subprocess.DEVNULL, stdout=journal, stderr=subprocess.PIPE, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        journal.seek(0)
        told = journal.read()
    assert (done.returncode, done.stderr) == (0, b"")
    assert public_and_private(told) == (set(), set())
    assert steps_of(told, "works") == WORKS
    assert "rrd keys create --tenant default --scope ingest" in told
    assert tried.live_keys() == []
