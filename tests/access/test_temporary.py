"""Keys that end with their process: after ``kill -9`` too, and not while another import is under way."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from rrd.access.gate import Gate
from rrd.access.keys import KeyStore
from rrd.access.temporary import LABEL, revoke_left_behind, temporary_key
from rrd.cli import main
from rrd.errors import NotFound, RrdError, Unauthenticated
from rrd.layout import keys_path
from tests.harness import ROOT

_HOLDER = """
import sys
from rrd.access.temporary import temporary_key
with temporary_key(sys.argv[1], "acme") as key:
    print(key, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = keys_path(str(tmp_path))
    KeyStore(path).close()
    return path


@contextmanager
def holder(path: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that uses a temporary key until its stdin ends."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, path],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def is_good(gate: Gate, key: str) -> bool:
    gate.refresh()
    try:
        gate.authorize(right="ingest", token=key, origin=None, query={}, scope_path="", now_s=0)
    except Unauthenticated:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_key_of_a_process_that_is_gone_is_revoked_by_the_daemon(path: str, number: int) -> None:
    with KeyStore(path) as store:
        gate = Gate(store)
        with holder(path) as (process, key):
            for _ in range(3):
                assert is_good(gate, key)
            process.send_signal(number)
            process.wait()
            assert not is_good(gate, key)


def test_the_next_import_revokes_what_was_left_where_no_daemon_did(path: str) -> None:
    with holder(path) as (process, _):
        process.kill()
        process.wait()
    with temporary_key(path, "acme"), KeyStore(path) as store:
        assert [row.revoked_ms is None for row in store.list_keys()] == [False, True]


def test_keys_of_imports_under_way_and_keys_of_other_kinds_stay(path: str) -> None:
    with KeyStore(path) as store, ExitStack() as stack:
        _, own = store.create_key(tenant="acme", scope="ingest", label="import")
        with holder(path) as (dead, left):
            gate = Gate(store)
            here = stack.enter_context(temporary_key(path, "acme"))
            there = stack.enter_context(temporary_key(path, "other"))
            dead.kill()
            dead.wait()
            # Who is alive can't be told apart: until all imports end no key goes.
            assert [is_good(gate, key) for key in (own, left, here, there)] == [True] * 4
            stack.close()
            assert [is_good(gate, key) for key in (own, left, here, there)] == [True, False, False, False]
        assert revoke_left_behind(store) == 0


def test_no_store_no_key(tmp_path: Path) -> None:
    with pytest.raises(NotFound), temporary_key(keys_path(str(tmp_path)), "acme"):
        raise AssertionError
    assert issubclass(NotFound, RrdError)


def test_the_label_of_such_keys_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["keys", "create", "--data-dir", str(tmp_path), "--tenant", "acme", "--scope", "all"]
    assert main([*argv, "--label", LABEL]) == 2
    assert "choose another label" in capsys.readouterr().err
