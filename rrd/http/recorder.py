"""The recorder script, for pages to load from here: no key, no cookie, the same for all."""

from __future__ import annotations

import asyncio

from aiohttp import hdrs, web

from rrd.assets.files import load_assets
from rrd.http.negotiate import best_of, is_known
from rrd.http.problems import IS_PUBLIC
from rrd.http.services import SERVICES

_AGE_S = 300
"""How long a browser takes it without asking: a fix reaches pages within five minutes."""


async def get_recorder(request: web.Request) -> web.Response:
    """``GET /record.js``, also ``/browser-client.umd.cjs``: the recorder as a script for pages, and HEAD.

    It is the published ``@rrweb/browser-client`` between a prologue and an epilogue of ours. No key, no
    parameters: what stands in the query (``?v=3``) is for the caller's caches. ``Accept-Encoding`` chooses br
    or gzip, both made when rrd was built. Answers 200 ``text/javascript``, 304 to ``If-None-Match``; 503
    ``no_assets`` where rrd was installed without it. Served while rrd starts, too.
    """
    assets = await asyncio.to_thread(load_assets, request.app[SERVICES].assets_dir)
    encoding = best_of(request.headers.get(hdrs.ACCEPT_ENCODING), ("identity", "br", "gzip"))
    tag = f"{assets.tag}-{encoding}"
    headers = {
        hdrs.ETAG: f'"{tag}"',
        hdrs.VARY: "Accept-Encoding",
        hdrs.CACHE_CONTROL: f"public, max-age={_AGE_S}",
        # https://fetch.spec.whatwg.org/#cross-origin-resource-policy-header: pages that isolate themselves.
        "Cross-Origin-Resource-Policy": "cross-origin",
        hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*",
    }
    if is_known(request, tag):
        response = web.Response(status=304, headers=headers)
    else:
        response = web.Response(
            body=assets.recorder[encoding], headers=headers, content_type="text/javascript", charset="utf-8"
        )
        if encoding != "identity":
            response.headers[hdrs.CONTENT_ENCODING] = encoding
    response[IS_PUBLIC] = True
    return response
