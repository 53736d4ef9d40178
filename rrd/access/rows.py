"""What is known about keys: their rows, as the store reads them and the gate looks them up."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Right = Literal["ingest", "read", "erase"]
Scope = Literal["ingest", "read", "all", "erase"]

RIGHTS: Mapping[Scope, frozenset[Right]] = {
    "ingest": frozenset({"ingest"}),
    "read": frozenset({"read"}),
    # Not "erase": a player or recorder has no need to destroy, and what is erased is gone for good.
    "all": frozenset({"ingest", "read"}),
    "erase": frozenset({"erase"}),
}


@dataclass(frozen=True, slots=True)
class KeyRow:
    """What is known about an API key: everything but the key."""

    id: str
    tenant: str
    scope: Scope
    origins: tuple[str, ...]
    """Serialised origins (RFC 6454, 6.2) that the key is bound to; empty: any, and none at all."""
    label: str
    created_ms: int
    revoked_ms: int | None
    expires_ms: int | None = None
    successor: str | None = None
    """The id of the key that a rotation made in its place."""


@dataclass(frozen=True, slots=True)
class SigningKeyRow:
    """A signing key. Its secret keeps out of ``repr``, and so out of logs."""

    key_id: str
    tenant: str
    secret: str = field(repr=False)
    created_ms: int
    revoked_ms: int | None
    label: str = ""
    expires_ms: int | None = None
    successor: str | None = None
    is_from_file: bool = False
    """It stands in ``signing_keys_file``, and is changed there alone."""


@dataclass(frozen=True, slots=True)
class KeyEdit:
    """What is to be changed of a key; what is left out stays as it is."""

    label: str | None = None
    expires_ms: float | None = None
    """``inf``: never."""
    add_origins: Sequence[str] = ()
    remove_origins: Sequence[str] = ()
    any_origin: bool = False
    """Unbind it, before origins are added."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All keys at one moment, revoked ones too, as the gate looks them up."""

    keys: Mapping[bytes, KeyRow] = field(repr=False)
    """By ``key_hash``."""
    rows: Mapping[str, KeyRow]
    """By the short id."""
    signing_keys: Mapping[str, SigningKeyRow]
    """By key id."""


def key_hash(key: str) -> bytes:
    """Return what stands for ``key`` in the store. Takes any string, lone surrogates too."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
