"""``rrd signing-keys create|list|revoke`` and ``rrd sign``: presigned URLs."""

from __future__ import annotations

import argparse

from rrd import ids
from rrd.access import signing
from rrd.cli import common
from rrd.clock import SystemClock
from rrd.errors import BadRequest, NotFound

EXPIRES_IN_S = 3600
EXPIRES_IN_S_MAX = 10 * 365 * 86_400  # Longer than anyone means; a typo in milliseconds is over it.


def register(commands: common.Commands) -> None:
    """Add both commands to the parser."""
    family = commands.add_parser("signing-keys", help="make, list and revoke the keys that sign URLs")
    actions = family.add_subparsers(required=True, metavar="ACTION")

    create = actions.add_parser("create", help="make a signing key; print its keyId and its secret")
    create.add_argument("--tenant", type=common.tenant, required=True)
    create.add_argument(
        "--key-id", metavar="ID", help="unique over all tenants; by default it tells the month"
    )
    common.runs(create, _create)

    show = actions.add_parser("list", help="show all signing keys without their secrets")
    show.add_argument("--tenant", type=common.tenant)
    common.runs(show, _list)

    revoke = actions.add_parser("revoke", help="make a signing key, and every URL it signed, useless")
    revoke.add_argument("key_id", metavar="ID")
    common.runs(revoke, _revoke)

    sign = commands.add_parser("sign", help="print the query string of a presigned URL")
    sign.add_argument("--tenant", type=common.tenant, required=True)
    sign.add_argument("--key-id", metavar="ID", required=True)
    sign.add_argument("--method", choices=["GET", "POST"], required=True, help="GET reads, POST writes")
    scope = sign.add_mutually_exclusive_group(required=True)
    scope.add_argument("--recording", metavar="ID", help="one recording and all below it")
    scope.add_argument("--path", choices=[signing.RECORDINGS_PATH, signing.STATISTICS_PATH])
    sign.add_argument(
        "--expires-in", type=_lifetime, default=EXPIRES_IN_S, metavar="S", help="seconds (3600)"
    )
    common.runs(sign, _sign)

    common.add_shared_flags(family)


def _lifetime(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= EXPIRES_IN_S_MAX:
        raise argparse.ArgumentTypeError(f"{text!r}: use 1 to {EXPIRES_IN_S_MAX} seconds")
    return int(text)


def _create(args: argparse.Namespace) -> int:
    with common.key_store(args, create=True) as store:
        row = store.create_signing_key(tenant=args.tenant, key_id=args.key_id)
    print(row.key_id, row.secret)
    common.hint("That is its keyId and its secret. The secret can sign for the whole tenant: keep it safe.")
    return 0


def _list(args: argparse.Namespace) -> int:
    with common.key_store(args) as store:
        rows = store.list_signing_keys(args.tenant)
    common.print_table(
        ("KEYID", "TENANT", "CREATED", "REVOKED"),
        [
            (row.key_id, row.tenant, common.show_time(row.created_ms), common.show_time(row.revoked_ms))
            for row in rows
        ],
    )
    return 0


def _revoke(args: argparse.Namespace) -> int:
    with common.key_store(args) as store:
        row = store.revoke_signing_key(args.key_id)
    already = "" if row.revoked_ms is None else f", as it was since {common.show_time(row.revoked_ms)}"
    print(f"revoked {row.key_id} (tenant {row.tenant}){already}")
    return 0


def _sign(args: argparse.Namespace) -> int:
    if args.path is not None and args.method == "POST":
        raise BadRequest(f"nothing is written at {args.path}. Use --method GET")
    with common.key_store(args) as store:
        rows = {row.key_id: row for row in store.list_signing_keys(args.tenant)}
    row = rows.get(args.key_id)
    if row is None:
        raise NotFound(
            f"tenant {args.tenant} has no signing key {args.key_id!r}. `rrd signing-keys list` shows them"
        )
    if row.revoked_ms is not None:
        raise BadRequest(f"signing key {row.key_id} was revoked. Use another, or `rrd signing-keys create`")
    print(
        signing.sign(
            secret=row.secret,
            key_id=row.key_id,
            tenant=row.tenant,
            method=args.method,
            scope_path=args.path or _recording_path(args),
            expires_s=SystemClock().now_ms() // 1000 + args.expires_in,
        )
    )
    return 0


def _recording_path(args: argparse.Namespace) -> str:
    return signing.recording_path(ids.check_recording_id(args.recording, common.settings(args).recording_ids))
