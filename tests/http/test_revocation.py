"""A key that is revoked while something is under way: what came before is stored, and nothing after."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.harness import Keys, eventually, until
from tests.http.api import Api
from tests.samples import ndjson, new_id, some_events

_PADDING = "x" * 1000


async def _revoke(api: Api, key: str) -> None:
    """Revoke it as another process does; return when the daemon knows."""
    Keys(api.daemon.data_dir).revoke(key)

    async def is_known() -> bool:
        return (await api.get("/recordings", key=key)).status == 401

    await eventually(is_known, what="the daemon to hear of the revocation")


@pytest.mark.parametrize("path", ["ingest", "meta"])
async def test_a_body_under_way_is_refused_from_the_revocation_on(api: Api, path: str) -> None:
    recording_id, key = new_id(), api.daemon.key("ingest")
    before, after = some_events(300, padding=_PADDING), some_events(300, start=1_800_000_000_000)

    async def has_begun() -> bool:
        return (await api.get(f"/recordings/{recording_id}/events")).status == 200

    async def body() -> AsyncIterator[bytes]:
        if path == "meta":
            yield b'{"a":"1",'
            await _revoke(api, key)
            yield b'"b":"2"}'
            return
        yield ndjson(before)
        await eventually(has_begun, what="events to be stored")
        await _revoke(api, key)
        yield ndjson(after)

    url = f"{api.daemon.url}/recordings/{recording_id}/{path}"
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
    async with api.session.post(url, data=body(), headers=headers) as answer:
        assert answer.status == 401
        error = (await answer.json())["error"]
    assert error["code"] == "unauthenticated"
    if path == "ingest":
        # What the daemon had not read yet is not taken, and the answer counts what was.
        stored = await api.events(recording_id)
        assert error["successful_rows"] == len(stored) > 0
        assert stored == before[: len(stored)]
    else:
        assert (await api.get(f"/recordings/{recording_id}")).status == 404


async def test_half_a_message_does_not_keep_a_socket_open_after_the_revocation(api: Api) -> None:
    recording_id, key = new_id(), api.daemon.key("ingest")
    before, after = some_events(3), some_events(1)[0][:10]
    socket = await api.socket(recording_id, key=key)
    await socket.send_text(*before)
    await api.stored(recording_id, len(before))
    socket.frame(1, after, final=False)
    Keys(api.daemon.data_dir).revoke(key)
    end = await socket.farewell()
    assert (end.code, end.reason) == (1008, "key revoked or expired")
    assert end.last["successful_rows"] == len(before)
    assert await api.events(recording_id) == before


async def test_a_socket_that_goes_on_sending_stores_nothing_after_the_revocation(api: Api) -> None:
    recording_id, key = new_id(), api.daemon.key("ingest")
    before, after = some_events(3), some_events(50, start=1_800_000_000_000)
    socket = await api.socket(recording_id, key=key)
    await socket.send_text(*before)
    await api.stored(recording_id, len(before))
    await _revoke(api, key)
    await socket.next_json()  # The summary, which comes before the close frame.
    await socket.send_text(*after)
    end = await socket.farewell()
    assert end.code == 1008
    await until(lambda: len(api.daemon.services.sockets) == 0, what="the socket to be gone")
    assert await api.events(recording_id) == before
