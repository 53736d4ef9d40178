"""Which events of a recording a query asks for, and in which form."""

from __future__ import annotations

import re
from math import inf

from aiohttp import hdrs, web

from rrd.errors import BadRequest, NotAcceptable
from rrd.http.answer import STORED_ENCODING
from rrd.http.negotiate import accepts
from rrd.playback.table import Between

_TIME = re.compile(r"-?[0-9]{1,16}(\.[0-9]{1,9})?")


def between_of(request: web.Request) -> Between:
    """Return the range of time that ``from`` and ``to`` ask for. Raises ``BadRequest``."""
    bounds = []
    for name, default in (("from", -inf), ("to", inf)):
        text = request.query.get(name)
        if text is not None and _TIME.fullmatch(text) is None:
            raise BadRequest(f"{name} must be a time in ms since the epoch", parameter=name)
        bounds.append(default if text is None else float(text))
    if bounds[0] > bounds[1]:
        raise BadRequest("from must not be later than to", parameter="from")
    return Between(*bounds)


def is_stored_form(request: web.Request) -> bool:
    """Tell whether ``form=stored`` is asked for. Raises ``BadRequest`` and ``NotAcceptable``."""
    form = request.query.get("form")
    if form is None:
        return False
    if form != "stored":
        raise BadRequest("form must be stored, or left out", parameter="form")
    for name in ("from", "to"):
        if name in request.query:
            raise BadRequest(f"form=stored is the whole recording: leave {name} out", parameter=name)
    if not accepts(request.headers.get(hdrs.ACCEPT_ENCODING), STORED_ENCODING):
        raise NotAcceptable("form=stored comes as zstd, so Accept-Encoding must name zstd")
    return True
