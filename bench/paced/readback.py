"""Recordings read back: how many events are there, and is any there twice?"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterable

from bench.daemon import Daemon

_TIMEOUT_S = 60.0


def wrong(target: Daemon, recordings: Iterable[str], events: int) -> list[str]:
    """Return what is wrong with recordings that should have so many events each, each with its own time."""
    found = []
    for recording in recordings:
        request = urllib.request.Request(
            f"http://{target.host}:{target.port}/recordings/{recording}/events",
            headers={"Authorization": f"Bearer {target.key}", "Accept": "application/x-ndjson"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
                times = [json.loads(line)["timestamp"] for line in answer]
        except (OSError, ValueError) as error:
            found.append(f"recording {recording} could not be read: {error!r}")
            continue
        if (len(times), len(set(times))) != (events, events):
            found.append(
                f"recording {recording} has {len(times)} events with {len(set(times))} times, not {events}"
            )
        elif times != sorted(times):
            found.append(f"recording {recording} is not in order")
    return found
