"""``python -m rrd`` is ``rrd``."""

from __future__ import annotations

import sys

from rrd.cli import main

if __name__ == "__main__":
    sys.exit(main())
