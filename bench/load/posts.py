"""A recording over HTTP POSTs, one behind the other."""

from __future__ import annotations

import asyncio

import msgspec

from bench.load.answers import Answer, AnswerReader, NoAnswer
from bench.load.messages import Workshop
from bench.load.plan import Plan, Target
from bench.load.senders import QUOTED_CHARS, Counts, Journal, Sender, counts_in, fields


class PostSender(Sender):
    """HTTP POSTs over a connection that is kept alive. With a window above 1 they are pipelined."""

    def __init__(
        self, number: int, target: Target, recording_id: str, workshop: Workshop, journal: Journal
    ) -> None:
        plan = workshop.plan
        super().__init__(number, plan, journal, window=plan.window or 1, chunk_events=plan.batch)
        self._packer = workshop.for_posts(number, _request_head(target, plan, recording_id))
        self._reader = AnswerReader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.opened.set_result(None)

    def data_received(self, data: bytes) -> None:
        try:
            answers = self._reader.feed(data)
        except NoAnswer as error:
            self._end(str(error))
            return
        for answer in answers:
            if not self._meant:
                self._end("the server answered what wasn't asked")
                return
            self._take_answer(answer)
        if self._is_closing and not self._meant:
            self._end()

    def _take_answer(self, answer: Answer) -> None:
        _, limit = self._meant[0]
        count = limit - self.answered
        try:
            counts = counts_in(answer.body)
        except msgspec.DecodeError:
            counts = Counts()  # The status alone is an answer, too.
        rows = count if counts.successful_rows is None else counts.successful_rows
        is_whole = 200 <= answer.status < 300 and rows == count
        if is_whole:
            self._ack(limit)
        else:
            self.note(f"{answer.status}: {answer.body.decode(errors='replace')[:QUOTED_CHARS]}")
            self._meant.popleft()
            self.refusals.append((self.answered, limit))
            self.refused += count
            self.answered = limit
            self._has_room_again()
        if answer.is_last:
            self._end("the server takes no more requests over this connection")

    def close(self) -> None:
        self._is_closing = True
        if not self._meant:
            self._end()


def _request_head(target: Target, plan: Plan, recording_id: str) -> bytes:
    encoding = f"Content-Encoding: {plan.encoding}\r\n" if plan.is_compressed else ""
    return (
        f"POST {target.path}/recordings/{recording_id}/ingest HTTP/1.1\r\nHost: {target.authority}\r\n"
        f"{fields(target)}Content-Type: application/x-ndjson\r\n{encoding}"
    ).encode()
