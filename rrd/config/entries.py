"""What the text inside of a setting says: an age, or a list of ``NAME=VALUE``. Pure.

Each function raises ``ConfigError`` with the setting's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from rrd import ids
from rrd.config.settings import Config
from rrd.errors import ConfigError

_AGE = re.compile(r"([0-9]{1,6})\s*([hd])")
_HOUR_MS = 3_600_000
_UNITS = {"h": _HOUR_MS, "d": 24 * _HOUR_MS}

QUANTITIES = tuple(
    field.name.removesuffix("_tenant_max")
    for field in msgspec.structs.fields(Config)
    if field.name.endswith("_tenant_max")
)
"""What there are quotas of, in the order of the settings: ``recordings_per_min`` and so on."""


class QuotaEntry(NamedTuple):
    """``shop.events_per_s=1000``."""

    name: str
    quantity: str
    number: int


def age_ms(setting: str, text: str) -> int | None:
    """Return how many ms ``36h`` or ``30d`` are; None (for ever) for ``""``."""
    if not text.strip():
        return None
    found = _AGE.fullmatch(text.strip())
    if found is None or int(found[1]) == 0:
        raise ConfigError(
            f"{setting}: {text!r} is no age. Write it like 36h or 30d, or leave it empty for ever"
        )
    return int(found[1]) * _UNITS[found[2]]


def ages_of_tenants(config: Config) -> dict[str, int | None]:
    """Return ``retention_age_of_tenant``, in ms; None: for ever."""
    setting = "retention_age_of_tenant"
    return {
        tenant: age_ms(setting, text) for tenant, text in _by_tenant(setting, config.retention_age_of_tenant)
    }


def bytes_of_tenants(config: Config) -> dict[str, int]:
    """Return ``retention_bytes_max_of_tenant``; 0: no limit."""
    setting = "retention_bytes_max_of_tenant"
    found = {}
    for tenant, text in _by_tenant(setting, config.retention_bytes_max_of_tenant):
        number = _number(text)
        if number is None:
            raise ConfigError(f"{setting}: {text!r} is no number of bytes")
        found[tenant] = number
    return found


def quota_entries(setting: str, entries: Sequence[str]) -> list[QuotaEntry]:
    """Return what a list of ``NAME.QUANTITY=NUMBER`` says."""
    found = []
    for entry in entries:
        place, _, text = entry.partition("=")
        name, _, quantity = (part.strip() for part in place.rpartition("."))
        number = _number(text)
        if not ids.is_tenant(name) or quantity not in QUANTITIES or number is None:
            raise ConfigError(
                f"{setting}: {entry!r} must be NAME.QUANTITY=NUMBER, with a quantity among "
                f"{', '.join(QUANTITIES)}"
            )
        found.append(QuotaEntry(name, quantity, number))
    return found


def _by_tenant(setting: str, entries: Sequence[str]) -> Iterator[tuple[str, str]]:
    found: set[str] = set()
    for entry in entries:
        tenant, equals, value = entry.partition("=")
        tenant = tenant.strip()
        if not equals or not ids.is_tenant(tenant) or tenant in found:
            raise ConfigError(f"{setting}: {entry!r} must be TENANT=VALUE, each tenant once")
        found.add(tenant)
        yield tenant, value


def _number(text: str) -> int | None:
    """Return a whole number like ``50_000``; None if it is none."""
    digits = text.replace("_", "").strip()
    return int(digits) if digits.isascii() and digits.isdecimal() else None
