"""Whether the daemon is alive and takes events, for supervisors, load balancers and ``rrd status``."""

from __future__ import annotations

from typing import Literal, NamedTuple

from aiohttp import web

from rrd.errors import DiskFull
from rrd.http.problems import json_response, problem
from rrd.http.services import SERVICES, Services

State = Literal["starting", "ready", "not_ready", "stopping"]


class Readiness(NamedTuple):
    """Whether events are taken now."""

    state: State
    reason: str = ""
    """Why they are not, and what to do about it: for people, without paths. Empty if they are."""


async def readiness(services: Services) -> Readiness:
    """Return whether events are taken now. Takes some seconds where the disk hangs."""
    if services.is_stopping:
        return Readiness("stopping", "stopping")
    if not services.ready.is_set():
        return Readiness("starting", services.waits_for)
    if (reason := await services.registry.why_not_stored()) is not None:
        return Readiness("not_ready", reason)
    return Readiness("ready")


def full_disk(services: Services) -> str:
    """Return what a reserve of the disk that is reached means for events; empty while there is room."""
    try:
        services.registry.check_room_on_disk()
    except DiskFull as error:
        return str(error)
    return ""


async def get_healthy(request: web.Request) -> web.Response:
    """200 while the process serves at all."""
    return json_response({"status": "healthy"})


async def get_ready(request: web.Request) -> web.Response:
    """200 while the disk takes writes; 503 with the reason while recovering, writes fail, or stopping."""
    services = request.app[SERVICES]
    found = await readiness(services)
    if found.state != "ready":
        return problem(503, "not_ready", found.reason)
    # Events are stored, and what is held waits for a person, who may read this.
    state: dict[str, object] = {"status": "ready"}
    if held := services.held():
        state["held"] = held
    # Without this daemon, nothing would be read or erased either, and erasing makes room.
    if warning := full_disk(services):
        state["warning"] = warning
    return json_response(state)
