"""What callers of a daemon do stands in its audit log: by whom, and without keys, addresses or filters."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness import LocalDaemon, running
from tests.http.api import Api, visiting
from tests.http.signed_in import Person, a_person
from tests.samples import ndjson, new_id, some_events


@pytest.fixture
async def person(tmp_path: Path) -> AsyncIterator[Person]:
    async with running(tmp_path, console=True) as daemon, a_person(daemon) as person:
        yield person


def lines(daemon: LocalDaemon) -> list[dict[str, object]]:
    text = Path(daemon.data_dir, "audit.ndjson").read_text()
    assert not [secret for secret in daemon.secrets if secret in text]
    assert "127.0.0.1" not in text
    return [
        {key: value for key, value in json.loads(line).items() if key != "at"} for line in text.splitlines()
    ]


async def test_an_erasure_is_noted_by_its_key_and_without_what_was_looked_for(api: Api) -> None:
    daemon, recording_id = api.daemon, new_id()
    erase = daemon.key("erase")
    key_id = next(row.id for row in daemon.services.gate.key_rows().values() if row.scope == "erase")
    for each in (recording_id, new_id()):
        await api.post(each, ndjson(some_events(3)))
        await api.request("POST", f"/recordings/{each}/meta", body=b'{"userId":"jane-doe"}')
    assert (await api.request("DELETE", f"/recordings/{recording_id}", key=erase)).status == 200
    assert (await api.request("DELETE", "/recordings?meta[userId]=jane-doe", key=erase)).status == 200
    assert (await api.request("DELETE", f"/recordings/{new_id()}", key=erase)).status == 404
    who = {"event": "erased", "who": f"key:{key_id}", "tenant": "acme"}
    assert lines(daemon) == [
        who | {"recording": recording_id, "recordings": 1, "events": 3},
        who | {"recordings": 1, "events": 3},
    ]


async def test_what_a_person_does_at_the_console_is_noted_by_the_session(person: Person) -> None:
    daemon, recording_id = person.daemon, new_id()
    await person.record(recording_id)
    read = daemon.key("read")
    key_id = next(row.id for row in daemon.services.gate.key_rows().values() if row.scope == "read")
    await person.sign_in(key=read)
    path = f"/console/api/acme/recordings/{recording_id}/share"
    assert (await person.ask("POST", path, {"expiresInS": 600})).status == 200
    await person.operate()
    reply = await person.ask("POST", "/console/api/acme/keys", {"origin": "https://a.example"})
    daemon.secrets.append(reply.json()["key"])
    assert (await person.ask("DELETE", "/console/session")).status == 204
    told = lines(daemon)
    assert len({line.pop("who") for line in told}) == 1
    shared = told.pop(2)
    assert shared.pop("expires")
    assert shared == {"event": "shared", "tenant": "acme", "recording": recording_id, "key": told[1]["key"]}
    made = told[3].pop("key")
    assert made in daemon.services.gate.key_rows()
    assert told == [
        {"event": "console_signed_in", "key": key_id},
        {"event": "signing_key_made", "key": told[1]["key"], "tenant": "acme"},
        {"event": "console_signed_in", "is_operator": True},
        {"event": "key_made", "tenant": "acme", "scope": "ingest", "origins": ["https://a.example"]},
        {"event": "console_signed_out"},
    ]


async def test_reading_and_writing_are_not_noted(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon, visiting(daemon) as api:
        recording_id = new_id()
        await api.post(recording_id, ndjson(some_events(3)))
        assert (await api.get(f"/recordings/{recording_id}/events")).status == 200
        assert not (tmp_path / "audit.ndjson").exists()
