"""Notes in the audit log what a caller did: by its key or session, never by its address."""

from __future__ import annotations

import asyncio
import functools

from rrd import audit
from rrd.access.gate import Grant
from rrd.audit import AuditEvent
from rrd.console.sessions import Session
from rrd.http.services import Services

_KINDS = {"key": "key", "signing_key": "signing-key", "session": "session"}


async def note_done(services: Services, event: AuditEvent, who: Grant | Session, **fields: object) -> None:
    """Note what was done; return when that is on disk. Cancelled, it is noted all the same."""
    name = f"{_KINDS[who.kind]}:{who.key_id}" if isinstance(who, Grant) else f"session:{who.id}"
    write = functools.partial(
        audit.note, services.config.data_dir, event, {"who": name, **fields}, clock=services.clock
    )
    await asyncio.to_thread(write)
