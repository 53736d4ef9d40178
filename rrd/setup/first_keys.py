"""A key for pages and a key to read with: made once, and found again by their labels.

A key that was made can't be shown again, so each is printed as soon as it is on the disk.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

from rrd.access.keys import KeyRow, KeyStore, Scope
from rrd.setup.report import StepReport, goes_into_journal

LABELS: dict[Scope, str] = {"ingest": "rrd setup: for pages", "read": "rrd setup: to read"}
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
        known = [
            row
            for row in store.list_keys(tenant)
            if row.label == label and row.scope == scope and row.revoked_ms is None
        ]
        if known:
            rows[scope] = known[-1]
            _tell_known(rows[scope], origins, report)
        elif goes_into_journal(sys.stdout):
            report.note(
                f"no {_NAMES[scope]} made: what is printed here goes into the journal. "
                f"On a terminal: rrd keys create --tenant {tenant} --scope {scope}"
            )
        else:
            bound = origins if scope == "ingest" else ()
            _, made[scope] = store.create_key(tenant=tenant, scope=scope, origins=bound, label=label)
            report.done(f"{_NAMES[scope]} made, shown this once:  {made[scope]}")
            rows[scope] = store.list_keys(tenant)[-1]
    bound_to = rows["ingest"].origins if "ingest" in rows else ()
    return FirstKeys(made.get("ingest"), made.get("read"), bound_to)


def _tell_known(row: KeyRow, origins: Sequence[str], report: StepReport) -> None:
    report.same(
        f"{_NAMES[row.scope]}: {row.id}. It can't be shown again; `rrd keys revoke {row.id}` and `rrd setup` "
        "make another"
    )
    if missing := [origin for origin in origins if row.scope == "ingest" and origin not in row.origins]:
        bound = f"bound to {' '.join(row.origins)}" if row.origins else "bound to no origin"
        report.note(f"key {row.id} is {bound}, and stays so; --origin {' '.join(missing)} needs another key")
