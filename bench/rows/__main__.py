"""``python -m bench.rows NUMBER``: one row of the table, in this process.

``bench.run`` starts each row like this, with ``--json`` to take the row from a file, so that what one row
leaves behind or breaks is none of the next one's business.
"""

from __future__ import annotations

import argparse

from bench.document import write_row
from bench.report import print_row
from bench.result import Options
from bench.rows import add_scale, find, measure


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.rows", description="Measure one row of the table.")
    parser.add_argument("number", type=int)
    parser.add_argument("--json", metavar="FILE", help="write the row there instead of printing it")
    add_scale(parser)
    args = parser.parse_args()
    try:
        entry = find(args.number)
    except ValueError as error:
        parser.error(str(error))
    row = measure(entry, Options(args.scale))
    if args.json:
        write_row(args.json, row)
    else:
        print_row(row)


if __name__ == "__main__":
    main()
