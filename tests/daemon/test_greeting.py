"""What a person sees who starts rrd by hand, and a service doesn't print."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.serving import failed_start, read_until, serve


def test_the_curl_lines_of_the_first_start_work_as_they_are_printed(tmp_path: Path) -> None:
    with serve(tmp_path) as process:
        read_until(process, "listening")
        assert process.stdout is not None
        greeting = ""
        while "/events\n" not in greeting:
            greeting += process.stdout.readline()
        write, read = re.findall(r"curl (?:.|\\\n)+?/(?:ingest|events)$", greeting, re.MULTILINE)
        said = subprocess.run(["sh", "-c", write], capture_output=True, check=True).stdout
        assert said == b'{"successful_rows":1,"quarantined_rows":0,"duplicate_rows":0}'
        events = subprocess.run(["sh", "-c", read], capture_output=True, check=True).stdout
        assert events.startswith(b'[{"type":5,') and b'"sequenceId":1' in events
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_keys_are_shown_at_the_first_start_only(tmp_path: Path) -> None:
    for start in range(2):
        with serve(tmp_path) as process:
            read_until(process, "listening")
            process.terminate()
            told, _ = process.communicate(timeout=20)
        assert ("public_key_rr_" in told) == (start == 0)


def test_a_start_that_fails_makes_no_key_so_that_the_next_shows_them(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        said = failed_start(tmp_path, "--port", str(other.getsockname()[1]))
    assert "Address already in use" in said
    with serve(tmp_path) as process:
        read_until(process, "listening")
        process.terminate()
        told, _ = process.communicate(timeout=20)
    assert "public_key_rr_" in told


@pytest.mark.parametrize("console", ["auto", "true"])
def test_a_service_prints_neither_keys_nor_an_address(tmp_path: Path, console: str) -> None:
    with serve(tmp_path, INVOCATION_ID="0" * 32, RRD_CONSOLE=console) as process:
        read_until(process, "listening")
        process.terminate()
        told, log = process.communicate(timeout=20)
    assert told == ""
    assert "sign-in" not in log
    assert (tmp_path / "console.sqlite").exists() == (console == "true")


def test_each_start_prints_an_address_that_signs_in_to_the_console(tmp_path: Path) -> None:
    for _ in range(2):
        with serve(tmp_path) as process:
            line = read_until(process, "listening")
            assert process.stdout is not None
            greeting = ""
            while not (
                found := re.search(r"http://127\.0\.0\.1:(\d+)/console/#/sign-in/([\w-]{43})\n", greeting)
            ):
                greeting += process.stdout.readline()
            port, token = found.groups()
            assert f"port={port} " in line
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/console/session",
                data=f'{{"signIn":"{token}"}}'.encode(),
                headers={"Rrd-Console": "1", "Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request) as answer:
                assert b'"operator":true' in answer.read()
            process.terminate()
            _, log = process.communicate(timeout=20)
        assert token not in log


def test_a_console_that_cannot_be_opened_keeps_no_event_out(tmp_path: Path) -> None:
    (tmp_path / "console.sqlite").write_bytes(b"no database, and some more" * 100)
    with serve(tmp_path) as process:
        assert "console.sqlite" in read_until(process, "console_off")
        read_until(process, "listening")
        process.terminate()
        told, _ = process.communicate(timeout=20)
    assert "public_key_rr_" in told and "sign-in" not in told
