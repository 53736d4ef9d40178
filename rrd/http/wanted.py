"""What a list is asked for besides its metadata filters: its order, what happened, what is going on now."""

from __future__ import annotations

import base64
import re
from collections.abc import Set as AbstractSet
from typing import get_args

from aiohttp import web

from rrd.errors import BadRequest
from rrd.http.services import Services
from rrd.index.rows import ListQuery, Sort, StandingRow
from rrd.recordings.recording import Recording

LIVE_S = 60.0
"""A recording that no sender holds open is live for so long after something was stored."""

SORTS: tuple[Sort, ...] = get_args(Sort)
WANTED_PARAMETERS = frozenset(
    {"sort", "from", "to", "url", "minDuration", "minActive", "hasErrors", "live", "summary"}
)
_MS = re.compile(r"-?[0-9]{1,16}(\.[0-9]{1,9})?")
URL_MAX = 4096
_EXACT_MAX = 2.0**53


def wanted_of(request: web.Request, live: dict[str, int]) -> ListQuery | None:
    """Return what a list is to hold; None if nothing is asked for that older clients don't know.

    ``live``: the recordings that are live, by id, with their row ids. Raises ``BadRequest`` with the
    parameter's name.
    """
    query = request.query
    for name in WANTED_PARAMETERS:
        if len(query.getall(name, ())) > 1:
            raise BadRequest(f"{name} may be given once", parameter=name)
    sort = next((known for known in SORTS if known == query.get("sort", "newest")), None)
    if sort is None:
        raise BadRequest(f"sort must be one of {', '.join(SORTS)}", parameter="sort")
    wanted = ListQuery(
        sort=sort,
        from_ms=_ms(request, "from"),
        to_ms=_ms(request, "to"),
        url=_url(request),
        min_duration_ms=_ms(request, "minDuration", least=0),
        min_active_ms=_ms(request, "minActive", least=0),
        has_errors=_flag(request, "hasErrors"),
        among=tuple(live.values()) if _flag(request, "live") else None,
    )
    if wanted.from_ms is not None and wanted.to_ms is not None and wanted.from_ms > wanted.to_ms:
        raise BadRequest("from must not be later than to", parameter="from")
    is_old = not _flag(request, "summary") and WANTED_PARAMETERS.isdisjoint(query.keys() - {"summary"})
    return None if is_old else wanted


def live_recordings(services: Services, tenant: str) -> dict[str, int]:
    """Return a tenant's recordings that are going on, by id, with their row ids.

    A sender holds it open, or something of it was stored less than ``LIVE_S`` ago; and its page has not said
    that it is over.
    """
    since = services.clock.monotonic() - LIVE_S
    return {
        each.recording_id: each.row_id
        for each in services.registry.opened()
        if each.tenant == tenant and each.row_id is not None and _is_live(each, since)
    }


def _is_live(recording: Recording, since: float) -> bool:
    return not recording.is_over and (recording.sources > 0 or recording.used_at >= since)


def standing_members(recording_id: str, row: StandingRow, live: AbstractSet[str]) -> dict[str, object]:
    """Return what a list tells of a recording when it is asked for more; null where it is not known."""
    is_known = row.first_ts is not None and row.last_ts is not None
    return {
        "first": _number(row.first_ts),
        "last": _number(row.last_ts),
        "duration": _number((row.last_ts or 0) - (row.first_ts or 0)) if is_known else None,
        "events": row.events,
        "bytes": row.raw_bytes,
        "live": recording_id in live,
        "activeTime": row.active_ms,
        "clicks": row.clicks,
        "inputs": row.inputs,
        "errors": row.errors,
        "rageBursts": row.rage_bursts,
        "url": row.first_url,
        "activity": None if row.activity is None else base64.b64encode(row.activity).decode(),
    }


def _number(value: float | None) -> float | int | None:
    """Return a time as senders write it: whole ones without a fraction."""
    if value is not None and value.is_integer() and abs(value) < _EXACT_MAX:
        return int(value)
    return value


def _ms(request: web.Request, name: str, *, least: float | None = None) -> float | None:
    text = request.query.get(name)
    if text is None:
        return None
    what = "a time in ms since the epoch" if least is None else "a number of ms"
    if _MS.fullmatch(text) is None or (least is not None and float(text) < least):
        raise BadRequest(f"{name} must be {what}", parameter=name)
    return float(text)


def _url(request: web.Request) -> str | None:
    text = request.query.get("url")
    if text is None:
        return None
    if not text or len(text) > URL_MAX:
        raise BadRequest(f"url must have 1 to {URL_MAX:,} characters", parameter="url")
    if "?" in text or "#" in text:
        raise BadRequest("url has no query string and no fragment: they are not kept", parameter="url")
    return text


def _flag(request: web.Request, name: str) -> bool:
    text = request.query.get(name, "false")
    if text not in {"true", "false"}:
        raise BadRequest(f"{name} must be true or false", parameter=name)
    return text == "true"
