"""Composed replays: all page views of all matching recordings as one, which a replayer plays in one go."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
from collections.abc import AsyncGenerator

from aiohttp import hdrs, web

from rrd.access.gate import Grant
from rrd.errors import BadRequest, CorruptSegment, Forbidden, RrdError, StoreAway
from rrd.http.caller import authorize
from rrd.http.composing import Composition, RefusedReplay
from rrd.http.damage import MISSING_HEADER, wants_salvage
from rrd.http.filters import KEY_PARAMETERS, filters_of
from rrd.http.lookup import store_away
from rrd.http.negotiate import is_known
from rrd.http.reading import reader_of, reading
from rrd.http.services import SERVICES, Services
from rrd.http.writing import StreamedAnswer
from rrd.ids import parse_recording_id
from rrd.index.rows import ListedRecording, RecordingRow
from rrd.log import emit
from rrd.playback.compose import GAP_MAX_DEFAULT_MS, compose
from rrd.playback.replay import replay_in_order
from rrd.shares.queue import Who

logger = logging.getLogger(__name__)

REPLAY_PATH = "/replay"

_PARAMETERS = KEY_PARAMETERS | {"gapMax", "salvage"}
GAP_MS_MAX = 86_400_000
_GAP = re.compile(r"[0-9]{1,8}")
_COUNTED_MAX = 10_000
"""So many matching recordings are counted, to say how many there are."""
_PIECE_BYTES = 256 << 10
_RECORDING_ID = "recordingId"


async def get_replay(request: web.Request) -> web.StreamResponse:
    """``GET /replay``: the events of all recordings that match, page view after page view.

    Needs a private key: a presigned URL is for one recording. Query: ``meta[KEY]=VALUE``, at least one,
    all of which a recording must have; ``gapMax``, the longest gap between two page views in ms (1 to
    86,400,000, default 1,000); ``salvage``, as for a recording's events. Events have ``timestamp`` from 0 on,
    ``originalTimestamp``, ``recordingId`` and ``sequenceId``. A JSON array, or NDJSON as ``Accept`` says;
    compressed as ``Accept-Encoding`` says; ``ETag`` and 304. No match: an empty array.

    400 names the parameter that is missing, unknown or out of bounds; also where more recordings match than
    ``replay_recordings_max``, with their number. 401, 403: no key, or one that may not read. 500: a recording
    is damaged. 503: the object store is away, or too many answers are under way. An error in mid-stream
    breaks the connection.
    """
    return await _answer(request, [])


async def get_replay_of(request: web.Request) -> web.StreamResponse:
    """``GET /replays/{groupingProp}/{replayValue}``: ``/replay?meta[groupingProp]=replayValue``.

    Both segments are percent-decoded once. Further ``meta[…]`` narrow it. ``recordingId`` as groupingProp
    selects the recording of that id, unless that has metadata of this name. Otherwise as ``/replay``.
    """
    return await _answer(request, [(request.match_info["property"], request.match_info["value"])])


async def _answer(request: web.Request, filters: list[tuple[str, str]]) -> web.StreamResponse:
    services = request.app[SERVICES]
    grant = await authorize(request, services, right="read", scope_path=REPLAY_PATH)
    if grant.kind == "signing_key":
        raise Forbidden("a replay may show any recording, so it takes a private key and no presigned URL")
    filters = filters + filters_of(request.query, known=_PARAMETERS, others_pass=False)
    if not filters:
        raise BadRequest("say which recordings: meta[userId]=u-123", parameter="meta")
    gap_max_ms = _gap_max(request)
    salvages = wants_salvage(request, services)
    who = reader_of(grant)
    names = [(grant.tenant, name) for name in await _matching(services, grant, filters)]
    with contextlib.ExitStack() as claims:
        # From before the files are looked up in the index: what is being read is not evicted.
        for name in names:
            claims.enter_context(services.claims.reading(*name))
        rows = [
            row
            for row in await services.index.recordings(names)
            if row is not None
            and row.visible
            and not services.remover.is_leaving(row.tenant, row.recording_id)
        ]
        answer = ReplayAnswer(request, who, rows, gap_max_ms)
        if is_known(request, answer.tag):
            return web.Response(status=304, headers=answer.headers)
        composition = Composition(request, services, who, rows, salvages=salvages)
        try:
            await composition.look_through(outlines=request.method != hdrs.METH_HEAD)
            if salvages:
                answer.tell_missing(composition.missing_events)
            return await answer.send(composition)
        except RefusedReplay as refused:
            return refused.response
        except StoreAway as error:
            return store_away("of a replay", error)


def _gap_max(request: web.Request) -> int:
    text = request.query.get("gapMax")
    if text is None:
        return GAP_MAX_DEFAULT_MS
    if _GAP.fullmatch(text) is None or not 1 <= int(text) <= GAP_MS_MAX:
        raise BadRequest(f"gapMax must be a number of ms from 1 to {GAP_MS_MAX}", parameter="gapMax")
    return int(text)


async def _matching(services: Services, grant: Grant, filters: list[tuple[str, str]]) -> list[str]:
    """Return the ids of the recordings that match. Raises ``BadRequest`` if they are too many."""

    def encode(found: ListedRecording) -> bytes:
        return found.recording_id.encode()

    # The first alone, since the others are only counted as long as they may be too many.
    piece = await services.index.begin_list(
        grant.tenant, filters=filters, limit=_COUNTED_MAX + 1, offset=0, encode=encode, bytes_max=1
    )
    count = len(piece.items) + len(piece.rest)
    most = services.config.replay_recordings_max
    if count > most:
        told = f"more than {_COUNTED_MAX:,}" if count > _COUNTED_MAX else f"{count:,}"
        raise BadRequest(
            f"{told} recordings match, and a replay is made of {most:,} at most; narrow the filter",
            code="too_many_recordings",
            parameter="meta",
        )
    found = [item.decode() for item in piece.items]
    while piece.rest:
        piece = await services.index.continue_list(piece.rest, encode=encode, bytes_max=_PIECE_BYTES)
        found += [item.decode() for item in piece.items]
    if filters[0][0] == _RECORDING_ID:
        found += [name for name in await _by_id(services, grant, filters) if name not in found]
    return found


async def _by_id(services: Services, grant: Grant, filters: list[tuple[str, str]]) -> list[str]:
    """Return the recording whose id the first filter names, if all others match, or nothing."""
    recording_id = parse_recording_id(filters[0][1], services.config.recording_ids)
    if recording_id is None:
        return []
    rows = await services.index.metadata(grant.tenant, recording_id)
    metadata = {row.key: row.value for row in rows}
    if _RECORDING_ID in metadata or any(metadata.get(key) != value for key, value in filters[1:]):
        return []
    return [recording_id]


class ReplayAnswer(StreamedAnswer):
    """A composed replay, about to be sent."""

    def __init__(self, request: web.Request, who: Who, rows: list[RecordingRow], gap_max_ms: int) -> None:
        super().__init__(request, who)
        self._names = [(row.tenant, row.recording_id) for row in rows]
        self._gap_max_ms = gap_max_ms
        # What is stored is only ever added to, so the last numbers name the whole answer.
        parts = sorted(f"{row.recording_id} {row.created_ms} {row.next_seq}" for row in rows)
        digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
        self.tag = f"{digest}-{gap_max_ms}-{self._media_type.rpartition('/')[2]}-{self._encoding}"
        self.headers = {
            hdrs.ETAG: f'"{self.tag}"',
            hdrs.VARY: "Accept, Accept-Encoding",
            hdrs.CACHE_CONTROL: "private, no-cache",
        }

    def tell_missing(self, events: int) -> None:
        """Say how many events the answer lacks, which was to be salvaged."""
        self.headers[MISSING_HEADER] = str(events)
        if events:
            # Another answer than the whole one has: it must not be taken for that later.
            del self.headers[hdrs.ETAG]
            self.headers[hdrs.CACHE_CONTROL] = "no-store"

    async def send(self, composition: Composition) -> web.StreamResponse:
        """Send it. Raises ``CorruptSegment``, ``StoreAway`` and ``OSError`` while nothing has been sent."""
        response = self._response()
        if self._request.method == hdrs.METH_HEAD:
            await response.prepare(self._request)
            return response
        need = composition.need()
        async with reading(self._services, self._who, least=need.least, most=need.most) as held_bytes:
            bytes_max = max(1, held_bytes - composition.beside_bytes())
            return await self._stream(response, self._parts(composition, bytes_max))

    def _parts(self, composition: Composition, bytes_max: int) -> AsyncGenerator[bytes, None]:
        names = [row.recording_id for row in composition.rows]
        groups = compose(composition.groups, names, gap_max_ms=self._gap_max_ms)
        chunks = replay_in_order(groups, composition.tables, form=self._form, bytes_max=bytes_max)
        return self._encoded(chunks, composition.threads())

    async def _log_break(self, error: Exception) -> None:
        if not isinstance(error, CorruptSegment):
            # A reader can cause these as often as it likes: it stops reading, or closes.
            code = error.code if isinstance(error, RrdError) else type(error).__name__
            self._services.refusals.tell("replay_broken_off", code=code, status=500, error=repr(error))
            return
        # What was erased while it was read is no damage.
        rows = await self._services.index.recordings(self._names)
        level = logging.INFO if None in rows else logging.ERROR
        emit(logger, level, "replay_broken_off", error=repr(error), next_step="rrd doctor")
