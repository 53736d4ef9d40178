"""Rows 18 to 20: visitors as they send: what an event costs, how many there may be, and a storm of them."""

from __future__ import annotations

import statistics

from bench import stage
from bench.paced import scenes
from bench.paced.order import Seen
from bench.paced.scenes import P99_MORE_MS, Scene
from bench.result import Check, Options, Row, rate, ratio
from bench.rows import run_alone

RATE = 20
"""Events a second of a visitor in use: mouse moves come in batches, and scrolls and mutations with them."""


def measure(options: Options) -> Row:
    """Processor time an event, against a bare receiver that discards what it reads."""
    checks: list[Check] = []
    rates, notes = [], stage.core_note()
    for visitors, deflate, bar in ((1000, False, 0.5), (3000, False, 0.4), (1000, True, 0.5)):
        scene = Scene(
            visitors=options.pick(visitors, visitors // 2, visitors // 100),
            for_s=options.pick(10, 2, 1),
            rounds=options.pick(5, 1, 1),
            warm_up_s=options.pick(3, 2, 1),
            ramp_s=options.pick(3, 1, 1),
            deflate=deflate,
        )
        name = f"{scene.visitors:,} visitors{', permessage-deflate' if deflate else ''}"
        ours, theirs = scenes.against_receiver(scene, print)
        what = f"of the receiver's processor time an event, {name}"
        us = [[seen.event_us for seen in each] for each in (ours, theirs)]
        checks += [ratio(what, *us, bar=bar, goal="at most"), *_losses(ours, name)]
        for who, values, seen in (("rrd", us[0], ours), ("receiver", us[1], theirs)):
            rates.append(rate(f"{who}, {name}", "µs/event", values))
            notes += _notes(f"{who}, {name}", seen)
    return Row(
        18, f"visitors with {RATE} small events a second each, sent evenly", checks, rates, notes=notes
    )


def measure_most(options: Options) -> Row:
    """The greatest number of visitors with nothing lost and acks in time."""
    scene = Scene(
        visitors=options.pick(2000, 500, 20), for_s=options.pick(10, 2, 1), warm_up_s=options.pick(3, 1, 1)
    )
    found = scenes.climb(scene, print, most=options.pick(10_000, 1000, 25))
    # Nobody knows what a server takes that the load can't keep busy.
    is_ours = bool(found.too_many) and not found.is_loads_limit
    bar = 8000 if options.scale == "full" and (is_ours or found.most >= 8000) else None
    checks = [Check(f"visitors with {RATE} events a second each", found.most, "", bar)]
    notes = stage.core_note()
    if found.best is not None:
        checks += [
            Check("of a core", found.best.core_share, "%"),
            Check("p99 of an ack", found.best.p99_ms, "ms", scene.flush_age_ms + P99_MORE_MS, "at most"),
        ]
        notes += _notes(f"{found.most:,} visitors", [found.best])
    notes.append(
        f"With {found.too_many:,} visitors: {found.reason}" if found.too_many else "More were not tried."
    )
    return Row(19, "how many visitors a core carries", checks, notes=notes)


def measure_storm(options: Options) -> Row:
    """All come within a second, each with a first event."""
    visitors = options.pick(10_000, 1000, 30)
    scene = Scene(visitors=visitors, ramp_s=1, rounds=options.pick(3, 1, 1))
    seen = scenes.storm(scene, print)
    p99s = [each.p99_ms for each in seen]
    each_ms = [1000 * each.opening_server_s / visitors for each in seen]
    checks = [
        Check(
            "p99 of the first ack, from when its visitor came",
            statistics.median(p99s), "ms", 3000, "at most", min(p99s), max(p99s),
        ),
        *_losses(seen, "in all rounds"),
        Check("of processor time a visitor", statistics.median(each_ms), "ms"),
    ]  # fmt: skip
    return Row(20, f"{visitors:,} visitors who come within a second", checks, notes=_notes("storm", seen))


def _losses(seen: list[Seen], name: str) -> list[Check]:
    lost = sum(each.lost + each.doubled for each in seen)
    refused = sum(each.refused for each in seen)
    return [
        Check(f"events lost or doubled, {name}", lost, "", 0, "at most"),
        Check(f"sockets refused or cut, {name}", refused, "", 0, "at most"),
    ]


def _notes(name: str, seen: list[Seen]) -> list[str]:
    """Say what a reader of the figures must know: how busy the load was, what else ran, what went wrong."""
    load = max(each.window.load_s / max(each.window.seconds, 1e-9) for each in seen)
    others = max(each.window.others_share for each in seen)
    said = [f"{name}: the load used {load:.0%} of its core, others {others:.0%} of both cores"]
    for each in seen:
        said += [f"{name}: {text}" for text in [*each.limits, *each.problems[:3]]]
    return said


if __name__ == "__main__":
    run_alone(measure, measure_most, measure_storm)
