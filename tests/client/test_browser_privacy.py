"""What a real browser lets the server know of its visitor is stored with the page's permission only."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
import zstandard

from tests.client.client_checks import (
    POST,
    SOCKET,
    assert_metadata,
    options,
    wait_for_events,
)
from tests.client.client_lab import Daemon, OpenTab

pytestmark = pytest.mark.client


@pytest.mark.parametrize("include_pii", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_address_and_user_agent_are_kept_only_with_permission(
    own_daemon: Daemon, open_tab: OpenTab, include_pii: bool
) -> None:
    """The page is on ``localhost``, so that 127.0.0.1 is the visitor's address and nothing else's."""
    daemon = own_daemon
    visitor = "0f0e0d0c-0b0a-4908-8706-050403020100"
    recordings = {}
    for path in (SOCKET, POST):
        tab = open_tab(host="localhost", cookies={"rrweb-browser-client-visitor-id": visitor})
        tab.visit()
        tab.call("start", options(daemon, path, includePii=include_pii))
        recordings[tab.recording_id()] = tab
    user_agent = str(tab.call("userAgent"))
    for recording_id, tab in recordings.items():
        tab.settle()
        wait_for_events(daemon, recording_id, len(tab.emitted(recording_id)))
        metadata = assert_metadata(daemon, recording_id, {"includePii": str(include_pii).lower()})
        assert ("127.0.0.1" in metadata.values()) is include_pii
        assert (user_agent in metadata.values()) is include_pii
        # The client has read its cookie the wrong way: name and all.
        assert metadata.get("visitor") == (visitor if include_pii else None)
    daemon.stop()

    stored = stored_bytes(daemon.data_dir)
    # Its own address is said where it listens, and in the console's.
    own = (b"listening", b"/console/#/")
    lines = daemon.log.encode().splitlines()
    logged = b"\n".join(line for line in lines if not any(name in line for name in own))
    for trace in (b"127.0.0.1", user_agent.encode()):
        # With permission they are found, which shows that the search can find them.
        assert (trace in stored) is include_pii
        assert trace not in logged


def stored_bytes(data_dir: Path) -> bytes:
    """Return everything below a data directory: files as they are, and all zstd frames in them decoded."""
    parts = []
    for path in sorted(data_dir.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            parts.append(data)
            # Frames lie within skippable frames too, so each place that looks like one is tried.
            for match in re.finditer(re.escape(zstandard.FRAME_HEADER), data):
                with contextlib.suppress(zstandard.ZstdError):
                    parts.append(
                        zstandard.ZstdDecompressor().decompressobj().decompress(data[match.start() :])
                    )
    return b"\n".join(parts)
