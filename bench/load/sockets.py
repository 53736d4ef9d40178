"""A recording over a WebSocket with ``ack=true``: the server's summaries count what is on disk."""

from __future__ import annotations

import asyncio

import msgspec

from bench.frames import (
    CLOSE,
    OFFER_AS_CHROMIUM,
    OFFER_NO_TAKEOVER,
    PING,
    PONG,
    TEXT,
    Agreed,
    FrameReader,
    frame,
    handshake,
)
from bench.load.messages import Workshop
from bench.load.plan import Plan, Target
from bench.load.senders import QUOTED_CHARS, Counts, Journal, Sender, counts_in, fields

_CHUNK_BYTES = 64 << 10
"""What a closed loop makes at a time. Much more, and acks wait; much less, and writes cost the most."""
_HEAD_BYTES_MAX = 64 << 10


class SocketSender(Sender):
    """A WebSocket with ``ack=true``: the server's summaries count what is on disk."""

    def __init__(
        self, number: int, target: Target, recording_id: str, workshop: Workshop, journal: Journal
    ) -> None:
        plan = workshop.plan
        whole = max(1, int(_CHUNK_BYTES / workshop.events.bytes_mean / plan.batch))
        super().__init__(number, plan, journal, window=plan.window, chunk_events=whole * plan.batch)
        self._workshop = workshop
        self._request = _handshake(target, plan, recording_id)
        self._head = b""
        self._reader: FrameReader | None = None
        self._bad_rows = 0
        self._has_summary = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._reader is None:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                if len(self._head) > _HEAD_BYTES_MAX:
                    self._end("the server's answer doesn't end")
                return
            if not self._begin(head, data):
                return
            self._reader = FrameReader()
            self.opened.set_result(None)
        for opcode, payload in self._reader.feed(data):
            if opcode == TEXT:
                self._take_summary(payload)
            elif opcode == PING:
                self._write(frame(payload, opcode=PONG))
            elif opcode == CLOSE:
                self._take_close(payload)

    def _begin(self, head: bytes, body: bytes) -> bool:
        """Read the answer to the handshake; tell whether it is a yes."""
        status = head.partition(b"\r\n")[0]
        if not status.startswith(b"HTTP/1.1 101 "):
            self._end(f"refused: {(status + b' ' + body).decode(errors='replace')[:QUOTED_CHARS]}")
            return False
        plan, agreed = self._workshop.plan, Agreed.in_head(head)
        if (plan.deflate != "off") != (agreed is not None):
            self._end("permessage-deflate was asked for and not had, or the reverse")
            return False
        try:
            self._packer = self._workshop.for_socket(self.number, agreed)
        except ValueError as error:
            self._end(str(error))
            return False
        return True

    def _take_summary(self, payload: bytes) -> None:
        try:
            counts = counts_in(payload)
        except msgspec.DecodeError:
            counts = Counts()
        acked = counts.successful_rows
        if acked is None or not counts.ok:
            self.note(payload.decode(errors="replace")[:QUOTED_CHARS])
            return
        if acked > self.sent:
            self.note(f"the server counts {acked} events, and {self.sent} were sent")
            acked = self.sent
        if acked > self.answered:
            self._ack(acked)
        self._has_summary = self._has_summary or counts.final
        if bad := counts.quarantined_rows + counts.duplicate_rows:
            self.refused = bad
            self.note(f"{counts.quarantined_rows} in quarantine, {counts.duplicate_rows} taken for repeats")

    def _take_close(self, payload: bytes) -> None:
        code = int.from_bytes(payload[:2], "big")
        if not self._is_closing or code != 1000:
            self._end(f"closed by the server, {code}")
        else:
            self._end("" if self._has_summary else "closed without a last summary")

    def close(self) -> None:
        self._is_closing = True
        self._write(frame((1000).to_bytes(2, "big"), opcode=CLOSE))


def _handshake(target: Target, plan: Plan, recording_id: str) -> bytes:
    offer = {"off": "", "takeover": OFFER_AS_CHROMIUM, "no-takeover": OFFER_NO_TAKEOVER}[plan.deflate]
    encoding = f"&contentEncoding={plan.encoding}" if plan.is_compressed else ""
    return handshake(
        target.authority,
        f"{target.path}/recordings/{recording_id}/ingest/ws?ack=true{encoding}",
        offer=offer,
        headers=fields(target),
    )
