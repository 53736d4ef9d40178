"""Who the client is, and which path it means, behind proxies that each write it in their own way."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.http.caller import client_address
from tests.harness import running
from tests.http.api import Api, visiting
from tests.samples import an_event, meta_event, ndjson, new_id, some_events

TRUSTED = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "fd00::/8", "fe80::/10")

# Peer, X-Forwarded-For, the client's address.
CHAINS = {
    "none": ("203.0.113.7", [], "203.0.113.7"),
    "not trusted": ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
    "one": ("127.0.0.1", ["203.0.113.7"], "203.0.113.7"),
    "two proxies": ("127.0.0.1", ["203.0.113.7, 10.1.2.3"], "203.0.113.7"),
    "two headers": ("127.0.0.1", ["203.0.113.7", "10.1.2.3"], "203.0.113.7"),
    "made up": ("127.0.0.1", ["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
    "port": ("127.0.0.1", ["203.0.113.7:51324"], "203.0.113.7"),
    "ports": ("127.0.0.1", ["203.0.113.7:51324,10.1.2.3:443"], "203.0.113.7"),
    "IPv6": ("127.0.0.1", ["2001:db8::7"], "2001:db8::7"),
    "IPv6 at length": ("127.0.0.1", ["2001:0DB8:0:0:0:0:0:7"], "2001:db8::7"),
    "brackets": ("127.0.0.1", ["[2001:db8::7]"], "2001:db8::7"),
    "brackets and port": ("127.0.0.1", ["[2001:db8::7]:443"], "2001:db8::7"),
    "quoted": ("127.0.0.1", ['"[2001:db8::7]:443"'], "2001:db8::7"),
    "quoted IPv4": ("127.0.0.1", ['"203.0.113.7:80"'], "203.0.113.7"),
    "zone": ("127.0.0.1", ["203.0.113.7, fe80::1%eth0"], "203.0.113.7"),
    "zone of the peer": ("fe80::1%eth0", ["203.0.113.7"], "203.0.113.7"),
    "bracketed proxy": ("::1", ["203.0.113.7, [fd00::2]:8080"], "203.0.113.7"),
    "mapped peer": ("::ffff:127.0.0.1", ["203.0.113.7"], "203.0.113.7"),
    "mapped client": ("127.0.0.1", ["::ffff:203.0.113.7"], "203.0.113.7"),
    "mapped proxy": ("127.0.0.1", ["203.0.113.7, [::ffff:10.1.2.3]:1"], "203.0.113.7"),
    "empty members": ("127.0.0.1", [" , 203.0.113.7, ,10.1.2.3, "], "203.0.113.7"),
    "empty header": ("127.0.0.1", [""], "127.0.0.1"),
    "unknown": ("127.0.0.1", ["unknown"], ""),
    "hidden": ("127.0.0.1", ["203.0.113.7, _proxy"], ""),
    "unknown before a proxy": ("127.0.0.1", ["203.0.113.7, unknown, 10.1.2.3"], ""),
    "only proxies": ("127.0.0.1", ["10.1.2.3, 10.1.2.4"], "10.1.2.3"),
    "a name": ("127.0.0.1", ["visitor.example"], ""),
    "junk": ("127.0.0.1", ["203.0.113.999"], ""),
    "no peer": ("", ["203.0.113.7"], ""),
}


@pytest.mark.parametrize("name", CHAINS)
def test_the_client_is_found_behind_proxies(name: str) -> None:
    peer, forwarded, address = CHAINS[name]
    assert client_address(peer, forwarded, TRUSTED) == address


@given(st.ip_addresses(), st.integers(0, 65535))
def test_every_way_to_write_an_address_means_the_same(address: object, port: int) -> None:
    is_v6 = ":" in str(address)
    plain = f"[{address}]" if is_v6 else str(address)
    for form in (str(address), plain, f"{plain}:{port}", f'"{plain}"', f'"{plain}:{port}"', f" {plain} "):
        found = client_address("127.0.0.1", [form], ("127.0.0.1/32",))
        assert found == str(getattr(address, "ipv4_mapped", None) or address)


async def test_an_address_with_its_port_is_stored_without_it(api: Api) -> None:
    recording_id = new_id()
    body = ndjson([meta_event(1, includePii=True), an_event(2)])
    await api.post(recording_id, body, headers={"X-Forwarded-For": "[2001:db8::7]:443"})
    assert (await api.metadata(recording_id))["ipAddress"] == "2001:db8::7"


# A slash too many, the path that is meant.
_ID = "0b9f6a1e-52f7-4b8e-9d57-1a2b3c4d5e6f"
SLASHES = [
    f"//recordings/{_ID}/ingest",
    f"/recordings/{_ID}/ingest/",
    f"//recordings//{_ID}//ingest//",
    f"///recordings/{_ID}/events/",
    f"/recordings/{_ID}/events//",
    f"//ingest/?recordingId={_ID}",
    f"//?recordingId={_ID}",
]


@pytest.mark.parametrize("path", SLASHES)
async def test_slashes_too_many_lose_no_events(api: Api, path: str) -> None:
    events = some_events(2)
    reply = await api.request("POST", path, body=ndjson(events))
    assert (reply.status, reply.json()["successful_rows"]) == (200, 2)
    socket = await api.socket(_ID, path=path.partition("?")[0].rstrip("/") + "//ws/", recordingId=_ID)
    await socket.send_text(an_event(1_800_000_000_000))
    assert (await socket.finish()).code == 1000
    for target in (f"//recordings/{_ID}/events/", f"/recordings//{_ID}//events"):
        assert (await api.get(target)).body.count(b'"sequenceId"') == 3
    assert (await api.get(f"/recordings/{_ID}/")).status == 200
    assert (await api.get("/recordings/?limit=1")).json()["recordings"]


async def test_a_slash_that_is_encoded_separates_nothing(api: Api) -> None:
    for path in (
        f"/recordings%2F{_ID}/ingest",
        f"/recordings/{_ID}%2Fingest",
        f"%2F/recordings/{_ID}/ingest",
    ):
        reply = await api.request("POST", f"/{path.lstrip('/')}", body=an_event(1))
        assert reply.status in {400, 404, 405}
        assert "%2F" in reply.error["message"] or reply.status == 400
    assert (await api.get(f"/recordings/{_ID}/events")).status == 404


async def test_an_absolute_target_is_tidied_too(api: Api) -> None:
    from tests.http.test_framing import exchange, post

    request = post(api, _ID, "Connection: close", length=len(an_event(1)), body=an_event(1))
    request = request.replace(b"POST /recordings/", b"POST http://rrd.test//recordings//").replace(
        b"/ingest ", b"/ingest/ "
    )
    (reply,) = await exchange(api, [request])
    assert reply.status == 200


async def test_deleting_takes_paths_to_the_letter(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon, visiting(daemon) as api:
        recording_id = new_id()
        await api.request("POST", f"/recordings/{recording_id}/meta", body=b'{"a":"b"}')
        key = daemon.key("erase")
        for path in ("/recordings/?meta[a]=b", "//recordings?meta[a]=b", f"/recordings//{recording_id}"):
            assert (await api.request("DELETE", path, key=key)).status in {404, 405}
        assert await api.metadata(recording_id) == {"a": "b"}
