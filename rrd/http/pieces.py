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


async def send_json(request: web.Request, pieces: AsyncGenerator[bytes, None]) -> web.StreamResponse:
    """Answer with pieces of one JSON text.

    An error of the first piece is raised. A later one breaks the connection, since what was sent can't be
    taken back, and an answer that looks whole would leave something out in silence.
    """
    async with contextlib.aclosing(pieces):
        first, second = await anext(pieces, b""), await anext(pieces, None)
        if second is None and len(first) <= _WHOLE_BYTES_MAX:
            return web.Response(body=first, content_type="application/json")
        response = web.StreamResponse()
        response.content_type = "application/json"
        if second is None:
            response.content_length = len(first)
        await response.prepare(request)
        if request.method == hdrs.METH_HEAD:
            return response
        try:
            await response.write(first)
            if second is not None:
                await response.write(second)
                async for piece in pieces:
                    await response.write(piece)
        except RrdError as error:
            emit(logger, logging.WARNING, "answer_broken_off", error=error)
            if request.transport is not None:
                request.transport.abort()
            return response
        await response.write_eof()
        return response
