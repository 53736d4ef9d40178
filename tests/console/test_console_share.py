"""A link to one recording: it shows that one to whoever has it, for as long as it was made for."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest

from rrd.access.keys import SigningKeyRow
from rrd.access.signing import recording_path, sign
from tests.client.client_lab import Driver
from tests.console.lab import TENANT, ConsoleDaemon, ConsoleWindow, OpenWindow, console_page
from tests.harness import Keys

pytestmark = pytest.mark.client

FIELD = "document.querySelector('dialog input[readonly]')?.value"


def made_link(window: ConsoleWindow, recording_id: str, at: str = "") -> str:
    """Have the dialog make a link to a recording that is being watched; return it."""
    window.goto(f"#/watch/{TENANT}/{recording_id}{at}")
    window.click("aside >> text=Share")
    window.click('dialog >> role=button[name="Make a link"]')
    return str(window.wait(FIELD))


class Sharing(NamedTuple):
    """A daemon, and signing keys of it that tests make links with."""

    daemon: ConsoleDaemon
    key: SigningKeyRow
    ended: SigningKeyRow
    """One that a test revokes."""

    def signed(self, recording_id: str, *, for_s: int = 3600, key: SigningKeyRow | None = None) -> str:
        """Return the fragment of a link as the dialog would make it, good from now on for so long."""
        row = key or self.key
        query = sign(
            secret=row.secret, key_id=row.key_id, tenant=TENANT, method="GET",
            scope_path=recording_path(recording_id), expires_s=int(time.time()) + for_s,
        )  # fmt: skip
        return f"#/shared/{recording_id}?{query}"


@pytest.fixture(scope="module")
def sharing(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sharing]:
    daemon = ConsoleDaemon(tmp_path_factory.mktemp("sharing"))
    keys = Keys(str(daemon.data_dir))
    ended, key = (keys.signing_key(tenant=TENANT, key_id=name) for name in ("ended", "kept"))
    daemon.start()
    yield Sharing(daemon, key, ended)
    daemon.stop()


@pytest.fixture
def console(sharing: Sharing) -> ConsoleDaemon:
    return sharing.daemon


def test_a_link_opens_at_its_moment_for_somebody_without_a_session(
    console: ConsoleDaemon, open_window: OpenWindow
) -> None:
    recording_id = console.post(console_page("one", "two", "three", "four"))
    other = console.post(console_page("another's"))
    owner = open_window(console, permissions=["clipboard-read", "clipboard-write"])
    link = made_link(owner, recording_id, "?t=2200")
    assert owner.text("dialog").count("signing-keys revoke") == 1
    owner.click('dialog >> role=button[name="Copy"]')
    owner.wait_for_text("Copied")
    assert owner.evaluate("navigator.clipboard.readText()") == link
    owner.click("dialog input[type=checkbox]")
    assert "&t=" not in owner.evaluate(FIELD)
    owner.check()

    guest = open_window(console, key=None)
    guest.do("visit", url=link)
    guest.wait_for_replay("three")
    # The right is in no address that is a page's, and in no request but for this recording.
    paths = [urlsplit(request["url"]) for request in guest.seen().requests]
    told = [path for path in paths if "signature" in path.query]
    assert told
    assert {path.path.split("/")[2] for path in told} == {recording_id}
    assert all("signature" not in url.partition("#")[0] for url in guest.seen().navigations)
    assert not any(path.path.startswith("/console/api/") for path in paths)
    query = parse_qs(urlsplit(link).fragment.partition("?")[2])
    signature = "&".join(f"{name}={query[name][0]}" for name in ("signature", "expires", "keyId"))
    for target, status in ((recording_id, 200), (other, 401)):
        asked = f"fetch('/recordings/{target}/events?{signature}').then((answer) => answer.status)"
        assert guest.evaluate(asked) == status
    guest.check("401", "Problem: ")

    guest.goto("#/list")
    assert "Sign in" in guest.text()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (r"(signature=)", "doesn't match"),
        (r"signature=\w+&", "needs 'signature'"),
        (r"(expires=\d+)", "doesn't match"),
        (r"(keyId=)", "names no signing key"),
        (r"&keyId=.*", "'keyId'"),
    ],
)
def test_a_damaged_link_says_so(
    console: ConsoleDaemon, open_window: OpenWindow, damage: str, said: str
) -> None:
    recording_id = console.post(console_page("one", "two"))
    owner = open_window(console)
    fragment = "#" + urlsplit(made_link(owner, recording_id)).fragment
    replaced = re.sub(damage, lambda found: (found[1] + "0") if found.lastindex else "", fragment, count=1)
    assert replaced != fragment
    guest = open_window(console, key=None)
    guest.goto(replaced)
    assert "This link doesn’t work" in guest.text()
    assert said in guest.text()
    assert guest.count("iframe") == 0
    guest.check("401", "Problem: ")


def test_a_link_that_has_expired_says_so(sharing: Sharing, open_window: OpenWindow) -> None:
    recording_id = sharing.daemon.post(console_page("one", "two"))
    guest = open_window(sharing.daemon, key=None)
    guest.goto(sharing.signed(recording_id))
    guest.wait_for_replay("one")
    guest.goto(sharing.signed(recording_id, for_s=-60))
    assert "expired at" in guest.text()
    assert "This link doesn’t work" in guest.text()
    guest.check("401", "Problem: ")


def test_a_link_ends_when_its_key_is_revoked(sharing: Sharing, open_window: OpenWindow) -> None:
    recording_id = sharing.daemon.post(console_page("one", "two"))
    fragment = sharing.signed(recording_id, key=sharing.ended)
    guest = open_window(sharing.daemon, key=None)
    guest.goto(fragment)
    guest.wait_for_replay("one")
    Keys(str(sharing.daemon.data_dir)).revoke_signing_key(sharing.ended.key_id)
    ask = f"fetch('/recordings/{recording_id}?{fragment.partition('?')[2]}')"
    guest.wait(f"{ask}.then((answer) => answer.status === 401)")
    guest.goto(fragment)
    assert "was revoked" in guest.text()
    guest.check("401", "Problem: ")
