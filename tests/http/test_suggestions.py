"""Which metadata keys and values there are, over the API."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from rrd.access.signing import sign
from tests.http.api import Api
from tests.samples import dump, new_id


async def fill(api: Api) -> None:
    for number in range(3):
        values = {"userId": f"u-{number}", "plan": "paid" if number else "free", "päge/[x]&y=": "a+b c%&ü"}
        reply = await api.request("POST", f"/recordings/{new_id()}/meta", body=dump(values))
        assert reply.status == 200
    other = api.daemon.key("all", tenant="other")
    await api.request("POST", f"/recordings/{new_id()}/meta", body=dump({"secret": "x"}), key=other)


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("", ["plan", "päge/[x]&y=", "userId"]),
        ("?prefix=p", ["plan", "päge/[x]&y="]),
        ("?prefix=p&limit=1", ["plan"]),
        ("?prefix=p%C3%A4ge/%5Bx", ["päge/[x]&y="]),
        ("?prefix=P", []),
        ("?prefix=s", []),
        ("?prefix=", ["plan", "päge/[x]&y=", "userId"]),
    ],
)
async def test_keys_are_told_by_name(api: Api, query: str, keys: list[str]) -> None:
    await fill(api)
    reply = await api.get(f"/metaKeys{query}")
    own = [key for key in reply.json()["keys"] if key in {"plan", "päge/[x]&y=", "userId", "secret"}]
    assert own == keys


@pytest.mark.parametrize(
    ("key", "query", "values"),
    [
        ("userId", "", ["u-0", "u-1", "u-2"]),
        ("userId", "&limit=2", ["u-0", "u-1"]),
        ("userId", "&prefix=u-1", ["u-1"]),
        ("plan", "&prefix=", ["free", "paid"]),
        ("päge/[x]&y=", "", ["a+b c%&ü"]),
        ("none", "", []),
        ("secret", "", []),
        ("", "", []),
    ],
)
async def test_values_are_told_by_name(api: Api, key: str, query: str, values: list[str]) -> None:
    await fill(api)
    reply = await api.get(f"/metaValues?key={quote(key)}{query}")
    assert reply.json() == {"key": key, "values": values}


async def test_what_is_erased_is_no_longer_told(api: Api) -> None:
    recording_id = new_id()
    await api.request("POST", f"/recordings/{recording_id}/meta", body=dump({"userId": "gone"}))
    assert (await api.get("/metaValues?key=userId")).json()["values"] == ["gone"]
    eraser = api.daemon.key("erase")
    assert (await api.request("DELETE", f"/recordings/{recording_id}", key=eraser)).status == 200
    assert (await api.get("/metaValues?key=userId")).json()["values"] == []
    assert "userId" not in (await api.get("/metaKeys")).json()["keys"]


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/metaKeys?limit=0", "limit"),
        ("/metaKeys?limit=101", "limit"),
        ("/metaKeys?limit=x", "limit"),
        ("/metaKeys?limit=", "limit"),
        ("/metaKeys?limit=1&limit=1", "limit"),
        ("/metaKeys?key=userId", "key"),
        ("/metaKeys?meta[userId]=x", "meta[userId]"),
        ("/metaKeys?Prefix=x", "Prefix"),
        ("/metaKeys?prefix=x&prefix=y", "prefix"),
        ("/metaValues", "key"),
        ("/metaValues?prefix=x", "key"),
        ("/metaValues?key=a&key=b", "key"),
        ("/metaValues?key=a&limit=-1", "limit"),
        ("/metaValues?key=a&offset=1", "offset"),
    ],
)
async def test_what_is_out_of_bounds_is_named(api: Api, target: str, name: str) -> None:
    reply = await api.get(target)
    assert reply.status == 400
    assert reply.error["parameter"] == name


@pytest.mark.parametrize("target", ["/metaKeys", "/metaValues?key=userId"])
async def test_a_private_key_is_needed(api: Api, target: str) -> None:
    assert (await api.get(target, key="")).status == 401
    assert (await api.get(target, key=api.daemon.key("ingest"))).status == 403
    assert (await api.get(f"{target}{'&' if '?' in target else '?'}token={api.key}", key="")).status == 200


@pytest.mark.parametrize("path", ["/metaKeys", "/metaValues"])
async def test_a_presigned_url_does_not_do(api: Api, path: str) -> None:
    key = api.daemon.signing_key()
    query = sign(
        secret=key.secret, key_id=key.key_id, tenant="acme", method="GET", scope_path=path, expires_s=2**33
    )
    target = f"{path}?{query}" + ("&key=userId" if path == "/metaValues" else "")
    reply = await api.get(target, key="")
    assert (reply.status, reply.error["code"]) == (403, "forbidden")
