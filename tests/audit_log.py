"""What the audit log of a data directory says, for tests."""

from __future__ import annotations

import json
import re
from pathlib import Path


def audited(data_dir: Path | str) -> list[dict[str, object]]:
    """Return its lines without their times, and without ``who`` where that is a user of this machine."""
    path = Path(data_dir, "audit.ndjson")
    lines: list[dict[str, object]] = []
    for text in path.read_text().splitlines() if path.exists() else []:
        line = json.loads(text)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("at"))
        if re.fullmatch(r"user:[\w-]+", line["who"]):
            del line["who"]
            line.pop("sudo", None)
        lines.append(line)
    return lines
