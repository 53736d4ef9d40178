"""Presigned URLs: three query parameters that stand in for a key, for one path and a limited time.

``signature`` is the lower-case hex HMAC-SHA-256 (RFC 2104, FIPS 180-4), keyed with the UTF-8 bytes of the
signing key's secret, over::

    <METHOD> <scope path> <tenant> <expires>

METHOD is ``GET`` for every read and ``POST`` for every write, the WebSocket too, so a read signature never
writes and a write signature never reads. The scope path is ``/recordings/{id}`` for everything below one
recording, else ``/recordings`` or ``/statistics``. ``expires`` is in UNIX seconds, ``keyId`` names the
signing key. None of the four parts can hold a space, so no two requests share a string.

Everything here is pure: no clock, no store.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import urlencode

from rrd.errors import Unauthenticated

Method = Literal["GET", "POST"]

RECORDINGS_PATH = "/recordings"
STATISTICS_PATH = "/statistics"
PARAMETERS = ("signature", "expires", "keyId")

_SIGNATURE = re.compile(r"[0-9a-f]{64}")
# Eleven digits reach the year 5138, and stay within what ``datetime`` can show.
_EXPIRES = re.compile(r"[0-9]{1,11}")


def recording_path(recording_id: str) -> str:
    """Return the scope path of one recording, given its canonical id (a UUID in lower case)."""
    return f"{RECORDINGS_PATH}/{recording_id}"


def sign(*, secret: str, key_id: str, tenant: str, method: Method, scope_path: str, expires_s: int) -> str:
    """Return the query string that lets its bearer do ``method`` on ``scope_path`` until ``expires_s``."""
    expires = str(expires_s)
    signature = _signature(secret, method, scope_path, tenant, expires)
    return urlencode({"signature": signature, "expires": expires, "keyId": key_id})


def verify(
    *,
    secret: str,
    tenant: str,
    method: Method,
    scope_path: str,
    signature: str,
    expires: str,
    now_s: int,
) -> None:
    """Return if ``signature`` and ``expires``, as they came in the query, allow ``method`` on ``scope_path``.

    The signature is good while ``now_s`` is less than ``expires``. Otherwise ``Unauthenticated``, also for
    an ``expires`` that is no number: it is a part of the credential, and a damaged credential is answered
    as a wrong one is, whichever part was damaged.
    """
    if _EXPIRES.fullmatch(expires) is None:
        raise Unauthenticated("'expires' of a presigned URL must be a time in UNIX seconds, in digits")
    wanted = _signature(secret, method, scope_path, tenant, expires)
    # Its form is no secret, so a malformed one need not take the constant-time way; and
    # ``compare_digest`` takes ASCII only.
    if _SIGNATURE.fullmatch(signature) is None or not hmac.compare_digest(wanted, signature):
        raise Unauthenticated(
            f"'signature' doesn't match: here it must be the HMAC-SHA-256, in lower-case hex, "
            f"of '{method} {scope_path} TENANT {expires}'"
        )
    # Only now: whoever holds no good signature learns nothing about one.
    if now_s >= int(expires):
        when = datetime.fromtimestamp(int(expires), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        raise Unauthenticated(f"this presigned URL expired at {when}; ask for a new one")


def _signature(secret: str, method: Method, scope_path: str, tenant: str, expires: str) -> str:
    text = f"{method} {scope_path} {tenant} {expires}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
