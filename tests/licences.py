"""Makes ``docs/licences.md``: what rrd is installed with, and under which licence (``make licences``).

The names are those of ``requirements.lock`` and of ``assets/package-lock.json``, as far as they run; licences
are what installed packages, and the lock file of npm, say of themselves, in the words of SPDX.
"""

from __future__ import annotations

import json
import re
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import cast

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/licences.md"

BUILD_ONLY = {"setuptools"}

# How packages say what SPDX calls otherwise.
_SPDX = {
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}

_HEAD = """# Licences of what rrd is installed with

`make licences` writes this page, and a test holds it to the lock files. rrd itself is under the MIT licence
([LICENSE](../LICENSE)). These packages are installed beside it, each with the text of its licence, or built
into the scripts that browsers load.
"""


def page() -> str:
    """Return the page as it should be."""
    return "\n".join(
        [
            _HEAD,
            "## Python packages\n",
            *_table(python_licences()),
            "\n## Packages in the scripts that browsers load\n",
            "`/record.js`, the console and exports contain them, with the texts of their licences.\n",
            *_table(npm_licences()),
            "",
        ]
    )


def python_licences() -> dict[str, str]:
    """Return the licence of each Python package that rrd runs with."""
    text = (ROOT / "requirements.lock").read_text()
    names = set(re.findall(r"(?m)^([A-Za-z0-9_.-]+)==", text)) - BUILD_ONLY
    return {name: _licence(cast(Message, metadata.metadata(name))) for name in sorted(names)}


def npm_licences() -> dict[str, str]:
    """Return the licence of each package from npm that browsers run a part of."""
    packages = json.loads((ROOT / "assets/package-lock.json").read_text())["packages"]
    return {
        path.rpartition("node_modules/")[2]: told["license"]
        for path, told in sorted(packages.items())
        if path and not told.get("dev")
    }


def _licence(told: Message) -> str:
    if expression := told.get("License-Expression"):
        return str(expression)
    classifiers = [
        name.rpartition(" :: ")[2]
        for name in told.get_all("Classifier") or []
        if name.startswith("License :: OSI Approved :: ")
    ]
    words = classifiers or [str(told.get("License", ""))]
    return " OR ".join(sorted(_SPDX.get(word, word) for word in words))


def _table(licences: dict[str, str]) -> list[str]:
    return [
        "| package | licence |",
        "| --- | --- |",
        *(f"| {name} | {text} |" for name, text in licences.items()),
    ]


if __name__ == "__main__":
    PAGE.write_text(page())
