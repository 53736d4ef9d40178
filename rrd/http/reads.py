"""Reading: a recording's metadata, the list of recordings, statistics."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

import orjson
from aiohttp import hdrs, web

from rrd.access.gate import Grant
from rrd.access.signing import RECORDINGS_PATH, STATISTICS_PATH, recording_path, sign
from rrd.errors import BadRequest
from rrd.http.caller import authorize
from rrd.http.filters import KEY_PARAMETERS, filters_of, refuse_filters
from rrd.http.link_host import check_link_host
from rrd.http.lookup import may_read, visible
from rrd.http.pieces import ANSWER_BYTES, PIECE_BYTES, send_json
from rrd.http.problems import json_response
from rrd.http.reading import reader_of, reading
from rrd.http.services import SERVICES, Services
from rrd.http.wanted import WANTED_PARAMETERS, live_recordings, standing_members, wanted_of
from rrd.index.rows import ListedRecording

LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX = 50, 100
OFFSET_MAX = 2**31
_SIGNED_URL_LIFETIME_S = 3600
_LIST_END = b"]}"
_LIST_PARAMETERS = KEY_PARAMETERS | WANTED_PARAMETERS | {"limit", "offset", "includeSignedUrls"}


async def get_recording(request: web.Request) -> web.StreamResponse:
    """``GET /recordings/{id}``: its metadata."""
    services = request.app[SERVICES]
    recording_id, grant = await may_read(request, services)
    row = await visible(services, grant, recording_id)
    shape = request.query.get("shape", services.config.metadata_shape)
    if shape not in {"list", "object"}:
        raise BadRequest("shape must be list or object", parameter="shape")

    async with reading(services, reader_of(grant), least=ANSWER_BYTES, most=ANSWER_BYTES):
        rows = await services.index.metadata(row.tenant, row.recording_id)
        told: object
        if shape == "object":
            told = {"metadata": {found.key: found.value for found in rows}}
        else:
            told = [
                {"key": found.key, "value": found.value, "timestamp": found.at_ms, "version": found.version}
                for found in rows
            ]
        return await send_json(request, orjson.dumps(told))


async def list_recordings(request: web.Request) -> web.StreamResponse:
    """``GET /recordings``: newest first, filtered by metadata.

    ``meta[KEY]=VALUE``, all of which a recording must have. ``limit``: 1 to 100, default 50. ``offset``: from
    0. ``includeSignedUrls``: ``true`` adds ``links.eventsSigned``, good for an hour.

    With one of these, each item has what is known of what happened in it: ``summary=true``; ``sort``:
    ``newest`` (default), ``duration``, ``active``, ``errors`` or ``bytes``, the greatest first; ``from`` and
    ``to`` (ms since the epoch): it began then or later, and before; ``url``: it was there, without query
    string and fragment, or with a ``*`` at its end; ``minDuration`` and ``minActive`` (ms);
    ``hasErrors=true``; ``live=true``. Except the first two they narrow the list. Each may be given once.

    400 with the name of the parameter, 401, 403.
    """
    services = request.app[SERVICES]
    grant = await authorize(request, services, right="read", scope_path=RECORDINGS_PATH)
    filters = filters_of(request.query, known=_LIST_PARAMETERS, others_pass=True)
    limit = _number(request, "limit", LIST_LIMIT_DEFAULT, 1, LIST_LIMIT_MAX)
    offset = _number(request, "offset", 0, 0, OFFSET_MAX)
    # Paths, unless a setting says what the world calls this server: a proxy or a client may say otherwise.
    base = services.config.public_url.rstrip("/")
    signer = _signer(request, services, grant)
    live = live_recordings(services, grant.tenant) if WANTED_PARAMETERS & request.query.keys() else {}
    wanted = wanted_of(request, live)

    def encode(found: ListedRecording) -> bytes:
        item = _listed(found, base, signer)
        if found.standing is not None:
            item |= standing_members(found.recording_id, found.standing, live.keys())
        return orjson.dumps(item)

    async def others(row_ids: Sequence[int]) -> AsyncGenerator[bytes, None]:
        while row_ids:
            piece = await services.index.continue_list(
                row_ids, encode=encode, bytes_max=PIECE_BYTES, with_standing=wanted is not None
            )
            row_ids = piece.rest
            text = b"".join(b"," + item for item in piece.items) + (b"" if row_ids else _LIST_END)
            del piece  # Nothing is held twice while the taker is waited for.
            yield text
            del text

    async with reading(services, reader_of(grant), least=ANSWER_BYTES, most=ANSWER_BYTES):
        piece = await services.index.begin_list(
            grant.tenant, filters=filters, limit=limit, offset=offset, encode=encode, bytes_max=PIECE_BYTES,
            wanted=wanted,
        )  # fmt: skip
        items, rest = piece
        del piece
        # Handed over and not kept: what is sent is in memory once.
        items[:] = [b'{"recordings":[' + b",".join(items) + (b"" if rest else _LIST_END)]
        return await send_json(request, items.pop(), others(rest) if rest else None)


def _listed(found: ListedRecording, base: str, signer: Callable[[str], str] | None) -> dict[str, object]:
    self_link = base + recording_path(quote(found.recording_id))
    links = {"self": self_link, "events": f"{self_link}/events"}
    if signer is not None:
        links["eventsSigned"] = f"{self_link}/events?{signer(found.recording_id)}"
    return {
        "recordingId": found.recording_id,
        "timestamp": found.created_ms,
        "links": links,
        "metadata": found.metadata,
    }


def _signer(request: web.Request, services: Services, grant: Grant) -> Callable[[str], str] | None:
    wanted = request.query.get("includeSignedUrls", "false")
    if wanted not in {"true", "false"}:
        raise BadRequest("includeSignedUrls must be true or false", parameter="includeSignedUrls")
    if wanted == "false":
        return None
    expires_s = services.clock.now_ms() // 1000 + _SIGNED_URL_LIFETIME_S
    gate = services.gate
    key = gate.signing_key(grant.tenant, until_ms=1000 * expires_s) or gate.signing_key(grant.tenant)
    if key is None:
        raise BadRequest(
            "signed URLs need a signing key: rrd signing-keys create", code="no_signing_key",
            parameter="includeSignedUrls",
        )  # fmt: skip
    check_link_host(request.headers.get(hdrs.HOST, ""), services.config)
    if key.expires_ms is not None:
        expires_s = min(expires_s, key.expires_ms // 1000)
    if grant.kind == "signing_key":
        # A presigned URL must not mint one that outlives it.
        expires_s = min(expires_s, int(request.query["expires"]))

    def signed(recording_id: str) -> str:
        return sign(
            secret=key.secret, key_id=key.key_id, tenant=grant.tenant, method="GET",
            scope_path=recording_path(recording_id), expires_s=expires_s,
        )  # fmt: skip

    return signed


def _number(request: web.Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal()) or not least <= int(text[:12]) <= most or len(text) > 12:
        raise BadRequest(f"{name} must be a number from {least} to {most}", parameter=name)
    return int(text)


async def get_statistics(request: web.Request) -> web.Response:
    """``GET /statistics``: of the key's tenant."""
    services = request.app[SERVICES]
    grant = await authorize(request, services, right="read", scope_path=STATISTICS_PATH)
    refuse_filters(request.query, known=KEY_PARAMETERS)
    now = datetime.fromtimestamp(services.clock.now_ms() / 1000, UTC)
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    found = await services.index.statistics(grant.tenant, month_start_ms=int(month.timestamp() * 1000))
    return json_response(
        {
            "totalRecordings": found.recordings,
            "recordingsThisMonth": found.recordings_this_month,
            "totalStorageBytes": found.storage_bytes,
        }
    )
