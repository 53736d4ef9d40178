"""A key for pages and a key to read with: made once, and found again by their labels.

A key that was made can't be shown again, so each is printed as soon as it is on the disk. A run that was
killed between the two leaves one that was never shown: the next run revokes it, and makes another.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from rrd.access.keys import KeyStore
from rrd.access.lifetime import is_good
from rrd.access.rows import KeyEdit, KeyRow, Scope
from rrd.audit import note, user
from rrd.clock import SystemClock
from rrd.setup.report import StepReport, goes_into_journal

LABELS: dict[Scope, str] = {"ingest": "rrd setup: for pages", "read": "rrd setup: to read"}
_NOT_SHOWN = ", not shown yet"
"""Behind the label of a key until it was printed."""
_NAMES: dict[Scope, str] = {"ingest": "public key (may write)", "read": "private key (may read)"}


class FirstKeys(NamedTuple):
    """The keys that this run made; None for one that was there already."""

    public: str | None
    private: str | None
    origins: tuple[str, ...]
    """What the key for pages is bound to."""


def ensure_keys(store: KeyStore, *, tenant: str, origins: Sequence[str], report: StepReport) -> FirstKeys:
    """Make those of the two keys that are missing, and print them."""
    made: dict[Scope, str] = {}
    rows: dict[Scope, KeyRow] = {}
    for scope, label in LABELS.items():
        for row in _good(store, tenant, scope, label + _NOT_SHOWN):
            store.revoke_key(row.id)
        if known := _good(store, tenant, scope, label):
            rows[scope] = known[-1]
            _tell_known(rows[scope], origins, report)
        elif goes_into_journal(sys.stdout):
            report.note(
                f"no {_NAMES[scope]} made: what is printed here goes into the journal. "
                f"On a terminal: rrd keys create --tenant {tenant} --scope {scope}"
            )
        else:
            bound = origins if scope == "ingest" else ()
            rows[scope], made[scope] = _made(store, tenant, scope, bound, report)
    bound_to = rows["ingest"].origins if "ingest" in rows else ()
    return FirstKeys(made.get("ingest"), made.get("read"), bound_to)


def _good(store: KeyStore, tenant: str, scope: Scope, label: str) -> list[KeyRow]:
    """Return the keys of a label that can be used, and were not rotated; the newest last."""
    now_ms = SystemClock().now_ms()
    return [
        row
        for row in store.list_keys(tenant)
        if (row.label, row.scope, row.successor) == (label, scope, None) and is_good(row, now_ms)
    ]


def _made(
    store: KeyStore, tenant: str, scope: Scope, origins: Sequence[str], report: StepReport
) -> tuple[KeyRow, str]:
    """Make a key and print it. One that a kill keeps from being printed is known by its label."""
    label = LABELS[scope]
    key_id, key = store.create_key(tenant=tenant, scope=scope, origins=origins, label=label + _NOT_SHOWN)
    report.done(f"{_NAMES[scope]} made, shown this once:  {key}")
    _, row = store.edit_key(key_id, KeyEdit(label=label))
    told = {"key": key_id, "tenant": tenant, "scope": scope, "origins": list(row.origins) or None}
    note(os.path.dirname(store.path), "key_made", user() | told)
    return row, key


def _tell_known(row: KeyRow, origins: Sequence[str], report: StepReport) -> None:
    report.same(
        f"{_NAMES[row.scope]}: {row.id}. It can't be shown again; `rrd keys rotate {row.id}` makes another "
        f"in its place"
    )
    if missing := [origin for origin in origins if row.scope == "ingest" and origin not in row.origins]:
        bound = f"bound to {' '.join(row.origins)}" if row.origins else "bound to no origin"
        more = " ".join(f"--add-origin {origin}" for origin in missing)
        report.note(f"key {row.id} is {bound}, and stays so. To change it: rrd keys edit {row.id} {more}")
