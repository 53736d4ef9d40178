"""Routes: the documented paths (``/ingest``), those of the published client (``/events``), and health."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web
from aiohttp.web_urldispatcher import UrlMappingMatchInfo

from rrd.http.console import add_console
from rrd.http.events import get_events
from rrd.http.export import get_export, get_preview
from rrd.http.health import get_healthy, get_ready
from rrd.http.ingest_post import ingest_post
from rrd.http.ingest_ws import ingest_ws
from rrd.http.meta import post_metadata
from rrd.http.openapi.of_writing import WITHOUT_ID
from rrd.http.openapi.serving import TEXTS, ApiTexts, get_document
from rrd.http.pages import get_pages
from rrd.http.problems import add_shared_headers, answer_of, note_refusal, shared_manners
from rrd.http.reads import get_recording, get_statistics, list_recordings
from rrd.http.recorder import get_recorder
from rrd.http.removal import delete_recording, delete_recordings
from rrd.http.replays import REPLAY_PATH, get_replay, get_replay_of
from rrd.http.services import SERVICES, Services
from rrd.http.sharing import unclaim
from rrd.http.suggestions import get_metadata_keys, get_metadata_values

_SOCKET_PATH = re.compile(r"/recordings/([^/%]+)/(ingest|events)/ws")
"""Path of a socket, percent-encoded, where nothing in it is."""


def make_app(services: Services) -> web.Application:
    """Return the application. It expects bodies still compressed (``auto_decompress=False``)."""
    app = web.Application(middlewares=[shared_manners, _count_requests])
    app[SERVICES] = services
    app[TEXTS] = ApiTexts()
    app.on_response_prepare.append(_add_headers)
    router = app.router
    router.add_get("/-/healthy", get_healthy)
    router.add_get("/-/ready", get_ready)
    router.add_get("/openapi.json", get_document)
    for path in ("/record.js", "/browser-client.umd.cjs"):
        router.add_get(path, get_recorder)
    router.add_get("/recordings", list_recordings)
    router.add_delete("/recordings", delete_recordings)
    router.add_get("/statistics", get_statistics)
    router.add_get("/metaKeys", get_metadata_keys)
    router.add_get("/metaValues", get_metadata_values)
    router.add_get(REPLAY_PATH, get_replay)
    router.add_get("/replays/{property:[^/]+}/{value:[^/]+}", get_replay_of)
    # A serverUrl without the id in its path: the client then says ?recordingId=.
    for path in WITHOUT_ID:
        router.add_post(path or "/", ingest_post)
        router.add_get(f"{path}/ws", ingest_ws, allow_head=False)
    router.add_get("/recordings/{recording:[^/]+}", get_recording)
    router.add_delete("/recordings/{recording:[^/]+}", delete_recording)
    router.add_post("/recordings/{recording:[^/]+}/ingest", ingest_post)
    router.add_get("/recordings/{recording:[^/]+}/ingest/ws", ingest_ws, allow_head=False)
    router.add_post("/recordings/{recording:[^/]+}/events", ingest_post)
    router.add_get("/recordings/{recording:[^/]+}/events/ws", ingest_ws, allow_head=False)
    router.add_get("/recordings/{recording:[^/]+}/events", get_events)
    router.add_get("/recordings/{recording:[^/]+}/export.html", get_export)
    router.add_get("/recordings/{recording:[^/]+}/preview", get_preview)
    router.add_post("/recordings/{recording:[^/]+}/meta", post_metadata)
    router.add_get("/recordings/{recording:[^/]+}/pages", get_pages)
    if services.desk is not None:
        add_console(app)
    return app


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    add_shared_headers(request, response)


@web.middleware
async def _count_requests(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    services = request.app[SERVICES]
    with services.requests:
        try:
            response = await handler(request)
        finally:
            unclaim(request, services)
    if services.is_stopping:
        response.force_close()
    return response


def short_way(app: web.Application) -> Callable[[web.Request], Awaitable[web.StreamResponse] | None]:
    """Return what answers a request for a socket as ``app`` does, without its router and middlewares.

    They cost as much as all that is checked, and each of their coroutines stays for as long as the socket is
    open. It returns None for other requests.
    """
    of_path = {route.resource.canonical: route for route in app.router.routes() if route.resource is not None}
    routes = {end: of_path[f"/recordings/{{recording}}/{end}/ws"] for end in ("ingest", "events")}

    def answer(request: web.Request) -> Awaitable[web.StreamResponse] | None:
        if request.method != hdrs.METH_GET or hdrs.EXPECT in request.headers:
            return None
        found = _SOCKET_PATH.fullmatch(request.rel_url.raw_path)
        if found is None:
            return None
        match = UrlMappingMatchInfo({"recording": found[1]}, routes[found[2]])
        match.add_app(app)
        match.freeze()
        request._match_info = match
        return _answer_socket(request)

    return answer


async def _answer_socket(request: web.Request) -> web.StreamResponse:
    """Do as the middlewares do around ``ingest_ws``."""
    services = request.app[SERVICES]
    response: web.StreamResponse
    with services.requests:
        try:
            response = await ingest_ws(request)
        except Exception as error:  # as ``shared_manners``
            if (answer := answer_of(request, error)) is None:
                raise
            response = answer
        finally:
            unclaim(request, services)
    if services.is_stopping:
        response.force_close()
    if response.status >= 400:
        note_refusal(request, response)
    return response
