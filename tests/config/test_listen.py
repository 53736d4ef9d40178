"""The address in a setting that names a listener: by table, and what is none is refused with the setting."""

from __future__ import annotations

import pytest

from rrd.config import Config
from rrd.config.checks import check_settings, warnings
from rrd.config.listen import Address, parse_listen
from rrd.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", None),
        ("127.0.0.1:9788", Address("127.0.0.1", 9788, "")),
        ("localhost:0", Address("localhost", 0, "")),
        ("[::1]:65535", Address("::1", 65535, "")),
        ("unix:/run/rrd/metrics.sock", Address("", 0, "/run/rrd/metrics.sock")),
    ],
)
def test_an_address_is_a_host_and_a_port_or_a_path(text: str, address: Address | None) -> None:
    assert parse_listen("metrics_listen", text) == address


@pytest.mark.parametrize(
    "text",
    [
        *("9788", ":9788", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "127.0.0.1:-1"),
        *("::1:9788", "[::1]", "127.0.0.1:٣", "unix:", "unix:metrics.sock", "unix:/a\0b", "unix"),
    ],
)
def test_what_is_no_address_is_refused_before_a_start(text: str) -> None:
    with pytest.raises(ConfigError, match="metrics_listen"):
        check_settings(Config(metrics_listen=text))


@pytest.mark.parametrize(
    ("text", "warns"),
    [
        *((text, False) for text in ("", "127.0.0.1:1", "[::1]:1", "unix:/x", "localhost:1")),
        *((text, True) for text in ("0.0.0.0:1", "192.0.2.1:1", "[::]:1", "metrics.example:1")),
    ],
)
def test_an_address_that_others_reach_is_warned_of(text: str, warns: bool) -> None:
    told = [line for line in warnings(Config(metrics_listen=text), handles_max=None) if "metrics" in line]
    assert bool(told) == warns
