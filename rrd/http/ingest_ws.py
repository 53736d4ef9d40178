"""Events over a WebSocket.

The hot path of rrd: for each message nothing is done but to append it to a list and add up its size
(``gathering``). Everything else happens once for some 256 KB, or when the oldest message has waited
``flush_age_ms``.

The rrweb client logs whatever the server says, and gives the socket up for good on any error or close.
So the server is quiet: one summary at the end, and one after each flush for those who ask for it
(``ack=true``, ``debug=true``).

What it says is one thing and what it hears another: nothing that fails on the way to the client, or waits
there, ends or delays reading. Everything that arrived before the client's close, or before the end of the
connection, is stored.
"""

from __future__ import annotations

from aiohttp import web

from rrd.errors import ShuttingDown
from rrd.http.caller import Sender, encoding_of, kind_of, sender_of
from rrd.http.connection import connection_of
from rrd.http.gathering import GatheringSocket
from rrd.http.services import SERVICES, Services
from rrd.http.socket_ingest import SocketIngest
from rrd.http.socket_replies import GOODBYE_TIMEOUT_S, SocketReplies
from rrd.http.upgrade import check_upgrade, forget_head
from rrd.wire.codings import Encoding
from rrd.wire.decoder import ContentKind


async def ingest_ws(request: web.Request) -> web.StreamResponse:
    """``GET /recordings/{id}/ingest/ws``: events over a socket until it closes."""
    services = request.app[SERVICES]
    check_upgrade(request)
    sender = await sender_of(request, services)
    try:
        return await _open(request, sender, services)
    finally:
        services.garbage.socket_ended()  # Refused or not: in a crowd, what it leaves was put aside.


async def _open(request: web.Request, sender: Sender, services: Services) -> web.StreamResponse:
    """Wait for the socket's turn to open; take what it sends, unless it is refused."""
    await connection_of(request).opening_turns.wait(sender.who)
    if services.is_stopping:
        raise ShuttingDown("the server is stopping; open the socket again in a moment")
    services.registry.check_room_on_disk()
    kind = kind_of(request.query.get("contentType", ""))
    encoding = encoding_of(request.query.get("contentEncoding", ""))
    # Before the upgrade, so that a page is told in JSON; what comes in between is told over the socket.
    refusal = services.admission.quotas.refusal_of_new(sender.who)
    if refusal is not None and not await _is_known(sender, services):
        raise refusal
    place = services.admission.enter(sender.who, "sockets")
    try:
        return await _run(request, sender, services, kind=kind, encoding=encoding)
    finally:
        services.admission.leave(place)


async def _is_known(sender: Sender, services: Services) -> bool:
    """Tell whether the sender's recording is there already, or can't be told yet."""
    recording_id = sender.recording_id
    return recording_id is None or await services.registry.knows(sender.grant.tenant, recording_id)


async def _run(
    request: web.Request, sender: Sender, services: Services, *, kind: ContentKind, encoding: Encoding
) -> web.StreamResponse:
    """Upgrade, and take what comes until the socket closes."""
    hold = connection_of(request).hold
    hold.belongs_to(sender.grant.tenant, sender.grant.key_id)
    socket = GatheringSocket(
        run_bytes=services.config.flush_bytes,
        max_msg_size=services.config.message_bytes_max,
        hold=hold,
        threads=services.decoding_threads.lane(sender.who),
        inflate_ratio_max=services.config.inflate_ratio_max,
        streams=services.streams,
    )
    await socket.prepare(request)
    forget_head(request)
    wants_echo = request.query.get("debug") == "true"
    wants_acks = wants_echo or request.query.get("ack") == "true"
    replies = SocketReplies(services, sender, socket, wants_acks=wants_acks, wants_echo=wants_echo)
    ingest = SocketIngest(
        services,
        sender,
        socket,
        kind=kind,
        encoding=encoding,
        replies=replies,
    )
    followers, tenant = services.registry.followers, sender.grant.tenant
    socket.follow(
        services.sockets.beat,
        # A recording that is followed is read at once.
        lambda: replies.source is not None and followers.has(tenant, replies.source.recording_id),
    )
    await ingest.run()
    await socket.linger(timeout_s=GOODBYE_TIMEOUT_S)
    return socket
