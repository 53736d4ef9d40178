"""A body that is refused for what it makes the daemon hold, at any point of its way: before it was read,
while it is decoded, or when all of it is there.

Method: the budget refuses it after so many changes of what it holds, at once or in the event loop's next
turn. What is answered then must be true: 200 only if each of its events is stored, else the refusal with how
many are.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from rrd.http.budget import Budget
from rrd.http.hold import Reservation
from tests.http.api import COMPRESS, Api
from tests.samples import an_event, ndjson, new_id

pytestmark = pytest.mark.table

_letters = random.Random(1)
EVENTS = [an_event(number, text=_letters.randbytes(2_000).hex()) for number in range(500)]
"""Two megabytes: several reads of the connection, and work for a thread."""
CHANGES_MAX = 40


class RefusesOne:
    """Refuses the first body that changes ``changes`` times."""

    def __init__(self, budget: Budget, changes: int, *, at_once: bool) -> None:
        self._budget, self._left, self._at_once = budget, changes, at_once
        self._change = type(budget).change
        self.has_refused = False

    def __call__(self, hold: Reservation, size: int) -> None:
        self._change(self._budget, hold, size)
        self._left -= 1
        if self._left == 0 and self._at_once:
            self._refuse(hold)
        elif self._left == 0:
            asyncio.get_running_loop().call_soon(self._refuse, hold)

    def _refuse(self, hold: Reservation) -> None:
        if hold.counted_bytes and hold.failure is None:
            self._budget._refuse(hold)
            self.has_refused = True


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "in the next turn"])
@pytest.mark.parametrize("encoding", COMPRESS)
async def test_what_is_answered_is_true_wherever_it_is_refused(
    api: Api, encoding: str, at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = COMPRESS[encoding](ndjson(EVENTS))
    budget = api.daemon.services.unfinished
    answered = set()
    for changes in range(1, CHANGES_MAX):
        recording_id = new_id()
        refuses = RefusesOne(budget, changes, at_once=at_once)
        monkeypatch.setattr(budget, "change", refuses)
        reply = await api.post(recording_id, body, encoding=None if encoding == "identity" else encoding)
        monkeypatch.undo()
        told = reply.json() if reply.status == 200 else reply.error
        stored = await api.events(recording_id) if told["successful_rows"] else []
        assert stored == EVENTS[: told["successful_rows"]], changes
        if reply.status == 200:
            assert len(stored) == len(EVENTS), changes
        else:
            assert (reply.status, told["code"]) == (503, "too_much_unfinished"), changes
            assert refuses.has_refused
        answered.add((reply.status, len(stored)))
    assert len(answered) > 2, "it was not refused at several points"
