"""What the commands for API keys and for signing keys share: flags of lifetimes, and what a list shows."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, TypeVar

import orjson

from rrd.access import temporary
from rrd.access.lifetime import Expiring, expiring_soon, is_good, parse_expiry, parse_overlap
from rrd.access.notices import notices
from rrd.cli import common
from rrd.clock import SystemClock
from rrd.errors import BadRequest

if TYPE_CHECKING:
    from rrd.access.rows import Snapshot

T = TypeVar("T")


def add_expires_flag(parser: argparse.ArgumentParser, *, default: str) -> None:
    """Add ``--expires``; what it gives is a time in ms, ``inf`` for never, None where it is left out."""
    parser.add_argument(
        "--expires",
        type=_checked(_expiry),
        metavar="WHEN",
        help=f"90d, 36h, 2027-01-31 (its first moment, UTC), or never ({default})",
    )


def add_overlap_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--overlap``: for how long the old key stays good."""
    parser.add_argument(
        "--overlap",
        type=_checked(parse_overlap),
        default="7d",
        metavar="SPAN",
        help="how long the old key stays good, like 36h or 7d; 0: it is revoked at once (7d)",
    )


def add_label_flag(parser: argparse.ArgumentParser, *, default: str | None) -> None:
    """Add ``--label``."""
    parser.add_argument(
        "--label", type=_label, default=default, help="a name for you, shown in lists and logs"
    )


def expires_ms(args: argparse.Namespace) -> int | None:
    """Return when a new key is to expire; None: never."""
    return None if args.expires in {None, inf} else int(args.expires)


def state_of(row: Expiring, now_ms: int) -> str:
    """Return in a word whether a key counts."""
    if row.revoked_ms is not None:
        return "revoked"
    if not is_good(row, now_ms):
        return "expired"
    if row.successor is not None:
        return "rotated"
    return "expiring" if expiring_soon([row], now_ms) else "good"


def show_minute(ms: int | None) -> str:
    """Return a time to the minute, "-" for None."""
    return "-" if ms is None else f"{common.show_time(ms)[:16]}Z"


def tell_expiring(snapshot: Snapshot, now_ms: int, *, signing: bool) -> None:
    """Tell a person which keys are about to expire, and what to do."""
    for notice in notices(snapshot, now_ms):
        if notice.is_signing_key == signing:
            common.hint(f"{notice.sentence()}. Next: {notice.next_step}.")


def print_json(rows: list[dict[str, object]]) -> None:
    """Print a list for programs."""
    print(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())


def _expiry(text: str) -> float:
    expires = parse_expiry(text, SystemClock().now_ms())
    return inf if expires is None else expires


def _checked(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Return ``parse`` with its refusals as wrong usage."""

    def checked(text: str) -> T:
        try:
            return parse(text)
        except BadRequest as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked


def _label(text: str) -> str:
    if text == temporary.LABEL:
        raise argparse.ArgumentTypeError(f"{text!r} marks keys that end with an import: choose another label")
    return text
