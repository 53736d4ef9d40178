"""``/openapi.json`` and its page: the same for all, made anew where the settings change, and safe to show."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import msgspec
import pytest

from rrd.config import Config
from rrd.http.openapi.document import document
from rrd.http.openapi.page import page
from tests.harness import LocalDaemon, running
from tests.http.api import decompress
from tests.http.raw_client import Connection, RawReply


async def ask(daemon: LocalDaemon, path: str, method: str = "GET", **headers: str) -> RawReply:
    connection = await Connection.open(daemon.url)
    sent = {"Host": f"127.0.0.1:{daemon.port}"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    fields = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    connection.writer.write(f"{method} {path} HTTP/1.1\r\n{fields}\r\n".encode())
    reply = await connection.reply(method=method)
    await connection.hang_up()
    return reply


@pytest.mark.parametrize("path", ["/openapi.json", "/console/api"])
async def test_it_comes_compressed_and_once_only(tmp_path: Path, path: str) -> None:
    async with running(tmp_path, console=True) as daemon:
        plain = await ask(daemon, path)
        assert plain.status == 200
        for encoding in ("br", "gzip"):
            reply = await ask(daemon, path, Accept_Encoding=encoding)
            assert reply.headers["content-encoding"] == encoding
            assert decompress(encoding, reply.body) == plain.body
            assert len(reply.body) < len(plain.body) / 5
            again = await ask(daemon, path, Accept_Encoding=encoding, If_None_Match=reply.headers["etag"])
            assert (again.status, again.body) == (304, b"")
            assert "content-encoding" not in again.headers
            other = await ask(daemon, path, If_None_Match=reply.headers["etag"])
            assert other.status == 200
        head = await ask(daemon, path, "HEAD")
        assert head.headers["content-length"] == str(len(plain.body))


async def test_any_page_may_read_the_document(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        reply = await ask(daemon, "/openapi.json", Origin="https://elsewhere.example")
        assert json.loads(reply.body) == json.loads(json.dumps(document(daemon.config)))
        assert reply.headers["access-control-allow-origin"] == "*"
        assert reply.headers["content-type"] == "application/json"
        assert reply.headers["cache-control"] == "no-cache"


async def test_other_settings_make_another_document(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        before = await ask(daemon, "/openapi.json")
        same = await ask(daemon, "/openapi.json")
        assert before.headers["etag"] == same.headers["etag"]
        daemon.services.config = msgspec.structs.replace(daemon.config, body_bytes_max=123_456)
        after = await ask(daemon, "/openapi.json", If_None_Match=before.headers["etag"])
        assert after.status == 200
        assert b"123,456 bytes" in after.body


async def test_the_page_is_shown_under_the_servers_own_name_and_runs_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, console=True) as daemon:
        reply = await ask(daemon, "/console/api")
        policy = reply.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self' 'sha256-")
        assert "script-src" not in policy
        assert "access-control-allow-origin" not in reply.headers
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
        assert (await ask(daemon, "/console/api", Host="rebound.example")).status == 421
    async with running(tmp_path, console=False) as daemon:
        assert (await ask(daemon, "/console/api")).status == 404


def test_the_page_tells_of_each_operation_and_shape_and_its_links_lead_somewhere() -> None:
    told = document(Config())
    text = page(told)
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    links = set(re.findall(r'href="#([^"]+)"', text))
    assert links <= set(ids)
    for path, item in told["paths"].items():
        assert f" {html.escape(path)}</code>" in text or f"<code>{html.escape(path)}</code>" in text
        for operation in item.values():
            assert operation.get("x-alias-of", operation["operationId"]) in links
    assert {f"shape-{name}" for name in told["components"]["schemas"]} <= set(ids)
    assert re.findall(r"<script|\sstyle=|\son[a-z]+=", text) == []
    tags = re.findall(r"</?(\w+)", text)
    for tag in ("table", "ul", "p", "details", "code", "h3", "td", "nav"):
        assert len(re.findall(f"<{tag}[ >]", text)) == text.count(f"</{tag}>"), tag
    assert "markdown" not in tags


def test_what_settings_say_is_no_markup() -> None:
    told = document(Config(public_url="https://rrd.example/<script>"))
    told["info"]["description"] = "`<script>` & <b>"
    text = page(told)
    assert "<script>" not in text
    assert "<code>&lt;script&gt;</code> &amp; &lt;b&gt;" in text
