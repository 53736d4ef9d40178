"""The address that signs in: a browser on this machine can open it, and its token is in the fragment."""

from __future__ import annotations

import pytest

from rrd.config import Config
from rrd.console.sign_in_url import sign_in_url


@pytest.mark.parametrize(
    ("host", "public_url", "wanted"),
    [
        ("127.0.0.1", "", "http://127.0.0.1:8787/console/#/sign-in/T"),
        ("localhost", "", "http://localhost:8787/console/#/sign-in/T"),
        ("0.0.0.0", "", "http://127.0.0.1:8787/console/#/sign-in/T"),
        ("::", "", "http://127.0.0.1:8787/console/#/sign-in/T"),
        ("::1", "", "http://[::1]:8787/console/#/sign-in/T"),
        ("127.0.0.1", "https://rrd.example.com/", "https://rrd.example.com/console/#/sign-in/T"),
    ],
)
def test_the_address_can_be_opened(host: str, public_url: str, wanted: str) -> None:
    assert sign_in_url(Config(host=host, public_url=public_url), 8787, "T") == wanted
