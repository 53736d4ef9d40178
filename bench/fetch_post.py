"""One POST of NDJSON to a daemon, as simple as it can be."""

from __future__ import annotations

import http.client

from bench.daemon import Daemon


def post(target: Daemon, path: str, body: bytes) -> int:
    """Send ``body``; return the status of the answer. Raises ``OSError`` if there is none."""
    connection = http.client.HTTPConnection(target.host, target.port, timeout=60)
    try:
        headers = {"Authorization": f"Bearer {target.key}", "Content-Type": "application/x-ndjson"}
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()
