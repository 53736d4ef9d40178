"""Readers that take long, or never read: of answers that the attacker has stored itself."""

from __future__ import annotations

import asyncio
import json

from bench.attacks.link import Attack, Victim, at_once, get_head, link, new_id, post_head
from bench.attacks.texts import MIB, event_of

_RECEIVE_BYTES = 4096
_STORED_MIB = 32
_LISTED = 100
_PAIRS = 90
_VALUE = "v" * 3900


async def _stored(victim: Victim) -> str:
    """Store a recording of 32 MiB and return its id."""
    recording_id = new_id()
    body = event_of(MIB) + b"\n"
    for number in range(_STORED_MIB):
        # Each later than the last, so that none is a repeat.
        await _post(victim, body.replace(b'"timestamp":1', b'"timestamp":%d' % number, 1), recording_id)
    return recording_id


async def _post(victim: Victim, body: bytes, recording_id: str) -> None:
    """Store ``body``. Beside other attacks of the same tenant that may be refused, or cut off, for a while.

    Raises ``ConnectionError`` if the daemon won't have it at all.
    """
    while (status := await _once_posted(victim, body, recording_id)) in {0, 503}:  # noqa: ASYNC110  # It asks a server.
        await asyncio.sleep(0.5)
    if status != 200:
        raise ConnectionError(f"what is to be read could not be stored: {status}")


async def _once_posted(victim: Victim, body: bytes, recording_id: str) -> int:
    """Return the status of the answer; 0 if there is none: a daemon may refuse before it has read all."""
    try:
        async with link(victim) as connection:
            await connection.send(post_head(victim, len(body), recording_id=recording_id) + body)
            return await connection.status()
    except OSError:
        return 0


async def slow_readers(victim: Victim) -> None:
    """Eight readers of a large answer who take a KiB a second."""
    recording_id = await _stored(victim)
    request = get_head(victim, f"/recordings/{recording_id}/events")

    async def once() -> None:
        async with link(victim, receive_bytes=_RECEIVE_BYTES) as connection:
            await connection.send(request)
            while await connection.reader.read(1024):  # noqa: ASYNC110  # Its pace is the attack.
                await asyncio.sleep(1)

    await at_once(8, once)


async def lists_never_read(victim: Victim) -> None:
    """40 lists of a hundred recordings with much metadata."""
    await _store_much_metadata(victim)
    request = get_head(victim, f"/recordings?limit={_LISTED}")

    async def once() -> None:
        async with link(victim, receive_bytes=_RECEIVE_BYTES) as connection:
            await connection.send(request)
            await connection.leave_unread()

    await at_once(40, once)


async def _store_much_metadata(victim: Victim) -> None:
    """A hundred recordings, each with as much metadata as there may be."""
    pairs = {f"key-{number}": _VALUE for number in range(_PAIRS)}
    data = {"tag": "recording-meta", "payload": pairs}
    body = json.dumps({"type": 5, "timestamp": 1, "data": data}).encode()
    for _ in range(_LISTED):
        await _post(victim, body, new_id())


READERS = {
    "slow-readers": Attack("8 readers who take a KiB a second", slow_readers),
    "lists-never-read": Attack("40 lists of 36 MB that are never read", lists_never_read),
}
