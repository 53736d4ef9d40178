"""A recording as a page: what it holds, how large it may be, who gets it; the command makes the same."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import re
import sys
import zlib
from pathlib import Path

import pytest

from rrd.access.signing import recording_path, sign
from tests.assets.building import built_assets
from tests.harness import ROOT, running
from tests.http.api import NDJSON, Api, Reply, visiting
from tests.samples import an_event, ndjson, new_id, some_events

pytestmark = pytest.mark.table

START_MS = 1_700_000_000_000
_BLOCK = re.compile(rb'<script type="application/gzip">([^<]*)</script>')


@pytest.fixture(scope="module", autouse=True)
def _assets() -> None:
    built_assets()


def lines_of(page: bytes) -> bytes:
    """Return the events in a page, as the browser unpacks them."""
    packed = b"".join(base64.b64decode(block, validate=True) for block in _BLOCK.findall(page))
    return zlib.decompress(packed, 31)


async def export(api: Api, recording_id: str, query: str = "") -> Reply:
    return await api.get(f"/recordings/{recording_id}/export.html{query}")


async def posted(api: Api, lines: list[bytes]) -> str:
    recording_id = new_id()
    assert (await api.post(recording_id, ndjson(lines))).status == 200
    return recording_id


def noisy(count: int, *, size: int) -> list[bytes]:
    """Return events that hardly compress, with what could end a script or a comment in them."""
    noise = random.Random(1)
    return [
        an_event(START_MS + number, text=f"</script><!--{noise.randbytes(size // 2).hex()}")
        for number in range(count)
    ]


async def test_a_page_holds_the_events_in_a_replayers_order(api: Api) -> None:
    recording_id = await posted(api, list(reversed(noisy(300, size=6000))))
    reply = await export(api, recording_id)
    lines = await api.get(f"/recordings/{recording_id}/events", headers={"Accept": NDJSON})
    assert reply.status == 200
    assert lines_of(reply.body) == lines.body
    assert len(_BLOCK.findall(reply.body)) > 2
    assert reply.headers["Content-Type"].startswith("text/html")
    name = f"recording-{recording_id}.html"
    assert reply.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert reply.body.rstrip().endswith(b"</html>")
    assert b'<data id="end" data-missing="0">' in reply.body


async def test_its_policy_names_its_two_scripts_and_nothing_else(api: Api) -> None:
    import hashlib

    reply = await export(api, await posted(api, noisy(3, size=50)))
    head = reply.body.decode()
    policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', head)
    assert policy is not None
    # Nothing that the policy should cover stands before it.
    assert head[: policy.start()] == '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    scripts = re.findall(r"<script>(.*?)</script>", head, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    assert len(digests) == 2
    assert policy[1] == (
        f"default-src 'none'; script-src 'sha256-{digests[0]}' 'sha256-{digests[1]}';"
        " style-src 'unsafe-inline'; img-src data:; font-src data:; media-src data:; base-uri 'none';"
        " form-action 'none'"
    )
    assert reply.headers["Content-Security-Policy"] == policy[1]
    markup = re.sub(r"<script.*?</script>", "", head, flags=re.DOTALL)
    assert re.findall(r"<(?:link|iframe|object|base)\b", markup) == []


async def test_a_part_by_time(api: Api) -> None:
    recording_id = await posted(api, some_events(30, start=START_MS))
    query = f"?from={START_MS + 10}&to={START_MS + 20}"
    reply = await export(api, recording_id, query)
    lines = await api.get(f"/recordings/{recording_id}/events{query}", headers={"Accept": NDJSON})
    assert lines_of(reply.body) == lines.body
    assert lines.body.count(b"\n") == 10
    assert lines_of((await export(api, recording_id, f"?from={START_MS + 90}")).body) == b""


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("?form=stored", "form"),
        ("?limit=3", "limit"),
        ("?From=3", "From"),
        ("?meta[a]=b", "meta[a]"),
        ("?from=yesterday", "from"),
        ("?from=9&to=3", "from"),
        ("?salvage=perhaps", "salvage"),
    ],
)
async def test_what_it_does_not_take_is_refused_by_name(api: Api, query: str, parameter: str) -> None:
    reply = await export(api, await posted(api, some_events(3)), query)
    assert (reply.status, reply.error["parameter"]) == (400, parameter)


async def test_who_gets_it(api: Api) -> None:
    recording_id = await posted(api, some_events(3))
    path = f"/recordings/{recording_id}/export.html"
    assert (await api.get(path, key="")).status == 401
    assert (await api.get(path, key=api.daemon.key("ingest"))).status == 403
    assert (await api.get(path, key=api.daemon.key("read", tenant="other"))).status == 404
    assert (await api.get(path, key=api.daemon.key("read"))).status == 200
    assert (await api.get(f"/recordings/{new_id()}/export.html")).status == 404
    assert (await api.get("/recordings/nonsense/export.html")).status == 400
    key = api.daemon.signing_key()
    query = sign(
        secret=key.secret, key_id=key.key_id, tenant="acme", method="GET",
        scope_path=recording_path(recording_id), expires_s=2**33,
    )  # fmt: skip
    assert (await api.get(f"{path}?{query}&to={2**50}", key="")).status == 200
    assert (await api.get(f"/recordings/{new_id()}/export.html?{query}", key="")).status == 401


async def test_it_is_sent_once_as_long_as_nothing_is_new(api: Api) -> None:
    recording_id = await posted(api, some_events(3))
    reply = await export(api, recording_id)
    tag = reply.headers["ETag"]
    again = await api.get(f"/recordings/{recording_id}/export.html", headers={"If-None-Match": tag})
    assert (again.status, again.body) == (304, b"")
    part = await export(api, recording_id, "?from=5")
    assert part.headers["ETag"] != tag
    await api.post(recording_id, ndjson(some_events(1, start=START_MS + 99)))
    later = await api.get(f"/recordings/{recording_id}/export.html", headers={"If-None-Match": tag})
    assert later.status == 200
    head = await api.request("HEAD", f"/recordings/{recording_id}/export.html")
    assert (head.status, head.body, head.headers["ETag"]) == (200, b"", later.headers["ETag"])


async def test_what_is_too_long_is_refused_with_the_times_to_choose_from(tmp_path: Path) -> None:
    async with running(tmp_path, html_export_bytes_max=1 << 20) as daemon, visiting(daemon) as api:
        # One block a body: a part of it can't be told by headers alone.
        recording_id = await posted(api, noisy(400, size=4000))
        reply = await export(api, recording_id)
        assert (reply.status, reply.error["code"]) == (400, "export_too_large")
        message = reply.error["message"]
        for word in ("`from`", "`to`", "1.0 MiB", "1.6 MiB", str(START_MS), str(START_MS + 399)):
            assert word in message, message
        assert (await api.request("HEAD", f"/recordings/{recording_id}/export.html")).status == 400

        part = await export(api, recording_id, f"?from={START_MS + 100}&to={START_MS + 200}")
        assert lines_of(part.body).count(b"\n") == 100
        most = await export(api, recording_id, f"?from={START_MS + 1}")
        assert most.error["code"] == "export_too_large"


async def test_a_damaged_recording_is_refused_and_salvaged(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon, visiting(daemon) as api:
        recording_id = new_id()
        for start in (0, 10, 20):
            await api.post(recording_id, ndjson(some_events(10, start=START_MS + start)))
        (segment,) = daemon.segments("active")
        data = bytearray(segment.read_bytes())
        data[len(data) // 2] ^= 1
        segment.write_bytes(data)
        reply = await export(api, recording_id)
        assert (reply.status, reply.error["code"]) == (500, "recording_damaged")
        reply = await export(api, recording_id, "?salvage=true")
        assert (reply.status, reply.headers["Rrd-Missing-Events"]) == (200, "10")
        assert lines_of(reply.body).count(b"\n") == 20
        assert b'<data id="end" data-missing="10">' in reply.body


@pytest.mark.parametrize("part", [(), ("--from", str(START_MS + 50), "--to", str(START_MS + 250))])
async def test_the_command_writes_the_same_bytes(api: Api, tmp_path: Path, part: tuple[str, ...]) -> None:
    recording_id = await posted(api, noisy(300, size=5000))
    query = f"?from={part[1]}&to={part[3]}" if part else ""
    reply = await export(api, recording_id, query)
    output = tmp_path / "visit.html"
    status, _, told = await rrd(api, "export", "--html", recording_id, *part, "--output", str(output))
    assert status == 0, told
    assert output.read_bytes() == reply.body
    status, written, _ = await rrd(api, "export", "--html", recording_id, *part)
    assert (status, written) == (0, reply.body)


async def test_the_command_says_what_is_wrong(api: Api, tmp_path: Path) -> None:
    recording_id = await posted(api, noisy(300, size=5000))
    output = tmp_path / "visit.html"
    for arguments, words in (
        (("--all", "--html"), "--html RECORDING"),
        ((recording_id, new_id(), "--html"), "--html RECORDING"),
        ((recording_id, "--html", "--with-ids"), "--html RECORDING"),
    ):
        status, _, told = await rrd(api, "export", *arguments, "--output", str(output))
        assert status == 1
        assert words in told
    config = tmp_path / "rrd.toml"
    config.write_text("html_export_bytes_max = 1048576\n")
    status, _, told = await rrd(
        api, "export", "--config", str(config), "--html", recording_id, "--output", str(output)
    )
    assert status == 1
    assert "`from` and `to`" in told
    assert not [name for name in os.listdir(tmp_path) if "visit" in name]


async def rrd(api: Api, *arguments: str) -> tuple[int, bytes, str]:
    """Run a command beside the daemon; return its status, what it wrote, and what it told."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RRD_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rrd", *arguments, "--data-dir", api.daemon.data_dir,
        cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, told = await process.communicate()
    return process.returncode or 0, output, told.decode()


async def test_an_installation_without_the_player_says_what_to_do(api: Api, tmp_path: Path) -> None:
    recording_id = await posted(api, some_events(3))
    api.daemon.services.assets_dir = str(tmp_path)
    reply = await export(api, recording_id)
    assert (reply.status, reply.error["code"]) == (503, "no_assets")
    assert "make assets" in reply.error["message"]


async def test_without_a_console_a_link_for_people_leads_nowhere(api: Api) -> None:
    recording_id = await posted(api, some_events(3))
    for key in (None, ""):
        reply = await api.get(f"/recordings/{recording_id}/preview", key=key)
        assert (reply.status, reply.error["code"]) == (404, "no_console")
        assert "export.html" in reply.error["message"]


def test_the_scripts_of_a_page_are_those_of_the_repository() -> None:
    """The player and the sanitizer stand in a page as they are here: no build step changes them."""
    sources = [(ROOT / "assets" / name).read_text() for name in ("console/sanitize.js", "export/player.js")]
    assert (ROOT / "rrd/assets/built/player.js").read_text() == "".join(sources)
