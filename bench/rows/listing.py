"""Row 10: the list of recordings by two filters, newest first, among a million, while ingest goes on.

A client asks on schedule, filter pairs of all kinds in turn, over one keep-alive connection. A request counts
from the moment when it was *meant* to be sent, so a stall counts for each one that it delays. Rounds without
ingest and rounds with take turns; ingest runs at half of the greatest rate that the same daemon took just
before: on a shared machine that rate halves and doubles within minutes.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from urllib.parse import urlencode

from bench import stage
from bench.daemon import Daemon, cpu_s, daemon
from bench.result import Check, Options, Plot, Rate, Row, Series
from bench.rows import half_load, many_recordings, run_alone
from rrd.index import home

P99_BAR_MS = 20.0
INDEX_BAR_BYTES = 1500.0

_HALF = ("environment", "production")
_LEAD_S, _TAIL_S = 0.5, 1.5
"""Ingest begins before the first request and goes on after the last one."""


class Ask(NamedTuple):
    """One request for a list."""

    case: str
    path: str
    is_empty: bool | None
    """Whether nothing may be found, or something must be; None: either."""


class Answers(NamedTuple):
    """How long each request of one round took, in their order, and what it took of the daemon."""

    took_ms: list[float]
    daemon_ms: float
    """Processor time of the daemon, a request; ingest's as well where there is some."""
    paced: half_load.Paced | None


def asks(count: int, each: int, choose: random.Random) -> list[Ask]:
    """Return ``each`` requests of every case, mixed, for an index of ``count`` recordings."""
    made: list[Ask] = []
    for _ in range(each):
        user = ("userId", f"user-{choose.randrange(many_recordings.users(count)):08d}")
        release = ("release", f"2024.{choose.randrange(count // many_recordings.NEIGHBOURS + 1)}")
        third = ("plan", choose.choice(("paid", "free")))
        fifth = choose.randrange(5)
        browser, system = ("browser", f"browser-{fifth}"), ("system", f"system-{fifth}")
        never = ("system", f"system-{(fifth + 3) % 5}")
        rare = ("country", f"country-{choose.randrange(60)}")
        nobody = ("plan", "none")
        made += [
            _ask("a user and a release", (user, release), None),
            _ask("half of all and a user", (_HALF, user), None),
            _ask("half and a third or two", (_HALF, third), False),
            _ask("half and a third or two, skipping 10 %", (_HALF, third), False, offset=count // 10),
            _ask("a fifth and a fifth that overlap", (browser, system), False),
            _ask("a fifth and a fifth that don't", (browser, never), True),
            _ask("a fifth and a country", (browser, rare), None),
            _ask("half, and a release of long ago", (_HALF, ("release", "2024.0")), False),
            _ask("half, and a value that nobody has", (_HALF, nobody), True),
        ]
    return made


def _ask(case: str, filters: Sequence[tuple[str, str]], is_empty: bool | None, *, offset: int = 0) -> Ask:
    query = [(f"meta[{key}]", value) for key, value in filters] + (
        [("offset", str(offset))] if offset else []
    )
    return Ask(case, f"/recordings?{urlencode(query)}", is_empty)


def ask_all(port: int, key: str, wanted: Sequence[Ask], interval_s: float) -> list[float]:
    """Ask on schedule, in this process; return what each took, in ms.

    Raises ``RuntimeError`` for an answer that is not as it should be.
    """
    connection = http.client.HTTPConnection(half_load.HOST, port, timeout=60)
    headers = {"Authorization": f"Bearer {key}"}
    took_ms = []
    started = time.perf_counter() + interval_s
    for number, ask in enumerate(wanted):
        meant_at = started + number * interval_s
        time.sleep(max(0.0, meant_at - time.perf_counter()))
        connection.request("GET", ask.path, headers=headers)
        with connection.getresponse() as response:
            body = response.read()
        took_ms.append(1e3 * (time.perf_counter() - meant_at))
        # Not counted: the next one isn't due yet, or late already.
        found = json.loads(body)["recordings"] if response.status == 200 else None
        if found is None or (ask.is_empty is not None and ask.is_empty != (not found)):
            raise RuntimeError(f"{ask}: {response.status} {body[:200].decode(errors='replace')}")
    connection.close()
    return took_ms


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of all (0 to 1) don't exceed."""
    in_order = sorted(values)
    return in_order[min(len(in_order) - 1, int(share * len(in_order)))]


class _Scene:
    """A daemon on its index, and those who ask and load it."""

    def __init__(self, found: Daemon, asking: stage.Worker, loading: stage.Worker, count: int) -> None:
        assert found.pid is not None
        self._daemon, self._pid = found, found.pid
        self._asking, self._loading = asking, loading
        # New recordings match what is asked for, so that they stand at the head of lists.
        self._metadata = many_recordings.metadata_of(1, count, random.Random(2))

    def greatest_rate(self, seconds: float) -> float:
        return self._loading.call(
            half_load.greatest_rate, self._daemon.port, self._daemon.key, self._metadata, seconds
        )

    def round(self, wanted: Sequence[Ask], interval_s: float, events_s: float | None) -> Answers:
        """Ask, beside ingest of ``events_s`` events a second unless that is None."""
        seconds = len(wanted) * interval_s + _LEAD_S + _TAIL_S
        port, key = self._daemon.port, self._daemon.key
        with ThreadPoolExecutor(1) as thread:
            load = None
            if events_s is not None:
                load = thread.submit(
                    self._loading.call, half_load.keep_rate, port, key, self._metadata, events_s, seconds
                )
                time.sleep(_LEAD_S)
            used = cpu_s(self._pid)
            took_ms = self._asking.call(ask_all, port, key, wanted, interval_s)
            daemon_ms = 1e3 * (cpu_s(self._pid) - used) / len(wanted)
            return Answers(took_ms, daemon_ms, load.result() if load else None)


def measure(options: Options) -> Row:
    count = options.pick(full=1_000_000, quick=10_000, smoke=500)
    rounds = options.pick(full=5, quick=1, smoke=1)
    each = options.pick(full=20, quick=1, smoke=2)
    interval_s = options.pick(full=100, quick=100, smoke=10) / 1e3
    burst_s = options.pick(full=4000, quick=1000, smoke=100) / 1e3
    with tempfile.TemporaryDirectory(prefix="rrd-bench-") as directory:
        data_dir = f"{directory}/data"
        many_recordings.build(data_dir, count)
        index_bytes = os.path.getsize(home.index_path(data_dir)) / count
        choose = random.Random(3)
        idle: list[Answers] = []
        loaded: list[Answers] = []
        wanted: list[Ask] = []
        with (
            daemon(core=stage.server_core(), data_dir=data_dir) as found,
            stage.worker(stage.client_core()) as asking,
            stage.worker(stage.client_core()) as loading,
        ):
            scene = _Scene(found, asking, loading, count)
            scene.greatest_rate(burst_s / 4)  # Warms up.
            greatest: list[float] = []
            scene.round(asks(count, 1, choose), interval_s, None)
            for _ in range(rounds):
                in_round = asks(count, each, choose)
                choose.shuffle(in_round)
                wanted += in_round
                idle.append(scene.round(in_round, interval_s, None))
                greatest.append(scene.greatest_rate(burst_s))
                loaded.append(scene.round(in_round, interval_s, greatest[-1] / 2))
        return _row(options, count, index_bytes, statistics.median(greatest), wanted, idle, loaded)


def _row(
    options: Options,
    count: int,
    index_bytes: float,
    greatest: float,
    wanted: Sequence[Ask],
    idle: Sequence[Answers],
    loaded: Sequence[Answers],
) -> Row:
    paced = [answers.paced for answers in loaded if answers.paced]
    sent = statistics.median(load.events_s for load in paced)
    interval_ms = options.pick(100, 100, 10)
    busy = statistics.median(answers.daemon_ms for answers in loaded) / interval_ms
    notes = [
        f"{len(wanted):,} requests without ingest and as many with, one each {interval_ms} ms; whiskers of "
        "single cases reach from the median to p99.",
        f"Ingest: {sent:,.0f} small events a second of the {greatest:,.0f} that the daemon took at most, "
        f"over {half_load.SOCKETS} sockets; at most {1e3 * max(load.late_s for load in paced):.0f} ms late; "
        f"the load used at most {max(load.client_share for load in paced):.0%} of a core, the daemon "
        f"{busy:.0%} of its own, lists included.",
    ]
    if count < 1_000_000:
        notes.append(f"The index had {count:,} recordings, not 1,000,000.")
    notes += stage.core_note()
    return Row(
        number=10,
        title=f"List by two filters, newest first, {count:,} recordings × 8 keys",
        checks=[
            _p99("p99 while ingest runs at half load", loaded, bar=P99_BAR_MS),
            Check("of index a recording", index_bytes, "bytes", INDEX_BAR_BYTES, "at most"),
            _p99("p99 without ingest", idle),
            Check(
                "of the daemon's processor time a list (without ingest)",
                statistics.median(answers.daemon_ms for answers in idle),
                "ms",
                least=min(answers.daemon_ms for answers in idle),
                most=max(answers.daemon_ms for answers in idle),
            ),
        ],
        rates=sorted(
            _cases("", wanted, idle) + _cases(", while ingest runs", wanted, loaded),
            key=lambda rate: rate.name,
        ),
        plots=[
            Plot(
                "How long a list takes",
                "share of the requests, %",
                "at most so long, ms",
                [Series("without ingest", _curve(idle)), Series("while ingest runs", _curve(loaded))],
                is_log_y=True,
            )
        ],
        notes=notes,
    )


def _all(rounds: Sequence[Answers]) -> list[float]:
    return [took for answers in rounds for took in answers.took_ms]


def _p99(what: str, rounds: Sequence[Answers], *, bar: float | None = None) -> Check:
    each = [percentile(answers.took_ms, 0.99) for answers in rounds]
    return Check(what, percentile(_all(rounds), 0.99), "ms", bar, "at most", min(each), max(each))


def _cases(addition: str, wanted: Sequence[Ask], rounds: Sequence[Answers]) -> list[Rate]:
    """Return the median of each case, its 99th percentile as the most. ``addition`` goes to their names."""
    by_case: dict[str, list[float]] = {}
    for ask, took in zip(wanted, _all(rounds), strict=True):
        by_case.setdefault(ask.case, []).append(took)
    return [
        Rate(case + addition, "ms", statistics.median(took), statistics.median(took), percentile(took, 0.99))
        for case, took in by_case.items()
    ]


def _curve(rounds: Sequence[Answers]) -> list[tuple[float, float]]:
    values = _all(rounds)
    return [(float(share), percentile(values, share / 100)) for share in range(0, 101, 2)]


if __name__ == "__main__":
    run_alone(measure)
