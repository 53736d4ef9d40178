"""``python -m tests.watched_daemon``: ``python -m rrd`` with a watch on its loop.

A turn that takes too long is written to standard error; the harness looks for it there.
"""

from __future__ import annotations

import asyncio
import gc
import os
import runpy
import sys
from collections.abc import Coroutine
from typing import Any

import uvloop
from aiohttp.client_proto import ResponseHandler

from rrd.http.beat import Beat
from rrd.http.connection import Connection
from tests.loop_watch import Watch, WatchedLoop, watch_protocols


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _new_loop() -> WatchedLoop:
    loop = WatchedLoop()
    loop.watch = watch
    return loop


def _run(main: Coroutine[Any, Any, Any], **settings: Any) -> Any:
    with asyncio.Runner(loop_factory=_new_loop, **settings) as runner:
        return runner.run(main)


if __name__ == "__main__":
    Beat.adapts = not os.environ.get("TESTS_BEAT_AT_CEILING")
    watch = Watch(_tell)
    gc.callbacks.append(watch.on_collection)
    watch_protocols(watch, Connection, ResponseHandler)
    uvloop.run = _run
    runpy.run_module("rrd", run_name="__main__", alter_sys=True)
