"""What is left of a recording in a real browser when page, browser or daemon go away."""

from __future__ import annotations

import json

import pytest

from tests.client.client_checks import (
    BODY_UNITS_WITHOUT_REPEATS,
    SOCKET,
    assert_stored,
    custom_tags,
    largest_body,
    options,
    use_pages,
    wait_for_events,
)
from tests.client.client_lab import Daemon, OpenTab

pytestmark = pytest.mark.client


def test_browser_that_is_killed_leaves_all_that_it_had_sent(daemon: Daemon, open_tab: OpenTab) -> None:
    """No event of the page, no closing handshake: the connection just ends, before the next flush."""
    tab = open_tab(mortal=True)
    tab.visit()
    tab.call("start", options(daemon, SOCKET))
    recording_id = tab.recording_id()
    tab.call("tick", 10)
    tab.wait("lab.count() > 30")
    tab.call("stopTicking")
    tab.wait("lab.drained()")
    emitted = tab.emitted(recording_id)
    tab.do("kill")
    assert_stored(daemon, recording_id, emitted)


@pytest.mark.slow
def test_page_that_closes_in_mid_stream_leaves_all_that_it_had_sent(
    daemon: Daemon, open_tab: OpenTab
) -> None:
    """What the network had not taken yet when the tab closed may be missing, but only from the end."""
    tab = open_tab()
    tab.visit()
    tab.call("start", options(daemon, SOCKET))
    recording_id = tab.recording_id()
    tab.call("tick", 10)
    tab.wait("lab.count() > 30 && lab.drained()")
    taken = len(tab.emitted(recording_id))
    tab.wait("lab.drained()")
    tab.do("close")

    emitted = tab.emitted(recording_id)
    stored = wait_for_events(daemon, recording_id, taken)
    assert stored == emitted[: len(stored)]


def test_restart_of_the_daemon_loses_and_doubles_nothing(own_daemon: Daemon, open_tab: OpenTab) -> None:
    """The page rests while its socket closes, and records before, during the restart, and after.

    What is emitted before the client has a socket again goes over that one. Everything later
    it keeps in memory, since its first socket was closed, until the page is hidden; then it
    POSTs the lot, in bodies that each hold all lines of those before.
    """
    tab = open_tab()
    tab.visit()
    tab.call("start", options(own_daemon, SOCKET))
    recording_id = tab.recording_id()
    tab.call("tick", 10)
    tab.wait("lab.count() > 50")
    tab.call("stopTicking")
    tab.wait("lab.drained()")

    own_daemon.stop()
    tab.wait("sockets[0].readyState === WebSocket.CLOSED")
    tab.call("tick", 10)
    own_daemon.start()
    tab.wait("sockets.length > 1 && lab.drained()")
    for _ in range(4):
        tab.call("addText", 40_000, "long text ")
    tab.call("stopTicking")
    use_pages(tab)
    tab.call("hide")

    emitted = tab.emitted(recording_id)
    assert custom_tags(emitted) == ["page-hidden"]
    assert_stored(own_daemon, recording_id, emitted)
    assert largest_body(tab.seen()) > BODY_UNITS_WITHOUT_REPEATS


@pytest.mark.slow
def test_restart_in_mid_stream_keeps_what_was_acked(own_daemon: Daemon, open_tab: OpenTab) -> None:
    """The page doesn't rest. Then the browser loses a few events that it emits while its socket closes.

    They were sent, in the page's eyes, but the browser's network service had answered the server's
    close frame by then. What the server's last message counts must be there, and all that the
    client did not give to that socket.
    """
    tab = open_tab()
    tab.visit()
    tab.call("start", options(own_daemon, SOCKET))
    recording_id = tab.recording_id()
    tab.call("tick", 5)
    tab.wait("lab.count() > 100")
    own_daemon.stop()
    own_daemon.start()
    tab.wait("sockets.length > 1 && lab.drained()")
    tab.call("stopTicking")
    tab.call("hide")

    emitted = tab.emitted(recording_id)
    first_socket = tab.seen().sockets[0]
    # One line was metadata, which is no event.
    acked = json.loads(first_socket["received"][-1])["successful_rows"] - 1
    sent = len(first_socket["sent"]) - 1
    assert 0 < acked <= sent < len(emitted)
    sure = [*emitted[:acked], *emitted[sent:]]
    stored = wait_for_events(own_daemon, recording_id, len(sure))
    assert [event for event in emitted if event in stored] == stored  # in order, none twice, none invented
    assert [event for event in sure if event not in stored] == []
