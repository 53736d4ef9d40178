"""All that a daemon tells about what it stores, as one value that can be compared."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from tests.harness import DaemonProcess
from tests.transfer.transfer_lab import Client

TENANTS = ("acme", "shop")


def answers(daemon: DaemonProcess) -> dict[str, Any]:
    """Return lists, statistics, metadata, and the bytes of each recording's events in both forms."""
    told: dict[str, Any] = {}
    for tenant in TENANTS:
        client = Client(daemon, tenant)
        listed = client.call("GET", "/recordings?limit=100")
        told[tenant] = {
            "listed": listed,
            "statistics": client.call("GET", "/statistics"),
            "recordings": {
                row["recordingId"]: {
                    "metadata": client.call("GET", f"/recordings/{row['recordingId']}"),
                    "events": _text(daemon, client, row["recordingId"], "application/json"),
                    "lines": _text(daemon, client, row["recordingId"], "application/x-ndjson"),
                }
                for row in listed["recordings"]
            },
        }
    json.dumps(told)
    return told


def _text(daemon: DaemonProcess, client: Client, recording_id: str, form: str) -> str:
    key = daemon.key(tenant=client.tenant)
    client.call("GET", "/recordings?limit=1", key=key)
    request = urllib.request.Request(
        f"{daemon.url}/recordings/{recording_id}/events",
        headers={"Authorization": f"Bearer {key}", "Accept": form},
    )
    with urllib.request.urlopen(request) as response:
        text: str = response.read().decode()
        return text
