"""``python -m bench.peers install``: install what the peers need, pinned; does nothing where it is there."""

from __future__ import annotations

import argparse
import sys

from bench.peers import install


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description="Install the peers.")
    parser.add_argument("command", choices=["install"])
    parser.parse_args()
    problems = install()
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
