"""The private names of aiosqlite that the index stands on: an upgrade that drops one has to fail here."""

from __future__ import annotations

import ast
import sqlite3
import threading
from pathlib import Path

import aiosqlite

import rrd.index.sqlite.connections

USED = {"_execute", "_conn", "_thread"}


def test_one_module_alone_uses_private_names_of_aiosqlite_and_only_these() -> None:
    used: dict[str, set[str]] = {}
    for path in Path(rrd.index.sqlite.connections.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Attribute) and node.attr in dir(aiosqlite.Connection) + list(USED):
                is_own = isinstance(node.value, ast.Name) and node.value.id == "self"
                if node.attr.startswith("_") and not node.attr.startswith("__") and not is_own:
                    used.setdefault(path.name, set()).add(node.attr)
    assert used == {"connections.py": USED}


async def test_a_connection_has_them_and_they_are_what_they_were() -> None:
    db = await aiosqlite.connect(":memory:", isolation_level=None)
    try:
        assert isinstance(db._conn, sqlite3.Connection)
        assert isinstance(db._thread, threading.Thread)
        # A call in the connection's own thread, with what it returns.
        thread = await db._execute(threading.get_ident)  # type: ignore[no-untyped-call]
        assert thread == db._thread.ident
    finally:
        await db.close()
    db._thread.join(timeout=20)
    assert not db._thread.is_alive()
