"""``GET /openapi.json``, and the page of it at ``/console/api``: made once for each set of settings."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import brotli
import orjson
from aiohttp import hdrs, web
from isal import isal_zlib

from rrd.config import Config
from rrd.errors import NotFound
from rrd.http.console_guard import place_of
from rrd.http.negotiate import best_of, is_known
from rrd.http.openapi.document import document
from rrd.http.openapi.page import page, page_policy_headers
from rrd.http.problems import IS_PUBLIC
from rrd.http.services import SERVICES

_BROTLI_QUALITY = 6
_GZIP_WINDOW = 31  # 15 bits, and gzip's head instead of zlib's.


class _Text(NamedTuple):
    """One text in its compressions."""

    forms: Mapping[str, bytes]
    tag: str


class _Made(NamedTuple):
    """What was made for a set of settings."""

    config: Config
    document: _Text
    page: _Text


class ApiTexts:
    """The document and its page, as of the settings that count."""

    def __init__(self) -> None:
        self._made: _Made | None = None

    async def of(self, config: Config) -> _Made:
        """Return both for these settings."""
        made = self._made
        if made is None or made.config is not config:
            made = self._made = await asyncio.to_thread(_make, config)
        return made


TEXTS = web.AppKey("api_texts", ApiTexts)


async def get_document(request: web.Request) -> web.Response:
    """``GET /openapi.json``: the API as OpenAPI 3.1. No key; any page may read it. 200, 304."""
    made = await request.app[TEXTS].of(request.app[SERVICES].config)
    response = _answer(request, made.document, "application/json", {hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*"})
    response[IS_PUBLIC] = True
    return response


async def get_document_page(request: web.Request) -> web.Response:
    """``GET /console/api``: the same as a page for people, who need not be signed in. 200, 304, 404, 421."""
    if place_of(request).is_stage_only:
        raise NotFound("this is the stage's own name: the console is at public_url")
    made = await request.app[TEXTS].of(request.app[SERVICES].config)
    return _answer(request, made.page, "text/html", page_policy_headers())


def _make(config: Config) -> _Made:
    told = document(config)
    return _Made(config, _text(orjson.dumps(told)), _text(page(told).encode()))


def _text(body: bytes) -> _Text:
    forms = {
        "identity": body,
        "br": brotli.compress(body, quality=_BROTLI_QUALITY),
        "gzip": isal_zlib.compress(body, 3, _GZIP_WINDOW),
    }
    return _Text(forms, hashlib.sha256(body).hexdigest()[:16])


def _answer(request: web.Request, text: _Text, media_type: str, more: Mapping[str, str]) -> web.Response:
    encoding = best_of(request.headers.get(hdrs.ACCEPT_ENCODING), ("identity", "br", "gzip"))
    tag = f"{text.tag}-{encoding}"
    headers = {
        hdrs.ETAG: f'"{tag}"',
        hdrs.VARY: "Accept-Encoding",
        hdrs.CACHE_CONTROL: "no-cache",
        **more,
    }
    if is_known(request, tag):
        return web.Response(status=304, headers=headers)
    charset = "utf-8" if media_type == "text/html" else None  # JSON has but one (RFC 8259, 8.1).
    response = web.Response(
        body=text.forms[encoding], headers=headers, content_type=media_type, charset=charset
    )
    if encoding != "identity":
        response.headers[hdrs.CONTENT_ENCODING] = encoding
    return response
