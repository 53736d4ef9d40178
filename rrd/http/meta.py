"""Metadata by itself: ``POST /recordings/{id}/meta`` with a flat JSON object; each pair counts by itself."""

from __future__ import annotations

import asyncio

from aiohttp import hdrs, web

from rrd.errors import BadRequest, TooLarge, WireError
from rrd.http.caller import check_live, encoding_of, sender_of
from rrd.http.connection import connection_of
from rrd.http.ingest_post import CutOff, body_chunks
from rrd.http.problems import json_response, problem
from rrd.http.services import SERVICES, Services
from rrd.wire.forms import BOM
from rrd.wire.layers import Layers
from rrd.wire.metadata import BadPair, read_metadata
from rrd.wire.turns import QUICK_BYTES, QUICK_DOCUMENT_BYTES_MAX, WINDOW_COST_BYTES

_ERRORS_TOLD = 100
_BETWEEN_BYTES_MAX = 16 << 20


async def post_metadata(request: web.Request) -> web.Response:
    """Set metadata of a recording; 200 when some of it is on disk, or there was none.

    Pairs that break a rule are quarantined, and the reply names them.
    """
    services = request.app[SERVICES]
    sender = await sender_of(request, services)
    assert sender.recording_id is not None, "the route has the id in its path"
    services.registry.check_room_on_disk()
    body = await _read_body(request, services)
    check_live(sender.grant, services)
    try:
        if len(body) > QUICK_DOCUMENT_BYTES_MAX:
            metadata = await asyncio.to_thread(read_metadata, body, services.limits, flat=True)
        else:
            metadata = read_metadata(body, services.limits, flat=True)
    except ValueError as error:
        raise BadRequest(str(error), code="bad_metadata") from None
    async with services.registry.source(
        sender.grant.tenant,
        sender.recording_id,
        origin=sender.origin,
        visitor=sender.visitor,
        begin=lambda: services.admission.quotas.begin_recording(sender.who),
    ) as source:
        source.put_metadata(metadata)
        await source.flush()
    return _answer(len(metadata.values) - len(source.refused_pairs), [*metadata.bad, *source.refused_pairs])


def _answer(kept: int, bad: list[BadPair]) -> web.Response:
    counts = {"successful_keys": kept, "quarantined_keys": len(bad)}
    told = [pair.told for pair in bad[:_ERRORS_TOLD]]
    if bad and not kept:
        is_full = all(pair.reason == "too_many_metadata_keys" for pair in bad)
        code = "too_many_metadata_keys" if is_full else "bad_metadata"
        message = "no pair of the metadata can be kept as it is; the pairs are in quarantine"
        return problem(400, code, message, errors=told, **counts)
    return json_response(counts | {"errors": told} if bad else counts)


async def _read_body(request: web.Request, services: Services) -> bytes:
    limits = services.limits
    encoding = encoding_of(request.headers.get(hdrs.CONTENT_ENCODING, ""))
    stream = Layers(
        encoding,
        zstd_window_bytes_max=limits.zstd_window_bytes_max,
        bytes_max=_BETWEEN_BYTES_MAX,
        ratio_max=limits.inflate_ratio_max,
    )
    # Room for every key and value at its largest, with as much again for JSON's escapes.
    bytes_max = (
        2 * limits.metadata_keys_max * (limits.metadata_key_bytes_max + limits.metadata_value_bytes_max)
    )
    parts: list[bytes] = []
    size = work_bytes = 0
    try:
        async for chunk in body_chunks(request, services.config, connection_of(request).hold):
            for window in stream.windows(chunk):
                parts.append(window)
                size += len(window)
                work_bytes += len(window) + WINDOW_COST_BYTES
                if work_bytes > QUICK_BYTES:
                    work_bytes = 0
                    await asyncio.sleep(0)
                if size > bytes_max:
                    raise TooLarge(f"metadata is larger than {bytes_max} bytes")
    except CutOff:
        raise WireError("the body was cut off") from None
    parts += stream.flush()
    return b"".join(parts).removeprefix(BOM)
