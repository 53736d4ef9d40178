"""The recorder script as pages get it: from any origin, without a key, compressed, and kept for a while."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from rrd.assets.files import load_assets
from tests.assets.building import built_assets
from tests.harness import LocalDaemon, running
from tests.http.api import Api, decompress, visiting

PATHS = ("/record.js", "/browser-client.umd.cjs")
ORIGIN = "https://shop.example"


async def ask(
    api: Api, path: str, *, method: str = "GET", **headers: str
) -> tuple[int, Mapping[str, str], bytes]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with api.session.request(method, api.daemon.url + path, headers=sent) as answer:
        return answer.status, answer.headers, await answer.read()


@pytest.fixture(scope="module", autouse=True)
def _assets() -> None:
    built_assets()


@pytest.mark.parametrize("path", [*PATHS, "/record.js?v=3", "//record.js"])
async def test_any_page_gets_the_script_without_a_key(api: Api, path: str) -> None:
    status, headers, body = await ask(api, path, Origin=ORIGIN, Cookie="a=b")
    assert (status, body) == (200, load_assets().recorder["identity"])
    assert headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert headers["Cache-Control"] == "public, max-age=300"
    assert headers["Vary"] == "Accept-Encoding"
    assert headers["Server"] == "rrd"
    assert "Set-Cookie" not in headers


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, deflate", "gzip"),
        ("br;q=0.5, gzip", "gzip"),
        ("zstd", "identity"),
        ("br;q=0", "identity"),
        ("*", "identity"),
        ("", "identity"),
    ],
)
async def test_it_comes_compressed_as_the_browser_likes(api: Api, accepted: str, encoding: str) -> None:
    status, headers, body = await ask(api, "/record.js", Accept_Encoding=accepted)
    assert (status, headers.get("Content-Encoding", "identity")) == (200, encoding)
    assert decompress(encoding, body) == load_assets().recorder["identity"]
    assert int(headers["Content-Length"]) == len(body)


async def test_each_form_has_a_tag_of_its_own_and_is_sent_once(api: Api) -> None:
    tags = set()
    for accepted in ("br", "gzip", "identity"):
        _, headers, _ = await ask(api, "/record.js", Accept_Encoding=accepted)
        tag = headers["ETag"]
        tags.add(tag)
        for known in (tag, f'"other", W/{tag}', "*"):
            status, again, body = await ask(api, "/record.js", Accept_Encoding=accepted, If_None_Match=known)
            assert (status, body, again["ETag"]) == (304, b"", tag)
            assert again["Cache-Control"] == headers["Cache-Control"]
            assert again["Access-Control-Allow-Origin"] == "*"
        status, _, _ = await ask(api, "/record.js", Accept_Encoding=accepted, If_None_Match='"other"')
        assert status == 200
    assert len(tags) == 3


@pytest.mark.parametrize("path", PATHS)
async def test_head_is_get_without_the_body(api: Api, path: str) -> None:
    _, headers, body = await ask(api, path, Accept_Encoding="br")
    status, again, nothing = await ask(api, path, method="HEAD", Accept_Encoding="br")
    assert (status, nothing) == (200, b"")
    assert int(again["Content-Length"]) == len(body)
    for name in ("ETag", "Content-Type", "Content-Encoding", "Cache-Control"):
        assert again[name] == headers[name]


async def test_it_is_served_while_rrd_starts(tmp_path: Path) -> None:
    found: list[int] = []

    async def look(daemon: LocalDaemon) -> None:
        assert not daemon.services.ready.is_set()
        async with visiting(daemon) as visitor:
            status, _, _ = await ask(visitor, "/record.js")
            found.append(status)

    async with running(tmp_path, before_recovery=look):
        pass
    assert found == [200]


async def test_an_installation_without_it_says_what_to_do(api: Api, tmp_path: Path) -> None:
    api.daemon.services.assets_dir = str(tmp_path)
    reply = await api.get("/record.js", key="")
    assert (reply.status, reply.error["code"]) == (503, "no_assets")
    assert "make assets" in reply.error["message"]
    assert str(tmp_path) not in reply.error["message"]
