"""The tree of errors that ``rrd/errors.py`` draws is the tree that there is."""

from __future__ import annotations

import importlib
import re

from rrd import errors
from rrd.errors import RrdError
from tests.test_layers import MODULES

NODE = re.compile(r"(?P<indent>[│├└─ ]*)(?P<name>[A-Z]\w+)(?: +(?P<status>\d{3})?(?P<text>.*))?")
OF_MANY_STATUSES = {"HeadRefused"}


def _drawn() -> dict[str, tuple[str, int, str]]:
    """Return what the drawing says of each error: its parent, its status, and the module that defines it."""
    assert errors.__doc__ is not None
    drawing = errors.__doc__.partition("::\n\n")[2].partition("\n\n``code``")[0]
    found: dict[str, tuple[str, int, str]] = {}
    above: list[str] = []
    for line in drawing.splitlines():
        node = NODE.fullmatch(line.removeprefix("    "))
        assert node is not None, line
        depth = len(node["indent"]) // 4
        del above[depth:]
        module = re.search(r"\(``([a-z0-9_.]+)``\)$", node["text"] or "")
        name, parent = node["name"], above[-1] if above else ""
        assert name not in found
        found[name] = parent, int(node["status"] or 0), f"rrd.{module[1] if module else 'errors'}"
        above.append(name)
    return found


def _defined() -> dict[str, tuple[str, int, str]]:
    for name in sorted(MODULES):
        if name.startswith("rrd.") and name != "rrd.__main__":
            importlib.import_module(name)
    found: dict[str, tuple[str, int, str]] = {"RrdError": ("", 500, "rrd.errors")}
    waiting = [RrdError]
    for parent in waiting:
        for error in parent.__subclasses__():
            assert error.__name__ not in found, "two errors of one name"
            if error.__module__.startswith("rrd."):
                found[error.__name__] = parent.__name__, error.status, error.__module__
                waiting.append(error)
    return found


def test_every_error_is_drawn_below_its_parent_with_its_status_and_its_module() -> None:
    drawn, defined = _drawn(), _defined()
    assert set(drawn) == set(defined)
    for name, (parent, status, module) in defined.items():
        drawn_status = drawn[name][1]
        assert (drawn[name][0], drawn[name][2]) == (parent, module), name
        # Groups, and what is no answer to a request, are drawn without a status.
        assert drawn_status in {0, status} or name in OF_MANY_STATUSES, name
        is_answered = status != 500 and name not in OF_MANY_STATUSES
        is_group = any(above == name for above, _, _ in defined.values())
        assert drawn_status or is_group or not is_answered, f"{name} has {status}, and none is drawn"
