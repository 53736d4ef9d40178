"""Which origin shows recordings, for each name under which the console is asked for."""

from __future__ import annotations

import pytest

from rrd.console.origins import Placement, placement, public_origin
from rrd.errors import BadRequest

PUBLIC, STAGE = "https://rrd.example.com", "https://stage.example.com"
OTHER_PORT = "https://rrd.example.com:8443"

# Host, https, public_url, stage → where console and stage are, and who frames the stage of this name.
TABLE: list[tuple[str, bool, str, str, Placement]] = [
    ("127.0.0.1:8787", False, "", "",
     Placement("http://127.0.0.1:8787", "http://localhost:8787", "http://localhost:8787")),
    ("localhost:8787", False, "", "",
     Placement("http://localhost:8787", "http://127.0.0.1:8787", "http://127.0.0.1:8787")),
    ("LOCALHOST", False, "", "", Placement("http://localhost", "http://127.0.0.1", "http://127.0.0.1")),
    ("127.0.0.1", True, "", "", Placement("https://127.0.0.1", "https://localhost", "https://localhost")),
    # This machine needs no configuration, whatever is configured for the world.
    ("127.0.0.1:8787", False, PUBLIC, STAGE,
     Placement("http://127.0.0.1:8787", "http://localhost:8787", "http://localhost:8787")),
    ("192.0.2.7:8787", False, "", "", Placement(*3 * ("http://192.0.2.7:8787",))),
    ("192.0.2.7:8787", False, PUBLIC, STAGE, Placement(*3 * ("http://192.0.2.7:8787",))),
    ("[::1]:8787", False, "", "", Placement(*3 * ("http://[::1]:8787",))),
    ("rrd.example.com", True, "", "", Placement(*3 * (PUBLIC,))),
    # A name that is configured has its scheme from there.
    ("rrd.example.com", False, PUBLIC, "", Placement(*3 * (PUBLIC,))),
    ("rrd.example.com:443", False, PUBLIC + "/", "", Placement(*3 * (PUBLIC,))),
    ("RRD.example.com", False, PUBLIC, STAGE, Placement(PUBLIC, STAGE, PUBLIC)),
    ("stage.example.com", False, PUBLIC, STAGE, Placement(PUBLIC, STAGE, PUBLIC, is_stage_only=True)),
    ("rrd.example.com", True, PUBLIC, OTHER_PORT, Placement(PUBLIC, OTHER_PORT, PUBLIC)),
    ("rrd.example.com:8443", True, PUBLIC, OTHER_PORT,
     Placement(PUBLIC, OTHER_PORT, PUBLIC, is_stage_only=True)),
]  # fmt: skip


@pytest.mark.parametrize(("host", "is_https", "public_url", "stage_origin", "wanted"), TABLE)
def test_console_and_stage_are_apart_where_they_can_be(
    host: str, is_https: bool, public_url: str, stage_origin: str, wanted: Placement
) -> None:
    found = placement(host, is_https=is_https, public_url=public_url, stage_origin=stage_origin)
    assert found == wanted


@pytest.mark.parametrize("host", ["", "a b", "user@host", "host/path", "[", "host:port", "*"])
def test_what_is_no_host_is_refused(host: str) -> None:
    for stage_origin in ("", STAGE):
        with pytest.raises(BadRequest):
            placement(host, is_https=False, public_url=PUBLIC, stage_origin=stage_origin)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("", ""),
        ("https://A.example/path?x", "https://a.example"),
        ("rrd.example.com", ""),
        ("http://h:80", "http://h"),
    ],
)
def test_the_origin_of_a_url_is_known(url: str, origin: str) -> None:
    assert public_origin(url) == origin


def test_a_listener_of_ipv6_alone_has_no_second_name() -> None:
    """Under 127.0.0.1 nobody answers, or somebody else does."""
    found = placement("localhost:8787", is_https=False, public_url="", stage_origin="", has_ipv4=False)
    assert found.stage == found.console == "http://localhost:8787"
