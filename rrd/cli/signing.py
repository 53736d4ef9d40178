"""``rrd signing-keys create|list|edit|rotate|revoke`` and ``rrd sign``: presigned URLs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from rrd import ids
from rrd.access import signing
from rrd.access.keys import KeyEdit, SigningKeyRow
from rrd.access.signing_file import read_signing_keys
from rrd.cli import common, key_flags
from rrd.clock import SystemClock
from rrd.errors import BadRequest, ConfigError, NotFound

EXPIRES_IN_S = 3600
EXPIRES_IN_S_MAX = 10 * 365 * 86_400  # Longer than anyone means; a typo in milliseconds is over it.


def register(commands: common.Commands) -> None:
    """Add both commands to the parser."""
    family = commands.add_parser(
        "signing-keys", help="make, list, change, rotate and revoke the keys that sign URLs"
    )
    actions = family.add_subparsers(required=True, metavar="ACTION")

    create = actions.add_parser("create", help="make a signing key; print its keyId and its secret")
    create.add_argument("--tenant", type=common.tenant, required=True)
    create.add_argument(
        "--key-id", metavar="ID", help="unique over all tenants; by default it tells the month"
    )
    key_flags.add_label_flag(create, default="")
    key_flags.add_expires_flag(create, default="never")
    common.runs(create, _create)

    show = actions.add_parser("list", help="show all signing keys without their secrets")
    show.add_argument("--tenant", type=common.tenant)
    show.add_argument("--json", action="store_true", help="as JSON, for programs")
    common.runs(show, _list)

    edit = actions.add_parser("edit", help="change a signing key's label or time of expiry")
    edit.add_argument("key_id", metavar="ID")
    key_flags.add_label_flag(edit, default=None)
    key_flags.add_expires_flag(edit, default="as it is")
    common.runs(edit, _edit)

    rotate = actions.add_parser(
        "rotate",
        help="make a signing key in the place of another, which ends later",
        description="Prints a new keyId and secret for the old one's tenant. URLs that the old one has "
        "signed work for the overlap, or until their own time is over.",
    )
    rotate.add_argument("key_id", metavar="ID")
    rotate.add_argument("--key-id", dest="new_key_id", metavar="NEW", help="the new one's id")
    key_flags.add_overlap_flag(rotate)
    key_flags.add_expires_flag(rotate, default="it lives as long as the old one was given")
    common.runs(rotate, _rotate)

    revoke = actions.add_parser("revoke", help="make a signing key, and every URL it signed, useless")
    revoke.add_argument("key_id", metavar="ID")
    common.runs(revoke, _revoke)

    _register_sign(commands)
    common.add_shared_flags(family)


def _register_sign(commands: common.Commands) -> None:
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


def _lifetime(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= EXPIRES_IN_S_MAX:
        raise argparse.ArgumentTypeError(f"{text!r}: use 1 to {EXPIRES_IN_S_MAX} seconds")
    return int(text)


def _create(args: argparse.Namespace) -> int:
    expires_ms = key_flags.expires_ms(args)
    with common.key_store(args, create=True) as store:
        row = store.create_signing_key(
            tenant=args.tenant, key_id=args.key_id, label=args.label, expires_ms=expires_ms
        )
    ends = common.show_time(expires_ms) if expires_ms else None
    common.audit(args, "signing_key_made", key=row.key_id, tenant=row.tenant, expires=ends)
    print(row.key_id, row.secret)
    common.hint("That is its keyId and its secret. The secret can sign for the whole tenant: keep it safe.")
    return 0


def _list(args: argparse.Namespace) -> int:
    with common.key_store(args) as store:
        rows, uses, snapshot = store.list_signing_keys(args.tenant), store.uses(), store.load()
    rows += [row for row in _from_file(args) if args.tenant in {None, row.tenant}]
    now_ms = SystemClock().now_ms()
    if args.json:
        key_flags.print_json([_told(row, uses, now_ms) for row in rows])
        return 0
    common.print_table(
        ("KEYID", "TENANT", "STATE", "CREATED", "EXPIRES", "REVOKED", "USED", "LABEL"),
        [
            (
                row.key_id,
                row.tenant,
                "file" if row.is_from_file else key_flags.state_of(row, now_ms),
                common.show_time(row.created_ms or None),
                common.show_time(row.expires_ms),
                common.show_time(row.revoked_ms),
                key_flags.show_minute(uses.get(("signing_keys", row.key_id))),
                row.label,
            )
            for row in rows
        ],
    )
    key_flags.tell_expiring(snapshot, now_ms, signing=True)
    return 0


def _told(row: SigningKeyRow, uses: Mapping[tuple[str, str], int], now_ms: int) -> dict[str, object]:
    return {
        "keyId": row.key_id,
        "tenant": row.tenant,
        "state": key_flags.state_of(row, now_ms),
        "isFromFile": row.is_from_file,
        "label": row.label,
        "createdMs": row.created_ms or None,
        "expiresMs": row.expires_ms,
        "revokedMs": row.revoked_ms,
        "usedMs": uses.get(("signing_keys", row.key_id)),
        "successor": row.successor,
    }


def _from_file(args: argparse.Namespace) -> tuple[SigningKeyRow, ...]:
    """Return the keys of ``signing_keys_file``; none where this user can't read it. A person is told."""
    try:
        return read_signing_keys(common.settings(args).signing_keys_file)
    except ConfigError as error:
        common.hint(f"The keys of signing_keys_file are not shown. {error}")
        return ()


def _edit(args: argparse.Namespace) -> int:
    if args.label is None and args.expires is None:
        raise BadRequest("say what to change: --label or --expires")
    with common.key_store(args) as store:
        before, row = store.edit_signing_key(args.key_id, KeyEdit(label=args.label, expires_ms=args.expires))
    ends = common.show_time(row.expires_ms) if row.expires_ms else "never"
    common.audit(
        args, "signing_key_edited", key=row.key_id, tenant=row.tenant,
        expires=ends if before.expires_ms != row.expires_ms else None,
        label=row.label if before.label != row.label else None,
    )  # fmt: skip
    print(f"{row.key_id} (tenant {row.tenant}): expires {ends}; label {row.label or '-'}")
    return 0


def _rotate(args: argparse.Namespace) -> int:
    with common.key_store(args) as store:
        old, new = store.rotate_signing_key(
            args.key_id, new_key_id=args.new_key_id, overlap_ms=args.overlap, expires_ms=args.expires
        )
    ends = common.show_time(old.revoked_ms or old.expires_ms)
    common.audit(
        args, "signing_key_rotated", key=old.key_id, successor=new.key_id, tenant=old.tenant, ends=ends
    )
    print(new.key_id, new.secret)
    common.hint(f"Sign with it from now on. What {old.key_id} has signed works until {ends} at most.")
    return 0


def _revoke(args: argparse.Namespace) -> int:
    with common.key_store(args) as store:
        row = store.revoke_signing_key(args.key_id)
    if row.revoked_ms is None:
        common.audit(args, "signing_key_revoked", key=row.key_id, tenant=row.tenant)
    already = "" if row.revoked_ms is None else f", as it was since {common.show_time(row.revoked_ms)}"
    print(f"revoked {row.key_id} (tenant {row.tenant}){already}")
    return 0


def _sign(args: argparse.Namespace) -> int:
    if args.path is not None and args.method == "POST":
        raise BadRequest(f"nothing is written at {args.path}. Use --method GET")
    with common.key_store(args) as store:
        known = [*store.list_signing_keys(args.tenant), *_from_file(args)]
    row = {row.key_id: row for row in known if row.tenant == args.tenant}.get(args.key_id)
    if row is None:
        raise NotFound(
            f"tenant {args.tenant} has no signing key {args.key_id!r}. `rrd signing-keys list` shows them"
        )
    if row.revoked_ms is not None:
        raise BadRequest(f"signing key {row.key_id} was revoked. Use another, or `rrd signing-keys create`")
    expires_s = SystemClock().now_ms() // 1000 + args.expires_in
    if row.expires_ms is not None and row.expires_ms < 1000 * expires_s:
        raise BadRequest(
            f"signing key {row.key_id} expires at {common.show_time(row.expires_ms)}, before the URL would."
            " Use another key, a shorter --expires-in, or `rrd signing-keys edit`"
        )
    print(
        signing.sign(
            secret=row.secret,
            key_id=row.key_id,
            tenant=row.tenant,
            method=args.method,
            scope_path=args.path or _recording_path(args),
            expires_s=expires_s,
        )
    )
    return 0


def _recording_path(args: argparse.Namespace) -> str:
    return signing.recording_path(ids.check_recording_id(args.recording, common.settings(args).recording_ids))
