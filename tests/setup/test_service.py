"""``rrd setup`` as root, for the machine's service: with systemd and without, on a machine of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.proxies.proxy_lab import unavailable
from tests.setup.setup_lab import (
    NAME,
    ServiceMachine,
    any_users_python,
    can_make_machines,
    public_and_private,
    service_machine,
    steps_of,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root sets up a service")

SETTINGS = "/etc/rrd/rrd.toml"

STAND_IN = r"""
#!/bin/sh
# Stands in for systemctl with a unit of rrd's: starts, stops and remembers, as the unit would.
echo "$*" >> "$STATE/calls"
case "$1" in
  cat) test ! "${NO_UNIT:-}" || test -e "/etc/systemd/system/$2" ;;
  is-active) test -e "$STATE/pid" && kill -0 "$(cat "$STATE/pid")" 2> /dev/null ;;
  is-enabled) test -e "$STATE/enabled" ;;
  enable) touch "$STATE/enabled"; start=1 ;;
  restart) kill "$(cat "$STATE/pid")"; tail --pid="$(cat "$STATE/pid")" -f /dev/null; start=1 ;;
esac
result=$?
if [ "${start:-}" ]; then
  setpriv --reuid rrd --regid rrd --clear-groups $RRD serve --config /etc/rrd/rrd.toml > "$STATE/log" 2>&1 &
  echo $! > "$STATE/pid"
fi
exit $result
""".lstrip()


@pytest.fixture
def machine() -> Iterator[ServiceMachine]:
    if not can_make_machines():
        unavailable("no mount namespaces here")
    with service_machine(any_users_python()) as machine:
        yield machine


def test_without_systemd_a_machine_gets_user_settings_directory_keys_and_a_proof(
    machine: ServiceMachine,
) -> None:
    script = f"""
        $RRD setup --name {NAME}
        stat -c '%U %G %a %n' /etc/rrd /etc/rrd/rrd.toml /var/lib/rrd /var/lib/rrd/keys.sqlite
        find /var/lib/rrd -user root
        getent passwd rrd
    """
    done = machine.run(script)
    assert (done.returncode, done.stderr) == (0, "")
    assert "user rrd made" in steps_of(done.stdout, "done")
    assert "an event was stored, read back, and erased again" in steps_of(done.stdout, "works")
    assert "runuser -u rrd -- rrd serve --config /etc/rrd/rrd.toml" in done.stdout
    printed = done.stdout.splitlines()
    seen = printed[printed.index("root root 755 /etc/rrd") :]
    assert seen[:4] == [
        "root root 755 /etc/rrd",
        f"root root 644 {SETTINGS}",
        "rrd rrd 700 /var/lib/rrd",
        "rrd rrd 600 /var/lib/rrd/keys.sqlite",
    ]
    assert len(seen) == 5, "root left files that the service can't write"
    assert seen[4].endswith(":/var/lib/rrd:/usr/sbin/nologin")

    again = machine.run(f"$RRD setup --name {NAME}")
    assert (again.returncode, again.stderr) == (0, "")
    assert steps_of(again.stdout, "done") == []
    assert "nothing has changed" in again.stdout


def test_a_directory_that_root_made_is_given_to_the_service(machine: ServiceMachine) -> None:
    script = """
        mkdir -m 755 /var/lib/rrd
        $RRD keys create --tenant shop --scope read --data-dir /var/lib/rrd > /dev/null
        $RRD setup
        find /var/lib/rrd -user root
        stat -c '%U' /var/lib/rrd
    """
    done = machine.run(script)
    assert (done.returncode, done.stderr) == (0, "")
    assert "data directory /var/lib/rrd given to rrd" in steps_of(done.stdout, "done")
    assert done.stdout.splitlines()[-1] == "rrd"
    assert "/var/lib/rrd/keys.sqlite" not in done.stdout.splitlines()


def test_a_strangers_directory_is_not_taken(machine: ServiceMachine) -> None:
    done = machine.run("install -d -o nobody /var/lib/rrd; $RRD setup || echo refused")
    assert "chown -R rrd: /var/lib/rrd" in done.stderr
    assert "refused" in done.stdout
    assert public_and_private(done.stdout) == (set(), set())


def test_a_directory_of_roots_with_other_things_in_it_is_not_given_away(machine: ServiceMachine) -> None:
    done = machine.run("""
        mkdir /etc/rrd /var/lib/shared
        echo 'data_dir = "/var/lib/shared"' > /etc/rrd/rrd.toml
        touch /var/lib/shared/payroll
        $RRD setup || echo refused
        stat -c '%U %n' /var/lib/shared /var/lib/shared/payroll
    """)
    assert "holds payroll" in done.stderr
    assert done.stdout.splitlines()[-3:] == [
        "refused",
        "root /var/lib/shared",
        "root /var/lib/shared/payroll",
    ]


def test_settings_that_say_the_default_get_the_services_directory(machine: ServiceMachine) -> None:
    """As the repository ships them, which no service can use."""
    done = machine.run(
        f"""mkdir /etc/rrd; echo 'data_dir = "data" # mine' > {SETTINGS}; $RRD setup; cat {SETTINGS}"""
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == 'data_dir = "/var/lib/rrd" # mine'


@pytest.fixture
def with_systemd(machine: ServiceMachine) -> str:
    """Return what gives the machine all that sd_booted(3) looks for, and a stand-in for systemctl."""
    tools = machine.directory / "tools"
    tools.mkdir()
    (tools / "systemctl").write_text(STAND_IN)
    (tools / "systemctl").chmod(0o755)
    return f"""
        mount -t tmpfs run /run
        mkdir -p /run/systemd/system
        export PATH={tools}:$PATH STATE={machine.directory}/lib
        trap 'kill "$(cat "$STATE/pid")"; tail --pid="$(cat "$STATE/pid")" -f /dev/null' EXIT
    """


def test_with_systemd_the_service_is_enabled_and_restarted_only_for_new_settings(
    machine: ServiceMachine, with_systemd: str
) -> None:
    if shutil.which("setpriv") is None:
        unavailable("setpriv isn't installed")
    script = f"""{with_systemd}
        $RRD setup; echo; echo SECOND
        $RRD setup; echo; echo THIRD
        $RRD setup --name {NAME}; echo; echo CALLS
        grep -v -e '^cat' -e '^is-' $STATE/calls
    """
    done = machine.run(script)
    assert (done.returncode, done.stderr) == (0, ""), (machine.directory / "lib/log").read_text()
    first, rest = done.stdout.split("SECOND\n")
    second, rest = rest.split("THIRD\n")
    third, calls = rest.split("CALLS\n")
    assert "rrd.service enabled and started" in steps_of(first, "done")
    assert "Run it:" not in first
    assert steps_of(second, "done") == []
    assert "rrd.service runs, and starts at each boot" in steps_of(second, "same")
    assert "rrd.service restarted, for the changed settings" in steps_of(third, "done")
    assert calls.splitlines() == ["enable --now rrd.service", "restart rrd.service"]
    for printed in (first, second, third):
        assert "an event was stored, read back, and erased again" in steps_of(printed, "works")


def test_an_installation_without_a_package_gets_its_unit(machine: ServiceMachine, with_systemd: str) -> None:
    """As pip makes it: a command beside its interpreter, anywhere."""
    tools = machine.directory / "tools"
    (tools / "python3").symlink_to(machine.python)
    (tools / "rrd").write_text(f'#!/bin/sh\nexec {machine.python} -m rrd "$@"\n')
    (tools / "rrd").chmod(0o755)
    script = f"""{with_systemd}
        export NO_UNIT=1 RRD="{tools}/python3 -m rrd"
        $RRD setup
        grep daemon-reload $STATE/calls
        grep ^ExecStart= /etc/systemd/system/rrd.service
        stat -c '%U %a' /etc/systemd/system/rrd.service
    """
    done = machine.run(script)
    assert (done.returncode, done.stderr) == (0, "")
    assert "/etc/systemd/system/rrd.service made" in steps_of(done.stdout, "done")
    assert "rrd.service enabled and started" in steps_of(done.stdout, "done")
    reload, start, mode = done.stdout.splitlines()[-3:]
    assert (reload, mode) == ("daemon-reload", "root 644")
    assert start == f"ExecStart={tools}/rrd serve --config /etc/rrd/rrd.toml"


def test_a_service_that_fails_to_start_is_told_with_where_to_look(
    machine: ServiceMachine, with_systemd: str
) -> None:
    failing = STAND_IN.replace(
        'enable) touch "$STATE/enabled"; start=1', "enable) echo 'Job failed.' >&2; exit 1"
    )
    (machine.directory / "tools/systemctl").write_text(failing)
    done = machine.run(f"{with_systemd.replace('trap', ': trap')}\n$RRD setup || echo refused")
    assert "`systemctl enable --now rrd.service` failed: Job failed." in done.stderr
    assert "journalctl -u rrd.service" in done.stderr
    assert done.stdout.splitlines()[-1] == "refused"
