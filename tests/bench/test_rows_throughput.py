"""Rows 1 to 4 run, compare with what they say, and don't count what rrd didn't store. Nothing is timed."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator

import pytest

from bench import peers, stage
from bench.daemon import Daemon, daemon
from bench.floors import nginx as nginx_floor
from bench.lanes import rrd_socket, rrd_uploads, socket_work, uploads
from bench.payloads import Bodies, Compressed, Texts
from bench.result import Options, Row
from bench.rows import compressed, one_socket, posts
from bench.stage import Worker

SMOKE = Options("smoke")


def _bars(row: Row) -> list[tuple[str, float]]:
    """What is compared with a bar; every figure of the row must be one."""
    assert all(math.isfinite(check.value) and check.value > 0 for check in row.checks)
    assert all(0 < figure.least <= figure.median <= figure.most < math.inf for figure in row.rates)
    return [(check.what, check.bar) for check in row.checks if check.bar is not None]


@pytest.mark.slow
def test_row_1_small_events() -> None:
    row = one_socket.measure_small(SMOKE)
    assert _bars(row) == [("of the fastest bare aiohttp receiver (`receive()`)", 0.7)]
    assert len(row.checks) == 4


@pytest.mark.slow
def test_row_2_leaves_out_the_peers_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "missing", lambda name: f"no {name} here")
    row = one_socket.measure_all(SMOKE)
    assert _bars(row) == [("of the fastest bare aiohttp receiver (`receive()`)", 0.3)]
    assert {"no FastAPI here", "no Node here"} <= set(row.notes)


@pytest.mark.slow
def test_row_2_compares_with_peers() -> None:
    if any(map(peers.missing, peers.NAMES)):
        pytest.skip("the peers aren't installed")
    row = one_socket.measure_all(SMOKE)
    assert _bars(row)[1:] == [("what FastAPI does", 6.0), ("what Node does", 3.0)]


def test_row_3_compressed_messages() -> None:
    row = compressed.measure(SMOKE)
    assert [bar for _, bar in _bars(row)] == [0.8, 0.8, 0.8]
    assert sum("one stream" in check.what for check in row.checks) == 6


@pytest.mark.slow
def test_row_4_bodies() -> None:
    row = posts.measure(SMOKE)
    wanted = [("of the bare loop: gzip", 0.75)]
    if nginx_floor.find() is not None:
        wanted.insert(0, ("of nginx, which stores plain bodies in files, unsynced", 0.4))
    assert _bars(row) == wanted


# What isn't stored isn't counted


@pytest.fixture(scope="module")
def rrd() -> Iterator[Daemon]:
    with daemon() as running:
        yield running


@pytest.fixture(scope="module")
def client() -> Iterator[Worker]:
    with stage.worker(None) as running:
        yield running


@pytest.mark.parametrize("payload", [Texts("small", 50), Compressed("br", "one", 1, 50)])
def test_a_socket_whose_count_is_wrong_gives_no_figure(
    client: Worker, rrd: Daemon, payload: Texts | Compressed
) -> None:
    work = socket_work(client, payload, "events", times=1)
    assert rrd_socket("rrd", client, rrd, work).go().wall_s > 0
    with pytest.raises(RuntimeError, match="sent 51 events, and rrd counts 50"):
        rrd_socket("rrd", client, rrd, work._replace(events=51)).go()


def test_repeats_give_no_figure(client: Worker, rrd: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    work = uploads(client, Bodies("gzip", 50), connections=2, passes=2)
    assert (work.bodies, work.events) == (4, 200)
    assert rrd_uploads("rrd", client, rrd, work).go().wall_s > 0
    # All into one recording, which then has each event once.
    monkeypatch.setattr(uuid, "uuid4", lambda: "00000000-0000-4000-8000-000000000001")
    with pytest.raises(RuntimeError, match="sent 200 events, and rrd counts 50"):
        rrd_uploads("rrd", client, rrd, work).go()
