"""Under which names presigned links are had."""

from __future__ import annotations

import pytest

from rrd.config import Config
from rrd.errors import BadRequest
from rrd.http.link_host import check_link_host
from tests.http.api import Api

CONFIG = Config(
    public_url="https://rrd.example.com:8443/base", link_hosts=("play.example.com", "Other.Example")
)


@pytest.mark.parametrize(
    "host",
    [
        "rrd.example.com", "rrd.example.com:443", "RRD.Example.Com", "rrd.example.com.",
        "play.example.com:80",
        "other.example", "localhost", "localhost:8787", "rrd.localhost", "127.0.0.1:8787", "192.0.2.7",
        "[::1]:8787", "[2001:db8::1]",
    ],
)  # fmt: skip
def test_known_names_and_addresses_get_links(host: str) -> None:
    check_link_host(host, CONFIG)
    with pytest.raises(BadRequest):
        check_link_host(f"{host}.evil.example", CONFIG)


@pytest.mark.parametrize(
    "host",
    [
        "", "evil.example", "evil.example:8787", "rrd.example.com.evil.example", "evilrrd.example.com",
        "rrd.example.com@evil.example", "evil.example/rrd.example.com", "localhost.evil.example",
        "127.0.0.1.evil.example", "[::1", "[evil]", "%6cocalhost.evil.example",
        "xn--rrd", "example.com", ":8787", "a b",
    ],
)  # fmt: skip
@pytest.mark.parametrize("config", [CONFIG, Config()], ids=["named", "as shipped"])
def test_other_names_get_none(host: str, config: Config) -> None:
    with pytest.raises(BadRequest, match="link_hosts"):
        check_link_host(host, config)


async def test_a_list_under_a_foreign_name_has_no_links(api: Api) -> None:
    api.daemon.signing_key()
    reply = await api.get("/recordings?includeSignedUrls=true", headers={"Host": "evil.example"})
    assert (reply.status, reply.error["code"]) == (400, "host_not_admitted")
    assert (await api.get("/recordings", headers={"Host": "evil.example"})).status == 200
    assert (await api.get("/recordings?includeSignedUrls=true")).status == 200
