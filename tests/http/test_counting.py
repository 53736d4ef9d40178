"""What the stages count, as one recording goes from a socket to an object and is erased."""

from __future__ import annotations

from rrd import metrics
from tests.harness import eventually
from tests.http.api import Api
from tests.samples import ndjson, new_id, some_events


class Growth:
    """How much the figures of this process have grown since the start of a test."""

    def __init__(self) -> None:
        self._before = self._now()

    @staticmethod
    def _now() -> dict[tuple[str, str], float]:
        return {(found.name, found.label): found.value for found in metrics.snapshot()}

    def of(self, name: str, label: str = "") -> float:
        return self._now().get((name, label), 0) - self._before.get((name, label), 0)


async def test_each_stage_counts_what_goes_through_it(api: Api) -> None:
    grown, recording_id, lines = Growth(), new_id(), some_events(50)
    socket = await api.socket(recording_id)
    assert grown.of("rrd_open_sockets") == 1
    await socket.send_text(*lines[:20])
    await api.stored(recording_id, 20)
    await socket.finish()
    reply = await api.post(recording_id, ndjson([*lines[20:], b"not json"]))
    assert reply.json()["successful_rows"] == 30

    async def is_gone() -> bool:
        return grown.of("rrd_open_sockets") == 0

    await eventually(is_gone, what="the socket to be gone")
    assert grown.of("rrd_decoded_lines_total") == 51
    assert grown.of("rrd_decoded_bytes_total") == sum(map(len, lines)) + len(b"not json") + 50
    assert grown.of("rrd_stored_events_total") == 50
    assert grown.of("rrd_stored_blocks_total") >= 2
    assert grown.of("rrd_stored_bytes_total") > 0
    erase_key = api.daemon.key("erase")
    assert (await api.request("DELETE", f"/recordings/{recording_id}", key=erase_key)).status == 200
    assert grown.of("rrd_removed_recordings_total", "erased") == 1
    assert grown.of("rrd_log_lines_total", "erased") >= 1


async def test_a_refusal_is_counted_by_its_code(api: Api) -> None:
    grown = Growth()
    assert (await api.post(new_id(), b"", key="nonsense")).status == 401
    assert (await api.post(new_id(), ndjson(some_events(1)), encoding="lz4")).status == 415
    assert grown.of("rrd_refusals_total", "unsupported_type") == 1
    assert grown.of("rrd_refusals_total", "unauthenticated") == 1
    assert grown.of("rrd_decoded_lines_total") == 0
