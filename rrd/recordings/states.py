"""The states of a recording and of a segment, as tables: what may follow on what.

Each state has one owner, which alone moves it, by ``after``. What is not in a table doesn't happen. If it
does all the same, ``NotInTable`` ends the task that did it, for going on could mix up blocks or lose them.

A recording's state belongs to its ``Recording``. The registry asks that to open, to leave, to be expelled and
to stop; a source puts; the committer takes and settles. Three things follow from the table:

- A segment never has two blocks that are not synced: a block is taken of a *waiting* recording only, which
  is *busy* until that block is settled.
- A recording that leaves holds nothing that is not safe: only a *silent* one is let go.
- A recording that is *closed* again, *expelled* or *stopped* takes nothing more. A source that holds on to it
  is told; a new source gets another ``Recording``.

A segment's stage lies in the index, *finished* excepted: the ``Sealer`` knows that one, and a crash makes it
*active* again. The committer begins and finishes segments, the registry resumes them, the ``Sealer`` seals,
roll-up publishes, the evictor evicts, a removal removes.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TypeVar


class NotInTable(RuntimeError):
    """A bug: a state was to change in a way that its table doesn't have."""


class _Word(enum.Enum):
    __hash__ = object.__hash__  # Enum's own is written in Python. Blocks ask the table three times each.


class RecordingState(_Word):
    """Where a recording stands in memory."""

    CLOSED = "closed"
    OPENING = "opening"
    SILENT = "silent"
    WAITING = "waiting"
    BUSY = "busy"
    LEAVING = "leaving"
    EXPELLING = "expelling"
    EXPELLED = "expelled"
    STOPPED = "stopped"


class RecordingStep(_Word):
    """What moves a recording."""

    ASKED = "asked for"
    OPENED = "opened"
    REFUSED = "refused"
    PUT = "put"
    TAKEN = "taken"
    SETTLED = "settled"
    LET_GO = "let go"
    LEFT = "left"
    REMOVED = "removed"
    STOPPED = "stopped"


class SegmentStage(_Word):
    """Where a segment stands. All but FINISHED and GONE are words of the index."""

    ACTIVE = "active"
    FINISHED = "finished"
    SEALED = "sealed"
    ROLLED = "rolled"
    GONE = "gone"


class SegmentStep(_Word):
    """What moves a segment."""

    FINISHED = "finished"
    RESUMED = "resumed"
    SEALED = "sealed"
    PUBLISHED = "published"
    EVICTED = "evicted"
    REMOVED = "removed"


_State = TypeVar("_State", bound=_Word)
_Step = TypeVar("_Step", bound=_Word)

_R, _S = RecordingState, RecordingStep
RECORDING: Mapping[RecordingState, Mapping[RecordingStep, RecordingState]] = {
    _R.CLOSED: {_S.ASKED: _R.OPENING, _S.LET_GO: _R.LEAVING},
    _R.OPENING: {_S.OPENED: _R.SILENT, _S.REFUSED: _R.CLOSED},
    _R.SILENT: {
        _S.PUT: _R.WAITING,
        _S.LET_GO: _R.LEAVING,
        _S.REMOVED: _R.EXPELLED,
        _S.STOPPED: _R.STOPPED,
    },
    _R.WAITING: {_S.TAKEN: _R.BUSY, _S.REMOVED: _R.EXPELLED, _S.STOPPED: _R.STOPPED},
    _R.BUSY: {_S.SETTLED: _R.SILENT, _S.REMOVED: _R.EXPELLING, _S.STOPPED: _R.STOPPED},
    _R.LEAVING: {_S.LEFT: _R.CLOSED},
    _R.EXPELLING: {_S.SETTLED: _R.EXPELLED},
    _R.EXPELLED: {},
    _R.STOPPED: {_S.SETTLED: _R.STOPPED},
}

OPEN = frozenset({_R.SILENT, _R.WAITING, _R.BUSY})
"""It takes what is put."""
UNDER_WAY = frozenset({_R.WAITING, _R.BUSY, _R.EXPELLING})
"""Something waits, or a block is on its way."""
CHANGING = frozenset({_R.OPENING, _R.LEAVING})
"""Sources that ask for it wait."""

_G, _T = SegmentStage, SegmentStep
SEGMENT: Mapping[SegmentStage, Mapping[SegmentStep, SegmentStage]] = {
    _G.ACTIVE: {_T.FINISHED: _G.FINISHED, _T.REMOVED: _G.GONE},
    _G.FINISHED: {_T.RESUMED: _G.ACTIVE, _T.SEALED: _G.SEALED, _T.REMOVED: _G.GONE},
    _G.SEALED: {_T.PUBLISHED: _G.ROLLED, _T.REMOVED: _G.GONE},
    _G.ROLLED: {_T.EVICTED: _G.GONE, _T.REMOVED: _G.GONE},
    _G.GONE: {},
}


def after(table: Mapping[_State, Mapping[_Step, _State]], state: _State, step: _Step) -> _State:
    """Return the state that ``step`` leads to from ``state``. Raises ``NotInTable``."""
    try:
        return table[state][step]
    except KeyError:
        raise NotInTable(f"what is {state.value} can't be {step.value}") from None
