"""What a start prints for the person who looks on: the first keys, how to use them, where the console is."""

from __future__ import annotations

import asyncio
import logging
import os

from rrd.access.gate import Gate
from rrd.access.keys import KeyStore, Scope
from rrd.audit import note, user
from rrd.config import Config
from rrd.console.sign_in_url import sign_in_url
from rrd.errors import RrdError
from rrd.http.services import Services
from rrd.log import emit

logger = logging.getLogger(__name__)

_TENANT = "default"


def mint_first_keys(store: KeyStore, gate: Gate) -> list[str]:
    """Make one public and one private key where there is none yet, and return them. They count at once."""
    if store.list_keys():
        return []
    keys: list[str] = []
    scopes: tuple[Scope, ...] = ("ingest", "read")
    for scope in scopes:
        key_id, key = store.create_key(tenant=_TENANT, scope=scope, label="made at the first start")
        made = {"key": key_id, "tenant": _TENANT, "scope": scope}
        note(os.path.dirname(store.path), "key_made", user() | made)
        keys.append(key)
    gate.refresh()
    return keys


def greet(config: Config, port: int, first_keys: list[str]) -> None:
    """On the first start, show the keys and how to use them, on stdout: never in the log."""
    if not first_keys:
        return
    public, private = first_keys
    url = f"http://{config.host}:{port}/recordings/00000000-0000-4000-8000-000000000001"
    event_json = '{"type":5,"timestamp":1700000000000,"data":{"tag":"hello","payload":{}}}'
    print(
        f"""
Keys for tenant {_TENANT!r}. They are shown this once; `rrd keys create` makes more.

  public key (may write):  {public}
  private key (may read):  {private}

Send an event, and read it back:

  curl -H 'Authorization: Bearer {public}' -H 'Content-Type: application/json' \\
    -d '{event_json}' {url}/ingest
  curl -H 'Authorization: Bearer {private}' {url}/events
""",
        flush=True,
    )


async def greet_console(services: Services, port: int) -> None:
    """Show where the console is, with a token that signs in once: on stdout, never in the log."""
    if services.desk is None:
        return
    try:
        token = await asyncio.to_thread(services.desk.sessions.new_sign_in)
    except RrdError as error:
        emit(logger, logging.WARNING, "no_sign_in", error=error, next_step="rrd console prints an address")
        return
    print(
        "Open the console to watch recordings. The address signs in once, within 15 minutes; `rrd console`"
        f" prints another.\n\n  {sign_in_url(services.config, port, token)}\n",
        flush=True,
    )
