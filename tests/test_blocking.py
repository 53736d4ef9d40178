"""The watch on what blocks finds what it must; its reasons are about code that is there."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path

import pytest
import uvloop

import rrd
from rrd.disk.disk import OsDisk
from tests import blocking

RRD = Path(rrd.__file__).parent


@pytest.fixture
def _blocked() -> list[str]:
    """Instead of the session's: what is told here must not fail the test."""
    return []


@pytest.mark.parametrize(
    "factory", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"]
)
def test_a_sync_by_a_coroutine_of_rrd_is_told(tmp_path: Path, factory: type) -> None:
    code = "async def sync_it(disk, path):\n    disk.sync_dir(path)\n"
    scope: dict[str, object] = {}
    # As if it stood in the package: the watch goes by where code comes from.
    exec(compile(code, f"{RRD}/made_up.py", "exec"), scope)
    told: list[str] = []
    with asyncio.Runner(loop_factory=factory) as runner, blocking.watched(told.append):
        runner.run(scope["sync_it"](OsDisk(), str(tmp_path)))  # type: ignore[operator]
    assert any(line.startswith("os.fsync in ") and "made_up.py" in line for line in told)


async def test_a_plain_function_that_a_test_calls_may_block(tmp_path: Path) -> None:
    told: list[str] = []
    with blocking.watched(told.append):
        OsDisk().sync_dir(str(tmp_path))
    assert told == []


async def test_a_thread_may_block(tmp_path: Path) -> None:
    told: list[str] = []
    with blocking.watched(told.append):
        await asyncio.to_thread(OsDisk().sync_dir, str(tmp_path))
    assert told == []


def test_each_reason_is_about_a_function_that_is_there() -> None:
    gone = []
    for place in blocking.REASONS:
        path, _, function = place.partition(" ")
        files = [file for file in RRD.rglob("*.py") if str(file).endswith(f"/{path}")]
        found = any(
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function
            for file in files
            for node in ast.walk(ast.parse(file.read_bytes()))
        )
        if not found:
            gone.append(place)
    assert gone == []
    assert all((RRD / place).exists() for place in blocking.COMMANDS)
