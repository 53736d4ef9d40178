"""``rrd keys create|list|edit|rotate|revoke``: API keys. A daemon learns of changes within a second."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

from rrd.access.keys import KeyEdit, KeyRow, Scope
from rrd.access.lifetime import is_good
from rrd.cli import common, key_flags
from rrd.clock import SystemClock
from rrd.errors import BadRequest

_SCOPES: dict[str, Scope] = {
    "ingest": "ingest",
    "read": "read",
    "all": "all",
    "erase": "erase",
    "public": "ingest",
    "private": "read",
}
_ID_HELP = "the id that `rrd keys list` shows, or the key itself"


def register(commands: common.Commands) -> None:
    """Add the command family to the parser."""
    family = commands.add_parser("keys", help="make, list, change, rotate and revoke API keys")
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
    key_flags.add_label_flag(create, default="")
    key_flags.add_expires_flag(create, default="never")
    common.runs(create, _create)

    show = actions.add_parser("list", help="show all keys but the keys themselves")
    show.add_argument("--tenant", type=common.tenant)
    show.add_argument("--json", action="store_true", help="as JSON, for programs")
    common.runs(show, _list)

    edit = actions.add_parser("edit", help="change a key's origins, label or time of expiry")
    edit.add_argument("key", metavar="ID", help=_ID_HELP)
    edit.add_argument("--add-origin", action="append", default=[], metavar="URL", help="repeatable")
    edit.add_argument("--remove-origin", action="append", default=[], metavar="URL", help="repeatable")
    edit.add_argument(
        "--any-origin", action="store_true", help="unbind it first; with --add-origin: bind it to these alone"
    )
    key_flags.add_label_flag(edit, default=None)
    key_flags.add_expires_flag(edit, default="as it is")
    common.runs(edit, _edit)

    rotate = actions.add_parser(
        "rotate",
        help="make a key in the place of another, which ends later",
        description="Prints a new key with the old one's tenant, scope, origins and label. The old one stays "
        "good for the overlap, so that pages which still carry it lose nothing.",
    )
    rotate.add_argument("key", metavar="ID", help=_ID_HELP)
    key_flags.add_overlap_flag(rotate)
    key_flags.add_expires_flag(rotate, default="it lives as long as the old one was given")
    common.runs(rotate, _rotate)

    revoke = actions.add_parser("revoke", help="make a key useless, for good")
    revoke.add_argument("key", metavar="ID", help=_ID_HELP)
    common.runs(revoke, _revoke)

    common.add_shared_flags(family)


def _scope(text: str) -> Scope:
    """Return the scope that ``--scope`` names: documents about rrweb say public and private key."""
    scope = _SCOPES.get(text)
    if scope is None:
        raise argparse.ArgumentTypeError(f"{text!r}: use one of {', '.join(_SCOPES)}")
    return scope


def _create(args: argparse.Namespace) -> int:
    expires_ms = key_flags.expires_ms(args)
    with common.key_store(args, create=True) as store:
        key_id, key = store.create_key(
            tenant=args.tenant, scope=args.scope, origins=args.origin, label=args.label, expires_ms=expires_ms
        )
    common.audit(
        args, "key_made", key=key_id, tenant=args.tenant, scope=args.scope, origins=args.origin or None,
        expires=common.show_time(expires_ms) if expires_ms else None,
    )  # fmt: skip
    print(key)
    common.hint(f"Keep it now: it can't be shown again. Its id is {key_id}, for `rrd keys revoke {key_id}`.")
    return 0


def _list(args: argparse.Namespace) -> int:
    with common.key_store(args) as store:
        rows, uses, snapshot = store.list_keys(args.tenant), store.uses(), store.load()
    now_ms = SystemClock().now_ms()
    if args.json:
        key_flags.print_json([_told(row, uses, now_ms) for row in rows])
        return 0
    common.print_table(
        ("ID", "TENANT", "SCOPE", "STATE", "CREATED", "EXPIRES", "REVOKED", "USED", "ORIGINS", "LABEL"),
        [
            (
                row.id,
                row.tenant,
                row.scope,
                key_flags.state_of(row, now_ms),
                common.show_time(row.created_ms),
                common.show_time(row.expires_ms),
                common.show_time(row.revoked_ms),
                key_flags.show_minute(uses.get(("keys", row.id))),
                " ".join(row.origins),
                row.label,
            )
            for row in rows
        ],
    )
    key_flags.tell_expiring(snapshot, now_ms, signing=False)
    return 0


def _told(row: KeyRow, uses: Mapping[tuple[str, str], int], now_ms: int) -> dict[str, object]:
    return {
        "id": row.id,
        "tenant": row.tenant,
        "scope": row.scope,
        "state": key_flags.state_of(row, now_ms),
        "label": row.label,
        "origins": row.origins,
        "createdMs": row.created_ms,
        "expiresMs": row.expires_ms,
        "revokedMs": row.revoked_ms,
        "usedMs": uses.get(("keys", row.id)),
        "successor": row.successor,
    }


def _edit(args: argparse.Namespace) -> int:
    edit = KeyEdit(
        label=args.label,
        expires_ms=args.expires,
        add_origins=args.add_origin,
        remove_origins=args.remove_origin,
        any_origin=args.any_origin,
    )
    if edit == KeyEdit(add_origins=[], remove_origins=[]):
        raise BadRequest(
            "say what to change: --add-origin, --remove-origin, --any-origin, --label or --expires"
        )
    with common.key_store(args) as store:
        before, row = store.edit_key(args.key, edit)
    is_rebound = before.origins != row.origins
    common.audit(
        args, "key_edited", key=row.id, tenant=row.tenant, origins=row.origins if is_rebound else None,
        expires=common.show_time(row.expires_ms) if before.expires_ms != row.expires_ms else None,
        label=row.label if before.label != row.label else None,
    )  # fmt: skip
    print(
        f"{row.id} (tenant {row.tenant}, scope {row.scope}): origins {' '.join(row.origins) or 'any'};"
        f" expires {common.show_time(row.expires_ms) if row.expires_ms else 'never'};"
        f" label {row.label or '-'}"
    )
    return 0


def _rotate(args: argparse.Namespace) -> int:
    with common.key_store(args) as store:
        old, new_id, key = store.rotate_key(args.key, overlap_ms=args.overlap, expires_ms=args.expires)
    ends = common.show_time(old.revoked_ms or old.expires_ms)
    common.audit(args, "key_rotated", key=old.id, successor=new_id, tenant=old.tenant, ends=ends)
    print(key)
    is_over = not is_good(old, SystemClock().now_ms())
    common.hint(
        f"Keep it now: it can't be shown again. Its id is {new_id}. The old key, {old.id}, "
        + (
            "is useless from now on."
            if is_over
            else f"stays good until {ends}: put the new one in its place."
        )
    )
    quotas = [
        entry for entry in common.settings(args).quotas_of_key if entry.strip().startswith(f"{old.id}.")
    ]
    if quotas:
        lines = ", ".join(entry.replace(old.id, new_id, 1) for entry in quotas)
        print(f"rrd: the old key has quotas of its own. Add to quotas_of_key: {lines}", file=sys.stderr)
    return 0


def _revoke(args: argparse.Namespace) -> int:
    with common.key_store(args) as store:
        row = store.revoke_key(args.key)
    if row.revoked_ms is None:
        common.audit(args, "key_revoked", key=row.id, tenant=row.tenant)
    already = "" if row.revoked_ms is None else f", as it was since {common.show_time(row.revoked_ms)}"
    print(f"revoked {row.id} (tenant {row.tenant}, scope {row.scope}){already}")
    return 0
