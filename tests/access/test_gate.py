from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rrd
from rrd.access import signing
from rrd.access.gate import Gate, Grant, bearer_token
from rrd.access.keys import KeyStore, Right, Scope, SigningKeyRow
from rrd.errors import Forbidden, Unauthenticated

PATH = signing.recording_path("3f2b8c1e-5d4a-4f6b-9c7d-1a2b3c4d5e6f")
SCOPES: tuple[Scope, ...] = ("ingest", "read", "all", "erase")
RIGHTS: tuple[Right, ...] = ("ingest", "read", "erase")
NOW_S = 1_795_400_000
DEADLINE_S = 30  # Of a wait for another process, on a busy machine.


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeyStore]:
    with KeyStore(str(tmp_path / "keys.sqlite")) as store:
        yield store


def ask(
    gate: Gate,
    right: Right,
    token: str | None = None,
    query: Mapping[str, str] | None = None,
    *,
    origin: str | None = None,
    path: str = PATH,
) -> Grant:
    return gate.authorize(
        right=right, token=token, query=query or {}, scope_path=path, origin=origin, now_s=NOW_S
    )


def presigned(
    row: SigningKeyRow, method: signing.Method, *, path: str = PATH, expires_s: int = NOW_S + 60
) -> dict[str, str]:
    return dict(
        parse_qsl(
            signing.sign(
                secret=row.secret,
                key_id=row.key_id,
                tenant=row.tenant,
                method=method,
                scope_path=path,
                expires_s=expires_s,
            )
        )
    )


# Keys


def test_a_key_may_do_what_its_scope_says_and_is_forbidden_the_rest(store: KeyStore) -> None:
    keys = {scope: store.create_key(tenant="acme", scope=scope)[1] for scope in SCOPES}
    gate = Gate(store)
    # "all" is for players and recorders: erasing is never among what a key may do by the way.
    may = {("ingest", "ingest"), ("read", "read"), ("all", "ingest"), ("all", "read"), ("erase", "erase")}
    for scope, key in keys.items():
        for right in RIGHTS:
            if (scope, right) in may:
                grant = ask(gate, right, key)
                assert grant.tenant == "acme"
                assert right in grant.rights
            else:
                with pytest.raises(Forbidden, match=f"scope '{scope}'"):
                    ask(gate, right, key)


@pytest.mark.parametrize(
    ("right", "scopes"),
    [("ingest", "'ingest' or 'all'"), ("read", "'read' or 'all'"), ("erase", "'erase'")],
)
def test_a_refusal_names_the_scopes_that_would_do(store: KeyStore, right: Right, scopes: str) -> None:
    scope: Scope = "all" if right == "erase" else "erase"
    _, key = store.create_key(tenant="acme", scope=scope)
    with pytest.raises(Forbidden, match=f"a key with scope {scopes} is needed"):
        ask(Gate(store), right, key)


def test_a_key_comes_in_the_header_or_as_token(store: KeyStore) -> None:
    key_id, key = store.create_key(tenant="acme", scope="ingest", label="shop")
    gate = Gate(store)
    wanted = Grant("acme", frozenset({"ingest"}), "key", key_id, "shop")
    assert ask(gate, "ingest", key) == wanted
    assert ask(gate, "ingest", None, {"token": key}) == wanted
    assert ask(gate, "ingest", key, {"token": "wrong"}) == wanted
    with pytest.raises(Unauthenticated, match="not known"):
        ask(gate, "ingest", "wrong", {"token": key})


@pytest.mark.parametrize("token", [None, ""])
@pytest.mark.parametrize("query", [{}, {"token": ""}, {"recordingId": "x"}])
def test_no_key_or_an_empty_one_is_unauthenticated(
    store: KeyStore, token: str | None, query: dict[str, str]
) -> None:
    with pytest.raises(Unauthenticated, match="a key is needed"):
        ask(Gate(store), "ingest", token, query)


@pytest.fixture(scope="module")
def any_gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with KeyStore(str(tmp_path_factory.mktemp("gate") / "keys.sqlite")) as store:
        store.create_key(tenant="t", scope="all")
        store.create_signing_key(tenant="t", key_id="k")
        yield Gate(store)


@given(token=st.text(st.characters(), min_size=1))
def test_junk_is_never_a_key(any_gate: Gate, token: str) -> None:
    # Any string is looked at, lone surrogates and control characters too.
    with pytest.raises(Unauthenticated):
        ask(any_gate, "read", token)


@given(
    query=st.dictionaries(
        st.sampled_from(["signature", "expires", "keyId", "token"]),
        st.one_of(st.text(), st.sampled_from(["k", "0" * 64, "99999999999"])),
    )
)
def test_junk_is_never_a_presigned_url(any_gate: Gate, query: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated):
        ask(any_gate, "read", None, query)


def test_a_revoked_key_is_unauthenticated_and_told_so(store: KeyStore) -> None:
    key_id, key = store.create_key(tenant="t", scope="all")
    gate = Gate(store)
    grant = ask(gate, "read", key)
    assert gate.is_live(grant)
    store.revoke_key(key_id)
    assert gate.refresh()
    assert not gate.is_live(grant)
    with pytest.raises(Unauthenticated, match=f"revoked .id {key_id}"):
        ask(gate, "read", key)


def test_a_key_bound_to_origins_works_from_there_alone(store: KeyStore) -> None:
    _, key = store.create_key(
        tenant="t", scope="all", origins=["https://www.example.com", "http://localhost:5173/"]
    )
    gate = Gate(store)
    for origin in ("https://www.example.com", "http://localhost:5173"):
        ask(gate, "ingest", key, origin=origin)
        ask(gate, "read", None, {"token": key}, origin=origin)
    wrong = [
        None,
        "",
        "null",
        "http://www.example.com",
        "https://example.com",
        "https://www.example.com.evil.example",
        "https://www.example.com:444",
        "http://localhost",
    ]
    for other in wrong:
        with pytest.raises(Forbidden, match="origin"):
            ask(gate, "ingest", key, origin=other)


def test_a_key_bound_to_nothing_works_from_anywhere(store: KeyStore) -> None:
    _, key = store.create_key(tenant="t", scope="all")
    gate = Gate(store)
    for origin in (None, "null", "https://any.example"):
        assert ask(gate, "ingest", key, origin=origin).tenant == "t"


def test_neither_grants_nor_refusals_show_a_key(store: KeyStore) -> None:
    _, key = store.create_key(tenant="t", scope="ingest", origins=["https://a.example"])
    row = store.create_signing_key(tenant="t")
    gate = Gate(store)
    shown = [
        repr(ask(gate, "ingest", key, origin="https://a.example")),
        repr(ask(gate, "read", None, presigned(row, "GET"))),
    ]
    refused: list[tuple[Right, str | None, dict[str, str]]] = [
        ("read", key, {}),
        ("ingest", key, {}),
        ("ingest", key + "x", {}),
        ("ingest", None, presigned(row, "GET")),
    ]
    for right, token, query in refused:
        with pytest.raises((Forbidden, Unauthenticated)) as caught:
            ask(gate, right, token, query)
        shown.append(repr(caught.value))
    store.revoke_key(key)
    gate.refresh()
    with pytest.raises(Unauthenticated) as caught:
        ask(gate, "ingest", key)
    shown.append(repr(caught.value))
    for text in shown:
        assert key not in text
        assert row.secret not in text


# The Authorization header


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER   abc ", "abc"),
        ("Bearer", None),
        ("Bearer ", None),
        ("", None),
        (None, None),
        ("Basic YTpi", None),
        ("Bearerabc", None),
        ("abc", None),
    ],
)
def test_a_bearer_token_is_read_whatever_the_case_of_its_scheme(
    header: str | None, token: str | None
) -> None:
    assert bearer_token(header) == token


# Presigned URLs


def test_a_presigned_url_grants_its_method_on_its_path_for_its_tenant(store: KeyStore) -> None:
    row = store.create_signing_key(tenant="acme")
    gate = Gate(store)
    assert ask(gate, "read", None, presigned(row, "GET")) == Grant(
        "acme", frozenset({"read"}), "signing_key", row.key_id, "", 1000 * (NOW_S + 60)
    )
    assert ask(gate, "ingest", None, presigned(row, "POST")).rights == {"ingest"}
    with pytest.raises(Unauthenticated):
        ask(gate, "ingest", None, presigned(row, "GET"))
    with pytest.raises(Unauthenticated):
        ask(gate, "read", None, presigned(row, "POST"))
    with pytest.raises(Unauthenticated):
        ask(gate, "read", None, presigned(row, "GET"), path=signing.RECORDINGS_PATH)
    with pytest.raises(Unauthenticated, match="expired"):
        ask(gate, "read", None, presigned(row, "GET", expires_s=NOW_S))


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_presigned_url_erases(store: KeyStore, method: signing.Method) -> None:
    row = store.create_signing_key(tenant="acme")
    with pytest.raises(Forbidden, match="scope 'erase'"):
        ask(Gate(store), "erase", None, presigned(row, method))


def test_a_signature_of_one_tenants_key_is_no_good_under_anothers(store: KeyStore) -> None:
    mine = store.create_signing_key(tenant="mine")
    other = store.create_signing_key(tenant="other")
    gate = Gate(store)
    with pytest.raises(Unauthenticated):
        ask(gate, "read", None, presigned(mine, "GET") | {"keyId": other.key_id})
    with pytest.raises(Unauthenticated, match="keyId"):
        ask(gate, "read", None, presigned(mine, "GET") | {"keyId": "unheard-of"})


@pytest.mark.parametrize("left_out", signing.PARAMETERS)
def test_a_presigned_url_names_what_it_lacks(store: KeyStore, left_out: str) -> None:
    query = presigned(store.create_signing_key(tenant="t"), "GET")
    gate = Gate(store)
    for broken in ({**query, left_out: ""}, {name: text for name, text in query.items() if name != left_out}):
        with pytest.raises(Unauthenticated, match=f"needs '{left_out}'"):
            ask(gate, "read", None, broken)


def test_a_wrong_key_is_not_saved_by_a_good_signature(store: KeyStore) -> None:
    query = presigned(store.create_signing_key(tenant="t"), "GET")
    with pytest.raises(Unauthenticated, match="not known"):
        ask(Gate(store), "read", "wrong", query)


def test_revoking_a_signing_key_ends_the_urls_it_signed(store: KeyStore) -> None:
    row = store.create_signing_key(tenant="t")
    gate = Gate(store)
    query = presigned(row, "POST")
    grant = ask(gate, "ingest", None, query)
    assert gate.is_live(grant)
    store.revoke_signing_key(row.key_id)
    gate.refresh()
    assert not gate.is_live(grant)
    with pytest.raises(Unauthenticated, match="revoked"):
        ask(gate, "ingest", None, query)


def test_an_api_key_and_a_signing_key_of_one_name_are_not_mixed_up(store: KeyStore) -> None:
    key_id, key = store.create_key(tenant="t", scope="all")
    row = store.create_signing_key(tenant="t", key_id=key_id)
    gate = Gate(store)
    by_key, by_signature = ask(gate, "read", key), ask(gate, "read", None, presigned(row, "GET"))
    store.revoke_key(key_id)
    gate.refresh()
    assert not gate.is_live(by_key)
    assert gate.is_live(by_signature)


# Changes by others


def test_refresh_tells_whether_anything_changed(store: KeyStore) -> None:
    gate = Gate(store)
    assert not gate.refresh()
    _, key = store.create_key(tenant="t", scope="all")
    with pytest.raises(Unauthenticated):
        ask(gate, "read", key)
    assert gate.refresh()
    ask(gate, "read", key)
    assert not gate.refresh()


async def rrd_command(*argv: str) -> str:
    """Run the command line as another process; return its stdout."""
    root = str(Path(rrd.__file__).parents[1])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "rrd",
        *argv,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().strip()


async def test_keys_made_and_revoked_by_another_process_are_noticed(store: KeyStore, tmp_path: Path) -> None:
    gate = Gate(store)
    changed = asyncio.Event()
    watching = asyncio.create_task(gate.watch(changed.set))
    try:
        flags = ("--data-dir", str(tmp_path))
        key = await rrd_command("keys", "create", "--tenant", "t", "--scope", "ingest", *flags)
        await asyncio.wait_for(changed.wait(), DEADLINE_S)
        grant = ask(gate, "ingest", key)
        changed.clear()
        await rrd_command("keys", "revoke", grant.key_id, *flags)
        await asyncio.wait_for(changed.wait(), DEADLINE_S)
        assert not gate.is_live(grant)
        with pytest.raises(Unauthenticated, match="revoked"):
            ask(gate, "ingest", key)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def rename_table(path: Path, source: str, target: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"ALTER TABLE {source} RENAME TO {target}")
    connection.close()


async def test_while_the_store_cannot_be_read_the_gate_says_so_and_goes_on_with_what_it_knew(
    store: KeyStore, tmp_path: Path
) -> None:
    _, key = store.create_key(tenant="t", scope="all")
    gate = Gate(store)
    changed, told = asyncio.Event(), asyncio.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("keys_unreadable"):
                told.set()

    listener = Listener()
    logging.getLogger("rrd.access.gate").addHandler(listener)
    watching = asyncio.create_task(gate.watch(changed.set))
    try:
        # Damage as a reader meets it: a table that isn't there.
        await asyncio.to_thread(rename_table, tmp_path / "keys.sqlite", "keys", "lost")
        await asyncio.wait_for(told.wait(), DEADLINE_S)
        ask(gate, "read", key)
        assert not changed.is_set()
        await asyncio.to_thread(rename_table, tmp_path / "keys.sqlite", "lost", "keys")
        await asyncio.to_thread(store.create_key, tenant="t", scope="read")
        await asyncio.wait_for(changed.wait(), DEADLINE_S)
        ask(gate, "read", key)
    finally:
        logging.getLogger("rrd.access.gate").removeHandler(listener)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
