"""What the tests of export, import, backup and restore share: a daemon spoken to from plain threads."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from tests.harness import DEADLINE_S, DaemonProcess
from tests.samples import ndjson


def event(timestamp: int, text: str = "") -> bytes:
    return b'{"type":3,"timestamp":%d,"data":{"text":%s}}' % (timestamp, json.dumps(text).encode())


class Client:
    """Talks to a daemon as one tenant, one request a connection. Blocking."""

    def __init__(self, daemon: DaemonProcess, tenant: str) -> None:
        self.tenant = tenant
        self.daemon = daemon
        self._key = daemon.key(tenant=tenant)
        self._erase_key = daemon.key("erase", tenant=tenant)

    def post(self, recording_id: str, lines: Sequence[bytes]) -> dict[str, int]:
        """Send events; they are safe when this returns."""
        answer: dict[str, int] = self.call("POST", f"/recordings/{recording_id}/ingest", ndjson(lines))
        return answer

    def tell(self, recording_id: str, **metadata: str) -> None:
        self.call(
            "POST", f"/recordings/{recording_id}/meta", json.dumps(metadata).encode(), kind="application/json"
        )

    def metadata(self, recording_id: str) -> dict[str, tuple[str, int]]:
        """Return value and version by key."""
        rows = self.call("GET", f"/recordings/{recording_id}")
        return {row["key"]: (row["value"], row["version"]) for row in rows}

    def numbers(self, recording_id: str) -> list[int]:
        """Return the ``n`` of each event's data, in a replayer's order; nothing for an unknown recording."""
        try:
            found = self.call("GET", f"/recordings/{recording_id}/events")
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in {404, 410}:
                return []
            raise
        return [event["data"]["n"] for event in found]

    def recordings(self) -> list[str]:
        found: list[str] = []
        while page := self.call("GET", f"/recordings?limit=100&offset={len(found)}")["recordings"]:
            found += [row["recordingId"] for row in page]
        return found

    def erase(self, recording_id: str) -> None:
        self.call("DELETE", f"/recordings/{recording_id}", key=self._erase_key)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        kind: str = "application/x-ndjson",
        key: str = "",
    ) -> Any:
        """Return what is answered. Raises ``HTTPError``. Waits for the daemon to hear of the key."""
        request = urllib.request.Request(
            self.daemon.url + path,
            data=body,
            method=method,
            headers={"Authorization": f"Bearer {key or self._key}", "Content-Type": kind},
        )
        end = time.monotonic() + DEADLINE_S
        while True:
            try:
                with urllib.request.urlopen(request, timeout=DEADLINE_S) as response:
                    return json.loads(response.read())
            except urllib.error.HTTPError as error:
                if error.code != 401 or time.monotonic() > end:
                    raise
                error.close()
                time.sleep(0.01)
