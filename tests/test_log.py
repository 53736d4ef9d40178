from __future__ import annotations

import io
import json
import logging
import os
import re
import string
import subprocess
import sys
import unicodedata
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import rrd
from rrd import log
from rrd.config import Config
from rrd.log import forms, redaction, traces

LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (\w+) (.*)")
WORDS = st.text(string.ascii_letters + string.digits + "-_", min_size=43, max_size=43)
KEYS = st.one_of(
    WORDS.map(lambda word: f"public_key_rr_{word}"),
    WORDS.map(lambda word: f"secret_key_rr_{word}"),
    WORDS.map(lambda word: f"erase_key_rr_{word}"),
    WORDS.map(lambda word: f"ak_{word}"),
)
# Someone's own key, of which nothing but its place tells that it is one. Its characters are
# those that need no escaping anywhere (RFC 3986, 2.3).
OPAQUE = st.text(string.ascii_letters + string.digits + "-._~", min_size=8, max_size=60).map(
    lambda text: f"zz{text}"
)
SECRETIVE = re.compile(r"(?i)token|signature|authorization|bearer|ak_|key_rr_")
SIGNATURES = st.text("0123456789abcdef", min_size=64, max_size=64)


def set_up(**settings: object) -> io.StringIO:
    """Log into memory, as ``setup`` sets it up, without closing what pytest listens with."""
    logging.getLogger().handlers.clear()
    stream = io.StringIO()
    log.setup(Config(**settings), stream=stream, environment={})  # type: ignore[arg-type]
    return stream


def parse(line: str) -> tuple[str, dict[str, str]]:
    """Read an event line back: its name and its fields."""
    name, _, rest = line.partition(" ")
    fields = {}
    while rest:
        match = re.match(r'(\w+)=("(?:[^"\\]|\\.)*"|[^\s"]+)(?: |$)', rest)
        assert match is not None, rest
        fields[match[1]] = json.loads(match[2]) if match[2].startswith('"') else match[2]
        rest = rest[match.end() :]
    return name, fields


# Lines


def test_an_event_is_a_line_with_time_level_name_and_fields() -> None:
    stream = set_up()
    before = datetime.now(UTC).replace(microsecond=0)
    log.emit(
        logging.getLogger("rrd.x"),
        logging.INFO,
        "sealed",
        recording="01J8",
        segment=7,
        took_ms=1.5,
        torn=False,
        reason=None,
        name="a b",
        level="",
    )
    match = LINE.fullmatch(stream.getvalue().rstrip("\n"))
    assert match is not None
    assert before <= datetime.fromisoformat(match[1]) <= datetime.now(UTC)
    assert match[2] == "info"
    assert match[3] == 'sealed recording=01J8 segment=7 took_ms=1.5 torn=false name="a b" level=""'


@given(st.lists(st.text(st.characters())))
def test_whatever_the_values_an_event_is_one_line_and_reads_back(values: list[str]) -> None:
    stream = set_up()
    fields: dict[str, str] = {f"f_{number}": value for number, value in enumerate(values)}
    assume(not SECRETIVE.search(" ".join(values)))  # What is redacted doesn't read back.
    log.emit(logging.getLogger("rrd.x"), logging.WARNING, "odd", **fields)  # type: ignore[arg-type]
    (line,) = stream.getvalue().splitlines()
    assert not any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in line)
    match = LINE.fullmatch(line)
    assert match is not None
    assert parse(match[3]) == ("odd", fields)


def test_levels_below_the_setting_are_left_out() -> None:
    stream = set_up(log_level="warning")
    logger = logging.getLogger("rrd.x")
    log.emit(logger, logging.INFO, "quiet")
    log.emit(logger, logging.WARNING, "loud")
    assert [line.split()[1:] for line in stream.getvalue().splitlines()] == [["warning", "loud"]]


def test_what_libraries_log_becomes_an_event_that_names_them() -> None:
    stream = set_up()
    logging.getLogger("aiohttp.server").error("Error handling request from %s", "10.0.0.1\n2026 forged")
    match = LINE.fullmatch(stream.getvalue().rstrip("\n"))
    assert match is not None
    assert parse(match[3]) == (
        "library",
        {"logger": "aiohttp.server", "message": "Error handling request from %s"},
    )


def test_a_traceback_is_short_and_indented_below_its_line() -> None:
    stream = set_up()

    def deep(levels: int) -> None:
        if levels == 0:
            raise ValueError("first\n2026-01-01T00:00:00.000Z info forged")
        deep(levels - 1)

    try:
        deep(30)
    except ValueError:
        log.emit(logging.getLogger("rrd.x"), logging.ERROR, "failed", exc_info=True, what=1)
    first, *rest = stream.getvalue().splitlines()
    assert first.endswith("error failed what=1")
    assert len(rest) < 4 * traces.FRAMES_MAX
    assert all(re.match(r"\S+Z error   ", line) for line in rest)
    assert any("ValueError: first" in line for line in rest)


def test_a_record_that_cannot_be_formatted_is_told_and_raises_nothing() -> None:
    stream = set_up()

    class Unprintable:
        def __str__(self) -> str:
            raise RuntimeError("no")

    logging.getLogger("rrd.x").warning("%s", Unprintable())
    logging.getLogger("rrd.x").warning("%d", "no number")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert all("unprintable_record" in line and "test_log.py" in line for line in lines)


def test_under_the_journal_lines_start_with_their_priority(tmp_path: Path) -> None:
    logging.getLogger().handlers.clear()
    with open(tmp_path / "stderr", "w+") as stream:
        status = os.fstat(stream.fileno())
        log.setup(
            Config(log_level="debug"),
            stream=stream,
            environment={"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"},
        )
        logger = logging.getLogger("rrd.x")
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
            log.emit(logger, level, "told")
        try:
            raise ValueError("no")
        except ValueError:
            log.emit(logger, logging.ERROR, "failed", exc_info=True)
        logging.getLogger().handlers.clear()
        stream.seek(0)
        lines = stream.read().splitlines()
    # sd-daemon(3): 7 debug, 6 info, 4 warning, 3 error, 2 critical; on each line by itself.
    assert lines[:6] == ["<7>told", "<6>told", "<4>told", "<3>told", "<2>told", "<3>failed"]
    assert len(lines) > 6
    assert all(line.startswith("<3>  ") for line in lines[6:])


def test_a_journal_that_is_someone_elses_stderr_is_not_ours(tmp_path: Path) -> None:
    logging.getLogger().handlers.clear()
    with open(tmp_path / "stderr", "w+") as stream:
        log.setup(Config(), stream=stream, environment={"JOURNAL_STREAM": "1:2"})
        log.emit(logging.getLogger("rrd.x"), logging.INFO, "told")
        logging.getLogger().handlers.clear()
        stream.seek(0)
        assert LINE.match(stream.read())


# Secrets

PLACES = {
    "query": "GET /recordings/x/ingest/ws?a=1&token={}&b=2 failed",
    "query, encoded": "url=http%3A%2F%2Fh%2Fws%3Ftoken%3D{} failed",
    "query, signed": "/recordings/x?expires=1&signature={}&keyId=key-1",
    "query as a dict": "<MultiDictProxy('token': '{}', 'b': '2')>",
    "query as pairs": "[('signature', '{}'), ('b', '2')]",
    "query in JSON": '{{"token":"{}","b":"2"}}',
    "query in JSON, quoted again": '{{\\"token\\": \\"{}\\"}}',
    "quoted": 'token="{}" b=2',
    "header": "Authorization: Bearer {}",
    "header, other scheme": "authorization: Basic {} and more",
    "header, raw": "b'GET / HTTP/1.1\\r\\nAuthorization: Bearer {}\\r\\nHost: h'",
    "headers as a dict": "<CIMultiDictProxy('Host': 'h', 'Authorization': 'Bearer {}')>",
    "headers as pairs": "((b'Host', b'h'), (b'Authorization', b'Bearer {}'))",
    "header's value": "can't use 'bearer {}' here",
    "capitals": "TOKEN={} AUTHORIZATION={}",
}


@pytest.mark.parametrize("place", PLACES)
@given(secret=st.one_of(KEYS, OPAQUE, SIGNATURES))
def test_a_secret_is_hidden_wherever_it_stands(place: str, secret: str) -> None:
    text = PLACES[place].replace("{}", secret).replace("{{", "{").replace("}}", "}")
    hidden = redaction.redact(text)
    assert secret not in hidden
    assert redaction.HIDDEN in hidden


@given(st.text(), KEYS, st.text())
def test_a_minted_key_is_hidden_in_any_text(before: str, key: str, after: str) -> None:
    assume(key[-43:] not in before + after)
    hidden = redaction.redact(before + key + after)
    assert key[-43:] not in hidden


@given(st.text())
def test_text_without_secrets_stays_as_it_is(text: str) -> None:
    plain = SECRETIVE.sub("", text)
    assume(not SECRETIVE.search(plain))
    assert redaction.redact(plain) == plain


@pytest.mark.parametrize(
    "text",
    [
        "sealed recording=01J8 segment=7",
        "break_this_very_long_name_in_two_parts=1",
        "started public_url=https://h sockets_max=15000",
        "the tokens: 5",
        "revoked key=edda6ef9",
    ],
)
def test_ordinary_lines_stay_as_they_are(text: str) -> None:
    assert redaction.redact(text) == text


@given(secret=st.one_of(KEYS, OPAQUE))
def test_nothing_that_is_logged_shows_a_secret(secret: str) -> None:
    stream = set_up()
    ours, theirs = logging.getLogger("rrd.x"), logging.getLogger("aiohttp.server")
    log.emit(ours, logging.INFO, "refused", token=secret, url=f"/ws?token={secret}", auth=f"Bearer {secret}")
    log.emit(ours, logging.INFO, "refused", query={"token": secret, "signature": secret})
    theirs.warning("bad request: %r", {"Authorization": f"Bearer {secret}"})
    theirs.warning("token=%s", secret, stack_info=True)
    try:
        try:
            raise KeyError(f"no such thing: /ws?token={secret}")
        except KeyError as error:
            raise ValueError(f"Authorization: Bearer {secret}") from error
    except ValueError as error:
        log.emit(ours, logging.ERROR, "failed", exc_info=True, error=error)
        theirs.exception("failed")
    text = stream.getvalue()
    assert text.count("refused") == 2
    assert text.count("ValueError") >= 2
    # Lines of source code stand in tracebacks as they are; they hold no values.
    assert secret not in text


def test_a_stack_that_shows_a_secret_is_redacted_too() -> None:
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, "here", None, None)
    record.stack_info = "  connect('/ws?token=hunter2hunter2')"
    log.Redaction().filter(record)
    text = forms.LineFormatter().format(record)
    assert "hunter2hunter2" not in text
    assert "connect('/ws?token=***" in text


def run(code: str) -> str:
    """Run ``code`` after ``setup`` in a process of its own; return its stderr."""
    root = str(Path(rrd.__file__).parents[1])
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"from rrd import log\nfrom rrd.config import Config\nlog.setup(Config())\n{code}",
        ],
        env={**os.environ, "PYTHONPATH": root},
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stderr


def test_an_exception_that_nobody_catches_is_logged_without_secrets() -> None:
    text = run("raise ValueError('/ws?tok' + 'en=hunter2hunter2')")
    assert re.match(r"\S+Z error crashed\n", text)
    assert "ValueError: /ws?token=***" in text
    assert "hunter2hunter2" not in text.replace("raise ValueError('/ws?tok' + 'en=hunter2hunter2')", "")


def test_an_exception_in_a_thread_is_logged() -> None:
    text = run(
        "import threading\n"
        "def work(): raise ValueError('no')\n"
        "thread = threading.Thread(target=work, name='worker 1')\n"
        "thread.start(); thread.join()"
    )
    assert 'error thread_crashed thread="worker 1"' in text
    assert "ValueError: no" in text
