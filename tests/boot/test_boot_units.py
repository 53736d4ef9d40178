"""rrd under a real systemd, in the sandbox of its units: start, reload, restart, watchdog, backup, stop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.boot.machine import Machine, machine, told_by

__all__ = ["machine"]

pytestmark = pytest.mark.slow

QUICK = (
    "Environment=RRD_FLUSH_AGE_MS=20 RRD_SEAL_CLOSED_S=0 RRD_SEAL_IDLE_S=1 RRD_ROLLUP_DELAY_S=0"
    " RRD_DISK_RESERVE_BYTES=0"
)


@contextlib.contextmanager
def served(machine: Machine, *lines: str) -> Iterator[None]:
    """Start rrd and its socket, its unit changed by ``lines``; stop both in the end."""
    with machine.unit(QUICK, *lines):
        machine.run("systemctl", "start", "rrd.socket", "rrd.service")
        try:
            yield
        finally:
            machine.run("systemctl", "stop", "rrd.socket", "rrd.service")
            machine.run("systemctl", "reset-failed")


SEND_AND_READ = """
    import json, sys, time, urllib.request
    key, recording = sys.argv[1:]
    url = f"http://127.0.0.1:8787/recordings/{recording}"
    head = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
    lines = [json.dumps({"type": 3, "timestamp": number, "data": {"n": number}}) for number in range(500)]
    lines.append('{"type":5,"timestamp":999,"data":{"tag":"close-permanent","payload":{}}}')
    def ask(path, data=None):
        request = urllib.request.Request(f"{url}{path}", data=data, headers=head)
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read())
    end = time.monotonic() + 30
    while True:
        try:
            stored = ask("/ingest", "\\n".join(lines).encode())
            break
        except urllib.error.HTTPError as error:  # The key is seconds old, and not known yet.
            assert error.code == 401 and time.monotonic() < end, error
            time.sleep(0.05)
    print(json.dumps({"stored": stored["successful_rows"], "read": len(ask("/events"))}))
"""


def test_it_takes_events_and_rolls_them_up_inside_its_sandbox(machine: Machine) -> None:
    with served(machine, "Environment=RRD_METRICS_LISTEN=unix:/run/rrd/metrics.sock"):
        with machine.client(SEND_AND_READ, machine.key(), "00000000-0000-4000-8000-000000000001") as client:
            sent = told_by(client)
        assert sent == {"stored": 501, "read": 501}
        rolled = "until find /var/lib/rrd/objects | grep zst; do sleep 0.1; done"
        assert ".zst" in machine.run("timeout", "60", "sh", "-c", rolled)
        status = machine.run("cat", f"/proc/{machine.show('rrd', 'MainPID')}/status")
        for line in (
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
            "CapBnd:\t0000000000000000",
            "CapEff:\t0000000000000000",
        ):
            assert line in status
        assert machine.show("rrd", "StatusText").startswith("ready: ")
        assert "recordings" in machine.run("rrd", "status")
        assert machine.run("stat", "-c%F %U", "/run/rrd/metrics.sock") == "socket rrd\n"
        journal = machine.journal()
        assert "rolled_up" in journal
        for word in (" ERROR", "Traceback", "not permitted", "denied", "failed"):
            assert word not in journal, journal
        machine.run("systemd-analyze", "security", "rrd.service", "--threshold=12")
    assert machine.show("rrd", "Result") == "success"


def test_restarts_under_load_refuse_no_connection_and_lose_nothing(machine: Machine) -> None:
    with served(machine):
        key = machine.key()
        machine.run("systemctl", "restart", "rrd")  # Which knows the key from its start.
        with machine.load(key) as more_acked:
            for action in (["restart"], ["reload"], ["kill", "--signal=KILL"], ["restart"]):
                before = machine.show("rrd", "MainPID")
                more_acked()
                machine.run("systemctl", *action, "rrd.service")
                if "kill" in action:
                    gone = f"while [ -e /proc/{before} ]; do sleep 0.1; done"
                    machine.run("timeout", "60", "sh", "-c", gone)
                machine.wait_for("rrd.service", "active")
                assert (machine.show("rrd", "MainPID") == before) == (action == ["reload"])
            more_acked()


def test_a_daemon_that_hangs_is_ended_and_started_again(machine: Machine) -> None:
    with served(machine, "WatchdogSec=2", "TimeoutAbortSec=1"):
        pid = machine.show("rrd", "MainPID")
        machine.run("systemctl", "kill", "--signal=STOP", "rrd.service")
        machine.run("timeout", "60", "sh", "-c", f"while [ -e /proc/{pid} ]; do sleep 0.1; done")
        machine.wait_for("rrd.service", "active")
        assert machine.show("rrd", "MainPID") != pid
        assert "Watchdog timeout" in machine.run("journalctl", "--unit=rrd.service", "--output=cat")


def test_backups_run_beside_it_and_old_ones_go(machine: Machine) -> None:
    found = ("sh", "-c", "cd /var/lib/rrd-backups && ls */manifest.json && stat -c %a%U .")
    with served(machine):
        for count in (1, 2):
            machine.run("systemctl", "start", "rrd-backup.service")
            assert machine.run(*found).count("manifest.json") == count
        keep_one = "ExecStart=\nExecStart=/usr/bin/rrd backup --keep 1 /var/lib/rrd-backups"
        with machine.unit(keep_one, name="rrd-backup.service"):
            machine.run("systemctl", "start", "rrd-backup.service")
        left = machine.run(*found)
        assert left.count("manifest.json") == 1 and left.endswith("700rrd\n")
        assert "removed (--keep 1)" in machine.journal("rrd-backup.service")
    assert machine.show("rrd-backup.service", "Result") == "success"
    machine.run("systemctl", "start", "rrd-backup.timer")
    assert machine.show("rrd-backup.timer", "NextElapseUSecRealtime")
    machine.run("systemctl", "stop", "rrd-backup.timer")


S3 = (
    "Environment=RRD_OBJECT_STORE=s3 RRD_S3_BUCKET=b RRD_S3_ENDPOINT=http://127.0.0.1:9"
    " RRD_DATA_DIR=/var/lib/rrd/s3"
)
CREDENTIAL = "Environment=RRD_S3_CREDENTIALS_FILE=credential:s3"


def test_a_credential_is_readable_for_the_service_though_its_file_is_roots(machine: Machine) -> None:
    secret = "[default]\\naws_access_key_id = me\\naws_secret_access_key = hush\\n"
    machine.run("sh", "-c", f"umask 077; printf '{secret}' > /run/s3-secret")
    with served(machine, S3, CREDENTIAL, "LoadCredential=s3:/run/s3-secret"):
        assert "object_store_away" in machine.journal()
        # What root types beside it finds the same file.
        assert "hush" in machine.run("cat", "/run/credentials/rrd.service/s3")
        # A backup copies nothing from the bucket, and needs no secret and no network.
        with machine.unit(S3, CREDENTIAL, name="rrd-backup.service"):
            machine.run("systemctl", "start", "rrd-backup.service")
    with machine.unit(S3, CREDENTIAL, "Restart=no"):
        machine.run("systemctl", "start", "rrd.service", check=False)
        assert "LoadCredential=s3:" in machine.journal()
        machine.run("systemctl", "reset-failed")


@pytest.mark.parametrize(
    ("place", "told"), [("/srv/rrd", "ReadWritePaths=/srv/rrd "), ("/home/rrd/data", "ProtectHome=yes")]
)
def test_what_the_sandbox_forbids_is_told_with_the_next_step(machine: Machine, place: str, told: str) -> None:
    machine.run("sh", "-c", f"mkdir -p {place} && chown -R rrd: {place}")
    with machine.unit(f"Environment=RRD_DATA_DIR={place}", "Restart=no"):
        machine.run("systemctl", "start", "rrd.service", check=False)
        assert told in machine.journal()
        machine.run("systemctl", "reset-failed")
    with machine.unit(f"Environment=RRD_DATA_DIR={place}", f"ReadWritePaths={place}", "ProtectHome=no"):
        machine.run("systemctl", "start", "rrd.service")
        machine.run("systemctl", "stop", "rrd.service")
