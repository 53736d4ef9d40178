"""A session may do what its keys may, at this moment, and at most read and erase."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.access.gate import Gate
from rrd.access.keys import RIGHTS, KeyStore, Scope
from rrd.console.desk import RIGHTS_MAX, Desk
from rrd.console.sessions import SessionStore
from rrd.console.tries import Tries


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with (
        KeyStore(str(tmp_path / "keys.sqlite")) as keys,
        SessionStore(str(tmp_path / "console.sqlite")) as sessions,
    ):
        yield Desk(sessions, keys, Gate(keys), Tries())


def refresh(desk: Desk) -> Gate:
    gate = desk._gate
    gate.refresh()
    return gate


KEYS = st.lists(
    st.tuples(st.sampled_from(["acme", "shop", "blog"]), st.sampled_from(list(RIGHTS)), st.booleans()),
    max_size=6,
)


@settings(max_examples=25)
@given(made=KEYS, operator=st.booleans())
def test_a_session_has_the_rights_of_its_keys_that_are_good(
    tmp_path_factory: pytest.TempPathFactory, made: list[tuple[str, Scope, bool]], operator: bool
) -> None:
    directory = tmp_path_factory.mktemp("desk")
    with (
        KeyStore(str(directory / "keys.sqlite")) as keys,
        SessionStore(str(directory / "console.sqlite")) as sessions,
    ):
        desk = Desk(sessions, keys, Gate(keys), Tries())
        ids = [keys.create_key(tenant=tenant, scope=scope)[0] for tenant, scope, _ in made]
        _, session = sessions.begin(key_ids=ids, is_operator=operator, age_ms=60_000)
        for key_id, (_, _, revoked) in zip(ids, made, strict=True):
            if revoked:
                keys.revoke_key(key_id)
        gate = refresh(desk)
        rights = desk.rights(session)
        assert list(rights) == sorted(rights)
        for tenant in ("acme", "shop", "blog", "new"):
            scopes = [scope for name, scope, revoked in made if name == tenant and not revoked]
            wanted = frozenset().union(*(RIGHTS[scope] for scope in scopes)) & RIGHTS_MAX
            grant = desk.grant(session, tenant)
            if operator:
                # Of tenants that have, or had, a key it is told; and it may see others.
                assert (tenant in rights) == (tenant in {name for name, _, _ in made})
                assert grant is not None and grant.rights == RIGHTS_MAX
            else:
                assert rights.get(tenant, frozenset()) == wanted
                assert (grant.rights if grant is not None else frozenset()) == wanted
            if grant is not None:
                assert (grant.kind, grant.tenant, grant.key_id) == ("session", tenant, session.id)
                assert grant.expires_ms == session.expires_ms
                assert gate.is_live(grant)
        assert desk.may_anything(session) == (operator or any(rights.values()))


def test_a_grant_ends_with_its_key_and_with_its_session(desk: Desk) -> None:
    read, _ = desk.keys.create_key(tenant="acme", scope="read")
    erase, _ = desk.keys.create_key(tenant="acme", scope="erase")
    gate = refresh(desk)
    _, session = desk.sessions.begin(key_ids=[read], is_operator=False, age_ms=60_000)
    before = desk.grant(session, "acme")
    _, wider = desk.sessions.extend(session, key_ids=[erase], is_operator=False)
    after = desk.grant(wider, "acme")
    assert before is not None and after is not None
    assert gate.is_live(before) and gate.is_live(after)
    desk.keys.revoke_key(erase)
    gate.refresh()
    assert gate.is_live(before) and not gate.is_live(after)
    desk.sessions.end(session)
    assert not gate.is_live(before)


def test_where_there_is_no_console_no_session_is_live(tmp_path: Path, desk: Desk) -> None:
    _, session = desk.sessions.begin(key_ids=[], is_operator=True, age_ms=60_000)
    grant = desk.grant(session, "acme")
    assert grant is not None
    with KeyStore(str(tmp_path / "other.sqlite")) as keys:
        assert not Gate(keys).is_live(grant)
