"""Page, stage and files of the console: their headers word for word, their compressions, and nothing else."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import brotli
import pytest

from rrd.assets.files import MANIFEST
from tests.harness import running
from tests.http.signed_in import Person, a_person

SHARED = {
    "Origin-Agent-Cluster": "?1",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), display-capture=()",
    "Cache-Control": "no-cache",
}
PAGE = {
    **SHARED,
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; frame-src {stage}; base-uri 'none'; form-action 'none'; "
    "object-src 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
STAGE = {
    **SHARED,
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; "
    "style-src 'self' 'unsafe-inline'{more}; img-src data: blob:{more}; font-src data:{more}; "
    "media-src data: blob:{more}; connect-src 'none'; frame-src 'none'; object-src 'none'; "
    "worker-src 'none'; manifest-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors {console}; require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Embedder-Policy": "credentialless",
    "X-DNS-Prefetch-Control": "off",
}
INDEX = b'<meta name="rrd-stage" content="" /><meta name="rrd-assets" content="" />'
STAGE_PAGE = b'<meta name="rrd-console" content="" />'
SCRIPT = b"export const text = 'x';\n" * 40
FILES = {"index.html": INDEX, "stage.html": STAGE_PAGE, "main.js": SCRIPT, "base.css": b":root {}\n"}


def build(directory: Path, files: dict[str, bytes] = FILES) -> str:
    """Write assets of which the console's are ``files``, and return where."""
    others = ("record.js", "record.js.br", "record.js.gz", "replay.js", "player.js", "body.html", "page.css")
    built = dict.fromkeys(others, b"x")
    for name, body in files.items():
        built |= {
            f"console/{name}": body,
            f"console/{name}.br": brotli.compress(body),
            f"console/{name}.gz": gzip.compress(body),
        }
    (directory / "console").mkdir(parents=True, exist_ok=True)
    for name, body in built.items():
        (directory / name).write_bytes(body)
    digests = {name: base64.b64encode(hashlib.sha384(body).digest()).decode() for name, body in built.items()}
    (directory / MANIFEST).write_text(json.dumps(digests))
    return str(directory)


@pytest.fixture
async def visitor(person: Person, tmp_path: Path) -> Person:
    """A person at a console of a few small files, who is not signed in."""
    person.daemon.services.assets_dir = build(tmp_path / "assets")
    return person


def at_port(text: str, person: Person) -> str:
    return text.replace("{port}", str(person.daemon.port))


# Host → the stage of its page, and who may frame its stage.
HOSTS = {
    "127.0.0.1:{port}": ("http://localhost:{port}", "http://localhost:{port}"),
    "localhost:{port}": ("http://127.0.0.1:{port}", "http://127.0.0.1:{port}"),
    "192.0.2.7:{port}": ("'self'", "'self'"),
    "[::1]:{port}": ("'self'", "'self'"),
}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", ["/console", "/console/"])
async def test_the_page_has_its_headers_and_knows_its_stage(visitor: Person, host: str, path: str) -> None:
    stage = at_port(HOSTS[host][0], visitor)
    own = at_port(f"http://{host}", visitor)
    reply = await visitor.ask("GET", path, headers={"Host": at_port(host, visitor)})
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    wanted = {name: value.replace("{stage}", stage) for name, value in PAGE.items()}
    assert {name: reply.headers.get(name) for name in wanted} == wanted
    origin = own if stage == "'self'" else stage
    assert reply.body.decode() == (
        f'<meta name="rrd-stage" content="{origin}" /><meta name="rrd-assets" content="ask" />'
    )


@pytest.mark.parametrize("host", HOSTS)
async def test_the_stage_has_its_headers_and_knows_who_frames_it(visitor: Person, host: str) -> None:
    console = at_port(HOSTS[host][1], visitor)
    reply = await visitor.ask("GET", "/console/stage", headers={"Host": at_port(host, visitor)})
    assert reply.status == 200
    wanted = {
        name: value.replace("{console}", console).replace("{more}", "") for name, value in STAGE.items()
    }
    assert {name: reply.headers.get(name) for name in wanted} == wanted
    origin = at_port(f"http://{host}", visitor) if console == "'self'" else console
    assert reply.body.decode() == f'<meta name="rrd-console" content="{origin}" />'


async def test_a_configured_stage_serves_the_stage_and_no_console(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "public_url": "https://rrd.example.com", "console_stage_origin": "https://stage.example.com"
    }  # fmt: skip
    async with running(tmp_path, console=True, **settings) as daemon, a_person(daemon) as person:
        daemon.services.assets_dir = build(tmp_path / "assets")
        page = await person.ask("GET", "/console/", headers={"Host": "rrd.example.com"})
        assert "frame-src https://stage.example.com;" in page.headers["Content-Security-Policy"]
        key = daemon.key("read")
        at_stage = {"Host": "stage.example.com", "Origin": "https://stage.example.com"}
        stage = await person.ask("GET", "/console/stage", headers=at_stage)
        assert "frame-ancestors https://rrd.example.com;" in stage.headers["Content-Security-Policy"]
        assert b'content="https://rrd.example.com"' in stage.body
        assert (await person.ask("GET", "/console/main.js", headers=at_stage)).status == 200
        await person.ask(
            "POST", "/console/session", {"key": key},
            headers={"Host": "rrd.example.com", "Origin": "https://rrd.example.com"},
        )  # fmt: skip
        assert person.cookie
        for method, path in (
            ("GET", "/console/"), ("GET", "/console/session"), ("DELETE", "/console/session"),
            ("POST", "/console/session"), ("GET", "/console/api/acme/recordings"),
        ):  # fmt: skip
            body = {"key": key} if method == "POST" else None
            reply = await person.ask(method, path, body, headers=at_stage)
            assert (reply.status, reply.error["code"]) == (404, "not_found"), path


# What is asked for → what a policy says beside its own.
ASSETS = {
    "": "",
    "cdn.example.com": " https://cdn.example.com",
    "A.example.com,b.example.com,a.example.com": " https://a.example.com https://b.example.com",
    "192.0.2.1,127.0.0.1,0x7f.1,10.0.0.0x1,[::1],::1": "",
    "localhost,router.local,nas.lan,a.internal,printer,host.docker.internal,1.0.0.127.in-addr.arpa": "",
    "https://cdn.example.com,cdn.example.com:8443,cdn.example.com/x,*.example.com,*": "",
    "a.example.com; script-src *,'self',data:,a.example.com 'unsafe-eval'": "",
    "a.example.com\r\nX: y,ü.example.com,a..example.com,.example.com,example.com.": "",
    ",".join(f"h{number}.example.com" for number in range(25)): "".join(
        f" https://h{number}.example.com" for number in range(20)
    ),
}


@pytest.mark.parametrize("asked", ASSETS)
async def test_a_recording_loads_from_the_hosts_that_the_watcher_named(visitor: Person, asked: str) -> None:
    reply = await visitor.ask("GET", f"/console/stage?assets={quote(asked)}")
    console = f"http://localhost:{visitor.daemon.port}"
    wanted = STAGE["Content-Security-Policy"].replace("{console}", console).replace("{more}", ASSETS[asked])
    assert reply.headers["Content-Security-Policy"] == wanted


@pytest.mark.parametrize(("setting", "more"), [("none", ""), ("all-https", " https:")])
async def test_the_setting_decides_before_the_watcher(tmp_path: Path, setting: str, more: str) -> None:
    async with running(tmp_path, console=True, console_assets=setting) as daemon, a_person(daemon) as person:
        daemon.services.assets_dir = build(tmp_path / "assets")
        reply = await person.ask("GET", "/console/stage?assets=cdn.example.com")
        assert f"img-src data: blob:{more};" in reply.headers["Content-Security-Policy"]
        page = await person.ask("GET", "/console/")
        assert f'<meta name="rrd-assets" content="{setting}" />'.encode() in page.body


@pytest.mark.parametrize("encoding", ["identity", "br", "gzip"])
async def test_a_file_comes_compressed_and_once(visitor: Person, encoding: str) -> None:
    accept = {"Accept-Encoding": encoding}
    reply = await visitor.ask("GET", "/console/main.js", headers=accept)
    decode = {"identity": bytes, "br": brotli.decompress, "gzip": gzip.decompress}[encoding]
    assert decode(reply.body) == SCRIPT
    assert reply.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert reply.headers.get("Content-Encoding", "identity") == encoding
    assert (reply.headers["Cache-Control"], reply.headers["Vary"]) == ("no-cache", "Accept-Encoding")
    again = await visitor.ask(
        "GET", "/console/main.js", headers={**accept, "If-None-Match": reply.headers["ETag"]}
    )
    assert (again.status, again.body) == (304, b"")
    assert again.headers["ETag"] == reply.headers["ETag"]
    head = await visitor.ask("HEAD", "/console/main.js", headers=accept)
    assert (head.status, head.body, head.headers["ETag"]) == (200, b"", reply.headers["ETag"])


async def test_page_and_stage_are_asked_for_anew_when_what_they_say_has_changed(visitor: Person) -> None:
    for path in ("/console/", "/console/stage"):
        tag = (await visitor.ask("GET", path)).headers["ETag"]
        headers = {"If-None-Match": tag}
        same = await visitor.ask("GET", path, headers=headers)
        assert same.status == 304
        assert "frame-ancestors" in same.headers["Content-Security-Policy"]
        elsewhere = await visitor.ask("GET", path, headers={**headers, "Host": "localhost"})
        assert elsewhere.status == 200


async def test_files_that_were_built_again_are_served_without_a_restart(visitor: Person) -> None:
    directory = Path(visitor.daemon.services.assets_dir)
    before = await visitor.ask("GET", "/console/main.js")
    build(directory, FILES | {"main.js": b"another"})
    at_ns = (directory / MANIFEST).stat().st_mtime_ns + 10**9
    os.utime(directory / MANIFEST, ns=(at_ns, at_ns))
    after = await visitor.ask("GET", "/console/main.js")
    assert after.body == b"another"
    assert after.headers["ETag"] != before.headers["ETag"]


@pytest.mark.parametrize(
    "name",
    [
        *("index.html", "stage.html", "main.js.br", "main.js.gz", "nothing.js", "MAIN.JS", "main.js%00"),
        *("..%2fmanifest.json", "%2e%2e%2frecord.js", "..%5crecord.js", "..%252frecord.js", "main.js/"),
        *("console%2fmain.js", "%2fetc%2fpasswd"),
    ],
)
async def test_no_other_name_leads_anywhere(visitor: Person, name: str) -> None:
    reply = await visitor.ask("GET", f"/console/{name}")
    assert reply.status == (
        200 if name == "main.js/" else 404
    )  # A slash at the end is dropped on every path.


async def test_without_npm_the_console_says_what_to_do(person: Person, tmp_path: Path) -> None:
    person.daemon.services.assets_dir = str(tmp_path / "nothing")
    for path in ("/console/", "/console/stage", "/console/main.js"):
        reply = await person.ask("GET", path)
        assert (reply.status, reply.error["code"]) == (503, "no_assets")
        assert "make assets" in reply.error["message"]


@pytest.mark.usefixtures("visitor")
async def test_a_stage_is_the_same_for_all(visitor: Person) -> None:
    """Neither key nor session changes it: nothing of a recording or a person is in it."""
    without = await visitor.ask("GET", "/console/stage")
    await visitor.operate()
    assert (await visitor.ask("GET", "/console/stage")).body == without.body
