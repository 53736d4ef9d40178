"""An event, written, read back and erased through the API: the proof that all of it works together.

Keys that were just made prove themselves. For those that were made before, and for erasing, there are keys of
the trial alone; they are revoked in the end. Those of a run that was killed are revoked by the next one,
and expire soon: their bearer is gone.
"""

from __future__ import annotations

import contextlib
import http
import http.client
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

import orjson

from rrd.access.keys import KeyStore
from rrd.access.rows import Scope
from rrd.clock import SystemClock
from rrd.setup.first_keys import FirstKeys
from rrd.setup.tools import SetupFailed

TRIAL_LABEL = "rrd setup: trial"
TAG = "rrd-setup"

_LIFETIME_MS = 600_000
"""Longer than any trial takes."""
_ANSWER_TIMEOUT_S = 35.0
"""A reader waits by turns for up to 30 s."""
_PATIENCE_S = 15.0
"""A key counts within a second, an event can be read within two. A machine may be busy."""
_PAUSE_S = 0.1


class TrialKeys(NamedTuple):
    """Who writes, reads and erases."""

    write: str
    read: str
    erase: str


class Told(NamedTuple):
    """What the API answered."""

    status: int
    value: object


@contextlib.contextmanager
def trial_keys(store: KeyStore, tenant: str, first: FirstKeys) -> Iterator[TrialKeys]:
    """Make the keys that are missing for a trial, and revoke them in the end."""
    for row in store.list_keys():
        if row.label == TRIAL_LABEL and row.revoked_ms is None:
            store.revoke_key(row.id)
    ends_ms = SystemClock().now_ms() + _LIFETIME_MS
    with contextlib.ExitStack() as stack:

        def make(scope: Scope) -> str:
            key_id, key = store.create_key(tenant=tenant, scope=scope, label=TRIAL_LABEL, expires_ms=ends_ms)
            stack.callback(store.revoke_key, key_id)
            return key

        erase = make("erase")
        # The one that is asked for first is made last: a daemon that knows it knows the others.
        yield TrialKeys(first.public or make("ingest"), first.private or make("read"), erase)


def try_out(url: str, keys: TrialKeys, origins: tuple[str, ...]) -> None:
    """Write an event of a recording of its own, read it back, erase it. Raises ``SetupFailed``."""
    path = f"/recordings/{uuid.uuid4()}"
    now_ms = time.time_ns() // 1_000_000
    event = {"type": 5, "timestamp": now_ms, "data": {"tag": TAG, "payload": {}}}
    # Should this process be killed before it erases the recording, this says what it is.
    meta = {"type": 5, "timestamp": now_ms, "data": {"tag": "recording-meta", "payload": {"madeBy": TAG}}}
    body = b"".join(orjson.dumps(line) + b"\n" for line in (event, meta))
    headers = {"Content-Type": "application/x-ndjson"} | ({"Origin": origins[0]} if origins else {})

    def is_known(told: Told) -> bool:
        return told.status == 200

    def is_stored(told: Told) -> bool:
        return told.status == 200

    def is_read(told: Told) -> bool:
        return told.status == 200 and isinstance(told.value, list) and len(told.value) == 1

    def is_erased(told: Told) -> bool:
        return told.status in {200, 202}

    # By a read, since a refusal to write would stand in the account of `rrd doctor`.
    _ask_until(is_known, url, "GET", "/recordings?limit=1", keys.read)
    _ask_until(is_stored, url, "POST", f"{path}/ingest", keys.write, body=body, headers=headers)
    try:
        read = _ask_until(is_read, url, "GET", f"{path}/events", keys.read)
        _check_same(event, read.value)
    finally:
        _ask_until(is_erased, url, "DELETE", path, keys.erase)


def wait_until_ready(url: str, is_alive: Callable[[], bool], *, timeout_s: float) -> None:
    """Return once the daemon takes events, or has ended. Raises ``SetupFailed`` if it does neither."""
    end = time.monotonic() + timeout_s
    while True:
        try:
            told = ask(url, "GET", "/-/ready")
            if told.status == 200:
                return
            why = _words(told)
        except OSError as error:
            why = f"no answer from {url}: {error}"
        except SetupFailed as error:  # Another program answers there.
            why = str(error)
        if not is_alive():
            return
        if time.monotonic() > end:
            raise SetupFailed(
                f"rrd is not ready after {timeout_s:g} s: {why}. A start after a crash may take minutes: run "
                "rrd setup again then"
            )
        time.sleep(_PAUSE_S)


def serves_recorder(url: str) -> bool:
    """Tell whether the daemon has the script for pages: made without npm, an installation has none."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_ANSWER_TIMEOUT_S)
    with contextlib.closing(connection):
        try:
            connection.request("HEAD", "/record.js")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (http.client.HTTPException, OSError):
            return False


def ask(
    url: str,
    method: str,
    path: str,
    key: str = "",
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Told:
    """Ask the API. Raises ``OSError`` where nothing answers, ``SetupFailed`` where another program does."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_ANSWER_TIMEOUT_S)
    with contextlib.closing(connection):
        # No address: metadata of the trial's recording must not get one.
        sent = {"X-Forwarded-For": "unknown", **(headers or {})}
        if key:
            sent["Authorization"] = f"Bearer {key}"
        try:
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            return Told(answer.status, orjson.loads(answer.read()))
        except (http.client.HTTPException, ValueError):
            raise SetupFailed(
                f"{url}: what answers there is not rrd. Stop that program, or choose another port in the "
                "settings"
            ) from None


def _ask_until(
    is_good: Callable[[Told], bool],
    url: str,
    method: str,
    path: str,
    key: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Told:
    """Ask until the answer is good: the daemon may not know a young key yet. Raises ``SetupFailed``."""
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            told = ask(url, method, path, key, body=body, headers=headers)
        except OSError as error:
            raise SetupFailed(f"{url}: no answer to {method}: {error}. Does rrd still run?") from None
        if is_good(told):
            return told
        may_change = told.status in {401, 404} or (told.status == 200 and method == "GET")
        if not may_change or time.monotonic() > end:
            hint = (
                "The daemon doesn't know a key of this data directory: it seems to serve another one"
                if told.status == 401
                else "`rrd doctor` and the log tell more"
            )
            raise SetupFailed(f"the trial's {method} was answered {told.status}: {_words(told)}. {hint}")
        time.sleep(_PAUSE_S)


def _check_same(sent: Mapping[str, object], read: object) -> None:
    found = read[0] if isinstance(read, list) and isinstance(read[0], dict) else {}
    if {name: found.get(name) for name in sent} != sent:
        raise SetupFailed("the trial's event came back changed. Report it; `rrd verify` looks at the files")


def _words(told: Told) -> str:
    """Return the API's own words for an error."""
    value = told.value
    error = value.get("error") if isinstance(value, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return str(message) if message else f"status {told.status}"
