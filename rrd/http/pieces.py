"""JSON whose size senders decide, told in pieces: no more than one is in memory, however slow its taker is.

What is small goes out whole, with a Content-Length, and is forgotten at once.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator

from aiohttp import hdrs, web

from rrd.errors import RrdError
from rrd.log import emit

logger = logging.getLogger(__name__)

PIECE_BYTES = 256 << 10
"""From here on nothing is added to a piece. Its last part may be all metadata of one recording."""

ANSWER_BYTES = 4 << 20
"""What such an answer takes of ``read_bytes_max``: JSON's longest escapes, and what is on its way."""

_WHOLE_BYTES_MAX = 64 << 10
"""What is no larger is answered whole: the kernel takes most of it at once."""


async def send_json(
    request: web.Request, first: bytes, rest: AsyncGenerator[bytes, None] | None = None
) -> web.StreamResponse:
    """Answer with one JSON text: its first piece, and those after it, if there are any.

    An error of a later piece breaks the connection, since what was sent can't be taken back, and an answer
    that looks whole would leave something out in silence.
    """
    if rest is None and len(first) <= _WHOLE_BYTES_MAX:
        return web.Response(body=first, content_type="application/json")
    response = web.StreamResponse()
    response.content_type = "application/json"
    if rest is None:
        response.content_length = len(first)
    await response.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return response
    try:
        await response.write(first)
        del first  # Nothing is held longer than its taker makes it wait.
        if rest is not None:
            async with contextlib.aclosing(rest):
                async for piece in rest:
                    await response.write(piece)
                    del piece
    except RrdError as error:
        emit(logger, logging.WARNING, "answer_broken_off", error=error)
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response
