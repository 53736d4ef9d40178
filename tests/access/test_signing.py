from __future__ import annotations

import hashlib
import hmac
import string
from urllib.parse import parse_qs

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rrd.access import signing
from rrd.access.signing import Method
from rrd.errors import Unauthenticated

RECORDING = "3f2b8c1e-5d4a-4f6b-9c7d-1a2b3c4d5e6f"

secrets_ = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80)
tenants = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True)
paths = st.one_of(
    st.uuids().map(lambda uuid: signing.recording_path(str(uuid))),
    st.sampled_from([signing.RECORDINGS_PATH, signing.STATISTICS_PATH]),
)
METHODS: tuple[Method, ...] = ("GET", "POST")
methods = st.sampled_from(METHODS)
times = st.integers(1, 9_999_999_999)


def query_of(signed: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(signed, strict_parsing=True).items()}


@given(secrets_, tenants, methods, paths, times, st.integers(1, 10**6))
def test_a_signed_url_is_verified_until_it_expires(
    secret: str, tenant: str, method: Method, path: str, now_s: int, lifetime_s: int
) -> None:
    expires_s = now_s + lifetime_s
    query = query_of(
        signing.sign(
            secret=secret, key_id="k.1", tenant=tenant, method=method, scope_path=path, expires_s=expires_s
        )
    )
    assert query.keys() == set(signing.PARAMETERS)
    assert query["keyId"] == "k.1"

    def verify(at_s: int) -> None:
        signing.verify(
            secret=secret,
            tenant=tenant,
            method=method,
            scope_path=path,
            signature=query["signature"],
            expires=query["expires"],
            now_s=at_s,
        )

    verify(now_s)
    verify(expires_s - 1)
    with pytest.raises(Unauthenticated, match="expired"):
        verify(expires_s)


@given(st.data(), secrets_, tenants, methods, paths, times)
def test_any_changed_part_is_refused(
    data: st.DataObject, secret: str, tenant: str, method: Method, path: str, expires_s: int
) -> None:
    query = query_of(
        signing.sign(
            secret=secret, key_id="k", tenant=tenant, method=method, scope_path=path, expires_s=expires_s
        )
    )
    good: dict[str, str] = {
        "secret": secret,
        "tenant": tenant,
        "method": method,
        "scope_path": path,
        "signature": query["signature"],
        "expires": query["expires"],
    }
    digits = st.text(string.digits, min_size=1, max_size=11)
    changed_value = {
        # HMAC pads a short key with zero bytes (RFC 2104, 2), so those at the end don't count.
        "secret": secrets_.filter(lambda other: other.rstrip("\0") != secret.rstrip("\0")),
        "tenant": tenants,
        "method": methods,
        "scope_path": paths,
        "signature": st.text("0123456789abcdef", min_size=64, max_size=64),
        "expires": digits,
    }
    part = data.draw(st.sampled_from(sorted(good)))
    value = data.draw(changed_value[part].filter(lambda other: other != good[part]))
    with pytest.raises(Unauthenticated, match="doesn't match"):
        signing.verify(**{**good, part: value}, now_s=0)  # type: ignore[arg-type]


@given(st.integers(0, 63), st.sampled_from("0123456789abcdef"))
def test_any_changed_digit_of_a_signature_is_refused(at: int, digit: str) -> None:
    signature = query_of(
        signing.sign(
            secret="s", key_id="k", tenant="t", method="GET", scope_path="/statistics", expires_s=1000
        )
    )["signature"]
    changed = signature[:at] + digit + signature[at + 1 :]
    assume(changed != signature)
    with pytest.raises(Unauthenticated):
        signing.verify(
            secret="s",
            tenant="t",
            method="GET",
            scope_path="/statistics",
            signature=changed,
            expires="1000",
            now_s=0,
        )


@given(paths, times)
def test_a_read_signature_never_writes_and_a_write_signature_never_reads(path: str, expires_s: int) -> None:
    signatures: dict[Method, str] = {
        method: query_of(
            signing.sign(
                secret="s", key_id="k", tenant="t", method=method, scope_path=path, expires_s=expires_s
            )
        )["signature"]
        for method in METHODS
    }
    for method, other in zip(METHODS, reversed(METHODS), strict=True):
        with pytest.raises(Unauthenticated):
            signing.verify(
                secret="s",
                tenant="t",
                method=method,
                scope_path=path,
                signature=signatures[other],
                expires=str(expires_s),
                now_s=0,
            )


def test_the_signature_is_the_documented_hmac() -> None:
    # Computed by: printf '%s' "$TEXT" | openssl dgst -sha256 -hmac "$SECRET"
    text = f"GET /recordings/{RECORDING} acme 1764000000"
    secret = "0123456789abcdef" * 4
    wanted = "51e7e6c2e5b6876a5e52627dba7e51efb3684003c7237e7ed9a4719d101db336"
    signed = signing.sign(
        secret=secret,
        key_id="key-2026-11",
        tenant="acme",
        method="GET",
        scope_path=signing.recording_path(RECORDING),
        expires_s=1764000000,
    )
    assert hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest() == wanted
    assert signed == f"signature={wanted}&expires=1764000000&keyId=key-2026-11"


@given(st.one_of(st.sampled_from(["", "-1", "1e9", " 1", "1.5", "٣", "9" * 12, "0x10"]), st.text()))
def test_an_expires_that_is_no_number_is_refused_as_a_wrong_credential(expires: str) -> None:
    with pytest.raises(Unauthenticated):
        signing.verify(
            secret="s",
            tenant="t",
            method="GET",
            scope_path="/statistics",
            signature="0" * 64,
            expires=expires,
            now_s=0,
        )


@given(st.text())
def test_junk_for_a_signature_is_refused(signature: str) -> None:
    with pytest.raises(Unauthenticated):
        signing.verify(
            secret="s",
            tenant="t",
            method="GET",
            scope_path="/statistics",
            signature=signature,
            expires="99",
            now_s=0,
        )


def test_the_greatest_expires_still_makes_a_message() -> None:
    query = query_of(
        signing.sign(
            secret="s", key_id="k", tenant="t", method="GET", scope_path="/statistics", expires_s=10**11 - 1
        )
    )
    with pytest.raises(Unauthenticated, match="expired at 5138-"):
        signing.verify(
            secret="s",
            tenant="t",
            method="GET",
            scope_path="/statistics",
            signature=query["signature"],
            expires=query["expires"],
            now_s=10**12,
        )
