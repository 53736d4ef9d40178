"""A JSON object of metadata → its pairs, each judged by itself: a bad one never loses its neighbours.

Values become strings, numbers digit for digit. Only the recording knows how many keys it has, so that limit
is not kept here.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from rrd.nesting import pieces, without_lone_surrogates
from rrd.wire.limits import Limits
from rrd.wire.values import members, plain_name, skip_space

BadPairReason = Literal[
    "metadata_key_empty",
    "metadata_key_too_long",
    "metadata_key_invalid",
    "metadata_value_too_long",
    "metadata_value_invalid",
    "metadata_value_not_flat",
    "too_many_metadata_keys",
]

PAIRS_MAX = 10_000
"""Pairs of one object that are looked at. Each takes some hundred bytes beside its own, and one event may
hold millions; what comes behind is set aside in one piece."""

_KEY_TOLD_CHARACTERS = 100

# From its second page on, the rrweb client sends its whole cookie where the visitor's id is meant.
_VISITOR_COOKIES = ("rrweb-browser-client-visitor-id=", "rrweb-cloud-visitor-id=")

_any = msgspec.json.Decoder(msgspec.Raw).decode
_string = msgspec.json.Decoder(str).decode


class BadPair(NamedTuple):
    """A pair that is not kept as metadata: why, and its text, a JSON object of it alone."""

    key: str
    reason: BadPairReason
    raw: bytes

    @property
    def told(self) -> dict[str, str]:
        """What a reply tells of it."""
        return {"key": self.key[:_KEY_TOLD_CHARACTERS], "reason": self.reason}


class Metadata(NamedTuple):
    """The pairs of one object."""

    values: dict[str, str]
    bad: tuple[BadPair, ...] = ()


def read_metadata(payload: bytes, limits: Limits, *, flat: bool) -> Metadata:
    """Read a JSON object of metadata, pair by pair.

    A value that is an array or object is kept as its JSON text, or is bad with ``flat``. Raises
    ``ValueError`` with a sentence for people if ``payload`` is no JSON object.
    """
    values: dict[str, str] = {}
    bad: list[BadPair] = []
    try:
        _check_object(payload)
    except ValueError:  # msgspec's own errors among them.
        raise ValueError("metadata must be one JSON object of names and values") from None
    for count, member in enumerate(members(payload, skip_space(payload, 0))):
        name, raw = plain_name(member.name), payload[member.value : member.limit]
        key = name.decode("utf-8", "replace")
        if count == PAIRS_MAX:
            rest = b"{" + payload[member.start :].lstrip(b" \t\r\n,")
            bad.append(BadPair(key, "too_many_metadata_keys", rest))
            break
        reason, value = _judge(name, raw, limits, flat=flat)
        if reason is None:
            values[key] = value
        else:
            bad.append(BadPair(key, reason, b'{"' + member.name + b'":' + raw + b"}"))
    return Metadata(values, tuple(bad))


def _check_object(payload: bytes) -> None:
    """Raise ``ValueError`` if ``payload`` is no JSON object. UTF-8 is looked at value by value."""
    if payload.lstrip()[:1] != b"{":
        raise ValueError("no object")
    try:
        _any(payload)
    except (msgspec.DecodeError, RecursionError):
        for piece in pieces(without_lone_surrogates(payload)):
            _any(piece)


def over_the_limit(key: str, value: str) -> BadPair:
    """Return the pair as one for which its recording has no room."""
    return BadPair(key, "too_many_metadata_keys", msgspec.json.encode({key: value}))


def _judge(key: bytes, raw: bytes, limits: Limits, *, flat: bool) -> tuple[BadPairReason | None, str]:
    """Return what is wrong with a pair, or None, and its value as a string."""
    if (reason := _judge_key(key, limits)) is not None:
        return reason, ""
    if flat and raw[:1] in {b"{", b"["}:
        return "metadata_value_not_flat", ""
    try:
        value = _string(without_lone_surrogates(raw)) if raw[:1] == b'"' else raw.decode()
    except (UnicodeDecodeError, msgspec.DecodeError):
        return "metadata_value_invalid", ""
    if key == b"visitor":
        for cookie in _VISITOR_COOKIES:
            value = value.removeprefix(cookie)
    encoded = value.encode()
    if len(encoded) > limits.metadata_value_bytes_max:
        if limits.metadata_value_too_long == "quarantine":
            return "metadata_value_too_long", ""
        value = encoded[: limits.metadata_value_bytes_max].decode("utf-8", "ignore")
    return None, value


def _judge_key(key: bytes, limits: Limits) -> BadPairReason | None:
    if not key:
        return "metadata_key_empty"
    if len(key) > limits.metadata_key_bytes_max:
        return "metadata_key_too_long"
    try:
        key.decode()
    except UnicodeDecodeError:
        return "metadata_key_invalid"
    return None
