"""The console's page, its stage, and the files of both: no key, no cookie, nothing of any recording."""

from __future__ import annotations

import asyncio
import hashlib
import html
import re
from collections.abc import Mapping

from aiohttp import hdrs, web

from rrd.assets.files import load_assets
from rrd.console.origins import Placement
from rrd.console.policy import page_headers, sources, stage_headers
from rrd.errors import NotFound
from rrd.http.console_guard import place_of
from rrd.http.negotiate import best_of, is_known
from rrd.http.services import SERVICES

_TYPES = {
    "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml", "txt": "text/plain"
}  # fmt: skip


async def get_page(request: web.Request) -> web.Response:
    """``GET /console/``: the page, which finds its stage in ``<meta name="rrd-stage">``."""
    place = place_of(request)
    if place.is_stage_only:
        raise NotFound("this is the stage's own name: the console is at public_url")
    told = {"rrd-stage": place.stage, "rrd-assets": request.app[SERVICES].config.console_assets}
    return await _document(request, "index.html", told, page_headers(_source(place.stage, place)))


async def get_stage(request: web.Request) -> web.Response:
    """``GET /console/stage``: the document in which recordings are shown.

    ``assets``: host names with commas, of which the recording may load images, styles, fonts and media.
    """
    place = place_of(request)
    asked = ",".join(request.query.getall("assets", ()))
    headers = stage_headers(
        _source(place.framed_by, place), sources(asked, request.app[SERVICES].config.console_assets)
    )
    return await _document(request, "stage.html", {"rrd-console": place.framed_by}, headers)


async def get_file(request: web.Request) -> web.Response:
    """``GET /console/{name}``: a script or style sheet, in br or gzip as it was made when rrd was built."""
    place_of(request)
    assets = await asyncio.to_thread(load_assets, request.app[SERVICES].assets_dir)
    name = request.match_info["name"]
    file, media_type = assets.console.get(name), _TYPES.get(name.rpartition(".")[2])
    if file is None or media_type is None:
        raise NotFound("the console has no such file")
    encoding = best_of(request.headers.get(hdrs.ACCEPT_ENCODING), ("identity", "br", "gzip"))
    headers: dict[str, str] = {hdrs.VARY: "Accept-Encoding"}
    if encoding != "identity":
        headers[hdrs.CONTENT_ENCODING] = encoding
    return _answer(request, file.forms[encoding], media_type, f"{file.tag}-{encoding}", headers)


def _source(origin: str, place: Placement) -> str:
    """Return an origin as a source of a policy, which knows no IPv6 addresses (CSP3, 2.3.1)."""
    return "'self'" if origin == place.console and not place.is_stage_only else origin


async def _document(
    request: web.Request, name: str, told: Mapping[str, str], headers: Mapping[str, str]
) -> web.Response:
    assets = await asyncio.to_thread(load_assets, request.app[SERVICES].assets_dir)
    if name not in assets.console:
        raise NotFound("this installation has no such page: run `make assets`")
    body = assets.console[name].forms["identity"]
    for meta, value in told.items():
        pattern = rb'(<meta name="%b" content=")[^"]*' % meta.encode()
        body = re.sub(pattern, lambda found, text=value: found[1] + html.escape(text).encode(), body)  # type: ignore[misc]
    tag = hashlib.sha256(body).hexdigest()[:16]
    return _answer(request, body, "text/html", tag, headers)


def _answer(
    request: web.Request, body: bytes, media_type: str, tag: str, more: Mapping[str, str]
) -> web.Response:
    headers = {hdrs.ETAG: f'"{tag}"', hdrs.CACHE_CONTROL: "no-cache", **more}
    if is_known(request, tag):
        headers.pop(hdrs.CONTENT_ENCODING, None)
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers=headers, content_type=media_type, charset="utf-8")
