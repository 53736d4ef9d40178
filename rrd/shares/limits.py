"""The quotas that the settings name: six quantities, each for a key, a tenant and an address. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from rrd.config import Config
from rrd.config.entries import quota_entries

Scope = Literal["tenant", "key", "address"]
SCOPES: tuple[Scope, ...] = ("tenant", "key", "address")
"""As the fields of ``Who``."""


class Quota(NamedTuple):
    """What one party may have; 0: no limit."""

    recordings_per_min: int
    events_per_s: int
    bytes_per_s: int
    """Decoded."""
    bytes_per_day: int
    """Decoded."""
    sockets: int
    requests: int


class QuotaLimits(NamedTuple):
    """The quotas of all."""

    usual: Mapping[Scope, Quota]
    single: Mapping[tuple[Scope, str], Quota]
    """Of keys and tenants with quotas of their own."""

    def of(self, scope: Scope, name: str) -> Quota:
        return self.single.get((scope, name)) or self.usual[scope]


def setting_of(quantity: str, scope: Scope) -> str:
    """Return the name of the setting of one quota."""
    return f"{quantity}_{scope}_max"


def quota_limits_of(config: Config) -> QuotaLimits:
    """Return the quotas. Raises ``ConfigError`` with the setting's name."""
    usual = {
        scope: Quota(*(getattr(config, setting_of(quantity, scope)) for quantity in Quota._fields))
        for scope in SCOPES
    }
    single: dict[tuple[Scope, str], Quota] = {}
    _add("tenant", "quotas_of_tenant", config.quotas_of_tenant, usual, single)
    _add("key", "quotas_of_key", config.quotas_of_key, usual, single)
    return QuotaLimits(usual, single)


def _add(
    scope: Scope,
    setting: str,
    entries: Sequence[str],
    usual: Mapping[Scope, Quota],
    single: dict[tuple[Scope, str], Quota],
) -> None:
    for name, quantity, number in quota_entries(setting, entries):
        quota = single.get((scope, name)) or usual[scope]
        single[scope, name] = quota._replace(**{quantity: number})
