"""Modules of the console, run by Node and asked by tests: ``units.mjs``, one JSON command a line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


class Units:
    """A Node process that has the console's modules."""

    def __init__(self) -> None:
        if shutil.which("node") is None:
            if os.environ.get("TESTS_REQUIRE_TOOLS") == "1":
                pytest.fail("TESTS_REQUIRE_TOOLS=1, but node is not installed")
            pytest.skip("not installed: node")
        self._process = subprocess.Popen(
            ["node", "--no-warnings", str(HERE / "units.mjs")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
        )  # fmt: skip

    def do(self, command: str, **fields: Any) -> Any:
        """Let it do something; return what comes of it. ``RuntimeError`` with what went wrong."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": command, **fields}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("it has ended")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
