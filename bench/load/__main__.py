"""``python -m bench.load``: puts a load on an installation, and tells what came of it."""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from bench.load.coordinate import Phase, processes_of, run
from bench.load.plan import Plan, Target, WrongUse
from bench.load.report import intent, lines_of

_EPILOG = """\
Ends with status 0 if all is well, 1 if anything was refused, cut, lost, doubled, changed or disordered, and 2
if it could not be tried. Latencies count from when a message was meant to be sent (--closed: was sent) to its
ack. The recordings stay on the server, under ids of their own for each run.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns its status."""
    args = _parser().parse_args(arguments)
    try:
        target = Target(args.url, args.key, args.read_key, args.origin)
        plan = _plan(args)
        plan.check()
        print(f"{intent(plan)}; {processes_of(plan)} load processes, --seed {plan.seed}", flush=True)
        outcome = run(target, plan, on_phase=_narrator())
    except WrongUse as error:
        print(f"bench.load: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench.load: stopped; nothing was verified", file=sys.stderr)
        return 1
    print("\n".join(lines_of(outcome)))
    return 0 if outcome.is_good else 1


def _narrator() -> Callable[[Phase], None]:
    began_at = time.monotonic()

    def tell(phase: Phase) -> None:
        print(f"{phase:12}after {time.monotonic() - began_at:.1f} s", flush=True)

    return tell


def _plan(args: argparse.Namespace) -> Plan:
    return Plan(
        recordings=args.recordings,
        for_s=args.for_s,
        rate=args.rate,
        is_closed=args.closed,
        window=args.window,
        ramp_s=args.ramp,
        idle_s=args.idle,
        batch=args.batch,
        thinks=args.think,
        is_post=args.post,
        is_binary=args.binary,
        encoding=args.encoding,
        stream=args.stream,
        deflate="no-takeover" if args.no_takeover else "takeover" if args.deflate else "off",
        events=args.events,
        seed=random.randrange(1_000_000) if args.seed is None else args.seed,
        verify=args.verify,
        processes=args.processes,
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # argparse quotes what it can't read, which may be a key in the wrong place.
        super().error(
            message if "unrecognized arguments" not in message else "there are arguments it doesn't know"
        )


def _parser() -> argparse.ArgumentParser:
    defaults = Plan()
    parser = _Parser(
        prog="python -m bench.load",
        description="Puts a load on an installation, and tells what came of it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument_group("where").add_argument
    add("--url", default="http://127.0.0.1:8787", help="the server, %(default)s if it isn't said")
    add("--key", default=os.environ.get("RRD_KEY", ""), help="a key that may write; else $RRD_KEY")
    add(
        "--read-key",
        default=os.environ.get("RRD_READ_KEY", ""),
        help="one that may read, if that one may not; else $RRD_READ_KEY",
    )
    add("--origin", default="", help="sent as Origin, for keys that are bound to one")

    add = parser.add_argument_group("how much").add_argument
    add(
        "--recordings",
        type=int,
        default=defaults.recordings,
        metavar="N",
        help="each over a connection of its own",
    )
    add(
        "--for",
        type=float,
        default=defaults.for_s,
        dest="for_s",
        metavar="SECONDS",
        help="how long each sends",
    )
    add(
        "--rate",
        type=float,
        default=defaults.rate,
        metavar="N",
        help="events a second in each recording (open loop)",
    )
    add("--closed", action="store_true", help="closed loop: as fast as they are taken")
    add("--window", type=int, default=0, metavar="N", help="messages or bodies without an ack, at most")
    add("--think", action="store_true", help="bursts and pauses, as visitors make them; --rate is the mean")
    add(
        "--ramp",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="open, and later begin to send, over this time",
    )
    add(
        "--idle",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="all open and silent before the first event",
    )
    add("--processes", type=int, default=0, metavar="N", help="load processes; one for each core")

    add = parser.add_argument_group("in which form").add_argument
    add("--batch", type=int, default=defaults.batch, metavar="N", help="events in a message or body")
    add("--post", action="store_true", help="HTTP POST over connections kept alive, not WebSockets")
    add("--binary", action="store_true", help="binary messages")
    add(
        "--encoding",
        choices=("identity", "gzip", "br", "zstd"),
        default="identity",
        help="of messages or bodies",
    )
    add(
        "--stream",
        choices=("each", "one"),
        default="each",
        help="a compressed stream a message, or one over all",
    )
    add("--deflate", action="store_true", help="permessage-deflate, as browsers do it")
    add("--no-takeover", action="store_true", help="permessage-deflate, each message by itself")

    add = parser.add_argument_group("which events").add_argument
    add(
        "--events", choices=("small", "all"), default="small", help="of the corpus: below 1,000 bytes, or all"
    )
    add("--seed", type=int, metavar="N", help="chooses events and bursts; random")
    add(
        "--verify",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="read back and compare what was acked",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
