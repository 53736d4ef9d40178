"""``python -m bench.paced turns|climb|stay|storm``: visitors as they really send, on two of our cores.

turns   rrd against a bare aiohttp receiver by turns: processor time an event, and the ratio
climb   the greatest number of visitors with nothing lost and acks in time, or what the load can send
stay    visitors who stay: the share of a core, the memory of a socket
storm   all come within a second: how long the first ack takes
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics

from bench.paced import scenes
from bench.paced.order import Seen
from bench.paced.scenes import Scene

_DEFAULTS = {
    "turns": Scene(),
    "climb": Scene(visitors=2000, for_s=8, rounds=1),
    "stay": Scene(visitors=10_000, rate=1, for_s=30, rounds=1, ramp_s=10),
    "storm": Scene(visitors=10_000, ramp_s=1, for_s=0),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.paced",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=list(_DEFAULTS))
    parser.add_argument("--visitors", type=int, metavar="N", help="sockets (climb: where to begin)")
    parser.add_argument("--rate", type=float, help="events a second, each")
    parser.add_argument(
        "--for", dest="for_s", type=float, metavar="SECONDS", help="the measured time of a turn"
    )
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--deflate", action="store_true", default=None, help="as browsers compress")
    parser.add_argument(
        "--ramp", dest="ramp_s", type=float, metavar="SECONDS", help="they come spread over it"
    )
    parser.add_argument(
        "--warm-up", dest="warm_up_s", type=float, metavar="SECONDS", help="sent, not measured"
    )
    parser.add_argument("--first-events", type=int, metavar="K", help="at once when open: fills windows")
    parser.add_argument("--ack-every", type=int, metavar="N", help="one of N asks for acks; 0: none")
    parser.add_argument(
        "--set", action="append", default=[], metavar="RRD_X=Y", help="environment of the daemon"
    )
    parser.add_argument("--alone", action="store_true", help="turns: without the receiver")
    parser.add_argument("--most", type=int, default=10_000, help="climb: visitors at most")
    args = parser.parse_args()
    given = {
        field.name: value
        for field in dataclasses.fields(Scene)
        if (value := getattr(args, field.name, None)) is not None
    }
    settings = dict(each.split("=", 1) for each in args.set)
    scene = dataclasses.replace(_DEFAULTS[args.what], **given, settings=settings)
    print(f"{args.what}: {scene}", flush=True)
    if args.what == "turns":
        _turns(scene, alone=args.alone)
    elif args.what == "climb":
        found = scenes.climb(scene, _say, most=args.most)
        print(
            f"=> {found.most:,} visitors at {scene.rate:g}/s; with {found.too_many:,}: {found.reason or '-'}"
        )
    elif args.what == "stay":
        seen = scenes.stay(scene, _say)
        used = statistics.median((each.used_bytes - each.idle_bytes) / each.opened / 1024 for each in seen)
        print(f"=> {_median(seen, 'core_share'):.1%} of a core, {used:.1f} KiB a socket")
    else:
        seen = scenes.storm(scene, _say)
        each_ms = 1000 * _median(seen, "opening_server_s") / scene.visitors
        refused = sum(each.refused for each in seen)
        print(
            f"=> p99 of the first ack {_median(seen, 'p99_ms'):,.0f} ms, {refused} refused, "
            f"{each_ms:.3f} ms of processor time a visitor"
        )


def _turns(scene: Scene, *, alone: bool) -> None:
    ours, theirs = scenes.against_receiver(scene, _say, alone=alone)
    print(f"=> rrd {_median(ours, 'event_us'):.2f} µs an event")
    if theirs:
        ratios = [our.event_us / their.event_us for our, their in zip(ours, theirs, strict=True)]
        ratio = f"{statistics.median(ratios):.3f} of it ({min(ratios):.3f} to {max(ratios):.3f})"
        print(f"=> bare {_median(theirs, 'event_us'):.2f} µs an event; rrd is {ratio}")


def _median(seen: list[Seen], name: str) -> float:
    return float(statistics.median(getattr(each, name) for each in seen))


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
