"""``rrd keys create|list|revoke``: API keys. A running daemon learns of changes within a second."""

from __future__ import annotations

import argparse

from rrd.access import temporary
from rrd.access.keys import Scope
from rrd.cli import common

_SCOPES: dict[str, Scope] = {
    "ingest": "ingest",
    "read": "read",
    "all": "all",
    "erase": "erase",
    "public": "ingest",
    "private": "read",
}


def register(commands: common.Commands) -> None:
    """Add the command family to the parser."""
    family = commands.add_parser("keys", help="make, list and revoke API keys")
    actions = family.add_subparsers(required=True, metavar="ACTION")

    create = actions.add_parser("create", help="make a key and print it, once")
    create.add_argument("--tenant", type=common.tenant, required=True)
    create.add_argument(
        "--scope",
        type=_scope,
        metavar="SCOPE",
        required=True,
        help="what its bearer may do: ingest (or public: for pages), read (or private), all (both of them), "
        "or erase (nothing else)",
    )
    create.add_argument(
        "--origin",
        action="append",
        default=[],
        metavar="URL",
        help="bind it to pages of this origin (repeatable)",
    )
    create.add_argument("--label", type=_label, default="", help="a name for you, shown in lists and logs")
    common.runs(create, _create)

    show = actions.add_parser("list", help="show all keys but the keys themselves")
    show.add_argument("--tenant", type=common.tenant)
    common.runs(show, _list)

    revoke = actions.add_parser("revoke", help="make a key useless, for good")
    revoke.add_argument("key", metavar="ID", help="the id that `rrd keys list` shows, or the key itself")
    common.runs(revoke, _revoke)

    common.add_shared_flags(family)


def _scope(text: str) -> Scope:
    """Return the scope that ``--scope`` names: documents about rrweb say public and private key."""
    scope = _SCOPES.get(text)
    if scope is None:
        raise argparse.ArgumentTypeError(f"{text!r}: use one of {', '.join(_SCOPES)}")
    return scope


def _label(text: str) -> str:
    if text == temporary.LABEL:
        raise argparse.ArgumentTypeError(f"{text!r} marks keys that end with an import: choose another label")
    return text


def _create(args: argparse.Namespace) -> int:
    with common.key_store(args, create=True) as store:
        key_id, key = store.create_key(
            tenant=args.tenant, scope=args.scope, origins=args.origin, label=args.label
        )
    print(key)
    common.hint(f"Keep it now: it can't be shown again. Its id is {key_id}, for `rrd keys revoke {key_id}`.")
    return 0


def _list(args: argparse.Namespace) -> int:
    with common.key_store(args) as store:
        rows = store.list_keys(args.tenant)
    common.print_table(
        ("ID", "TENANT", "SCOPE", "CREATED", "REVOKED", "ORIGINS", "LABEL"),
        [
            (
                row.id,
                row.tenant,
                row.scope,
                common.show_time(row.created_ms),
                common.show_time(row.revoked_ms),
                " ".join(row.origins),
                row.label,
            )
            for row in rows
        ],
    )
    return 0


def _revoke(args: argparse.Namespace) -> int:
    with common.key_store(args) as store:
        row = store.revoke_key(args.key)
    already = "" if row.revoked_ms is None else f", as it was since {common.show_time(row.revoked_ms)}"
    print(f"revoked {row.id} (tenant {row.tenant}, scope {row.scope}){already}")
    return 0
