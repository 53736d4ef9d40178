"""``python -m bench.attacks NAME … --url http://127.0.0.1:8787 --key KEY --for 10``: carry out attacks."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
from urllib.parse import urlsplit

from bench.attacks import ATTACKS, Victim
from bench.attacks.link import together
from bench.load import raise_file_limit


async def carry_out(names: list[str], victim: Victim, for_s: float) -> None:
    """Let all of ``names`` go on at once for so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(for_s):
            await together(ATTACKS[name].run(victim) for name in names)


def main() -> None:
    listed = "\n".join(f"  {name:28}{attack.title}" for name, attack in ATTACKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench.attacks",
        description=f"Attack an installation of your own. The kinds:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="+", choices=list(ATTACKS), metavar="NAME", help="all at once")
    parser.add_argument("--url", default="http://127.0.0.1:8787")
    parser.add_argument("--key", default=os.environ.get("KEY", ""), help="scope all; default: $KEY")
    parser.add_argument("--for", dest="for_s", type=float, default=10.0, metavar="SECONDS")
    parser.add_argument("--from", dest="source", default="", metavar="ADDRESS", help="of this machine")
    args = parser.parse_args()
    url = urlsplit(args.url)
    if url.hostname is None:
        parser.error(f"{args.url!r} is no URL of a server, like http://127.0.0.1:8787")
    victim = Victim(url.hostname, url.port or 80, args.key, args.source)
    raise_file_limit()
    # The victims of an attack are to have the processor, not the attacker.
    os.nice(10)
    asyncio.run(carry_out(args.names, victim, args.for_s))


if __name__ == "__main__":
    main()
