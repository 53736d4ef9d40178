"""Row 11: from ``kill -9`` to ready, with 10,000 active segments and a backlog of 10 GB that is sealed.

Three starts take turns, on a warm page cache: after the kill alone; after a power cut, which left the index a
block behind for every recording and a tenth of these blocks torn; and on an empty directory, which says
how much of it is Python and its imports. What is read until ready, beyond what an empty start reads, is held
against what lies there.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence

from bench import stage
from bench.result import Check, Options, Row, rate, ratio
from bench.rows import run_alone
from bench.rows.left_behind import Ending, LeftBehind, Size, leave
from bench.rows.starts import Started, start, stop_hard

READY_BAR_S = 3.0
READ_BAR = 0.05
"""Of the bytes that lie there. Less than that is no full read, whatever it is that is read."""

_ENDINGS: tuple[Ending, ...] = ("killed", "power cut")


def size(options: Options) -> Size:
    """Return how much lies there."""
    return Size(
        active=options.pick(full=10_000, quick=500, smoke=20),
        sealed=options.pick(full=10_000, quick=1_000, smoke=20),
        sealed_bytes=options.pick(full=1_000_000, quick=1_000_000, smoke=50_000),
    )


def measure(options: Options) -> Row:
    """Make the state, start on it again and again, and check each time that the right things were found."""
    rounds = options.pick(full=5, quick=1, smoke=1)
    core = stage.server_core()
    with tempfile.TemporaryDirectory(prefix="rrd-bench-") as directory:
        left = leave(directory, size(options))
        starts: dict[Ending, list[Started]] = {ending: [] for ending in _ENDINGS}
        empty: list[Started] = []
        # The first round warms up.
        for number in range(0 if options.scale == "quick" else -1, rounds):
            for ending in _ENDINGS:
                left.put_back(ending)
                started = _start(left.data_dir, core)
                check(left, ending, started.recovered)
                if number >= 0:
                    starts[ending].append(started)
            started = _start(f"{directory}/empty-{number}", core)
            if number >= 0:
                empty.append(started)
        return _row(left, starts, empty)


def _start(data_dir: str, core: int | None) -> Started:
    started = start(data_dir, core=core)
    stop_hard(started)
    return started


def check(left: LeftBehind, ending: Ending, recovered: dict[str, int]) -> None:
    """Raise ``RuntimeError`` if a start did not find what was left behind."""
    is_behind = ending == "power cut"
    expected = {
        # After the kill alone the index knows all, and no segment is suspect.
        "segments": left.size.active if is_behind else 0,
        "blocks": left.size.active - left.torn if is_behind else 0,
        "torn": left.torn if is_behind else 0,
        "corrupt": 0,
        "missing": 0,
    }
    if recovered != expected:
        raise RuntimeError(f"{ending}: the daemon has found {recovered}, and there was {expected}")


def _row(left: LeftBehind, starts: dict[Ending, list[Started]], empty: Sequence[Started]) -> Row:
    killed, cut = starts["killed"], starts["power cut"]
    names = {"rrd, after kill -9": killed, "rrd, after a power cut": cut, "an empty start": empty}
    notes = [
        f"{left.size.active:,} active segments, {left.size.sealed:,} sealed ones of "
        f"{left.size.sealed_bytes / 1e6:g} MB: {left.bytes / 1e9:.3g} GB as ls shows them, the sealed ones "
        "sparse. The page cache was warm.",
        "After the power cut the index lacked the last block of every active segment, and "
        f"{left.torn:,} of these blocks were torn.",
        "The time is from the start of the process, the interpreter's own start and all imports included.",
    ]
    notes += stage.core_note()
    return Row(
        number=11,
        title=f"Start to ready, {left.size.active:,} active segments, {left.bytes / 1e9:.2g} GB sealed",
        checks=[
            _ready("from kill -9 to ready", killed, bar=READY_BAR_S),
            _read("of what lies there was read before that", left, killed, empty, bar=READ_BAR),
            _ready("from a power cut to ready: index behind, blocks torn", cut, bar=READY_BAR_S),
            _read("of what lies there was read before that", left, cut, empty),
            ratio(
                "an empty start, after kill -9",
                [started.ready_s for started in killed],
                [started.ready_s for started in empty],
                unit="×",
            ),
        ],
        rates=[
            *(rate(name, "s", [one.ready_s for one in found]) for name, found in names.items()),
            *(
                rate(name, "s of processor time", [one.cpu_s for one in found])
                for name, found in names.items()
            ),
            *(
                rate(name, "MB read", [one.read_bytes / 1e6 for one in found])
                for name, found in names.items()
            ),
        ],
        notes=notes,
    )


def _ready(what: str, found: Sequence[Started], *, bar: float) -> Check:
    took = [started.ready_s for started in found]
    return Check(what, statistics.median(took), "s", bar, "at most", min(took), max(took))


def _read(
    what: str,
    left: LeftBehind,
    found: Sequence[Started],
    empty: Sequence[Started],
    *,
    bar: float | None = None,
) -> Check:
    shares = [
        (ours.read_bytes - theirs.read_bytes) / left.bytes for ours, theirs in zip(found, empty, strict=True)
    ]
    return Check(what, statistics.median(shares), "%", bar, "at most", min(shares), max(shares))


if __name__ == "__main__":
    run_alone(measure)
