"""For each setting a value that it may have and that is not its default, so that each can be changed."""

from __future__ import annotations

import msgspec
from msgspec import inspect

from rrd.config import Config

FIELDS = msgspec.structs.fields(Config)

_TEXTS = {
    "host": "::1",
    "data_dir": "elsewhere",
    "public_url": "https://rrd.example.com",
    "console_stage_origin": "https://stage.example.com",
    "metrics_listen": "127.0.0.1:9788",
    "signing_keys_file": "/dev/null",
    "objects_dir": "/srv/objects",
    "retention_age": "30d",
}
_LISTS = {
    "link_hosts": ("rrd.example.com",),
    "trusted_proxies": ("10.0.0.0/8",),
    "error_tags": ("failed",),
    "retention_age_of_tenant": ("shop=90d",),
    "retention_bytes_max_of_tenant": ("shop=50_000",),
    "quotas_of_tenant": ("shop.sockets=50",),
    "quotas_of_key": ("k.bytes_per_day=0",),
}


def other_value(name: str) -> object:
    """Return a value that goes together with the defaults of all others, but ``console_stage_origin``."""
    field = next(field for field in FIELDS if field.name == name)
    kind = inspect.type_info(field.type)
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    if isinstance(kind, inspect.IntType):
        assert isinstance(field.default, int)
        if name == "memory_max":
            return 1 << 29
        less = max(kind.ge or 0, field.default // 2)
        return less if less != field.default else field.default + 1
    for each in kinds:
        if isinstance(each, inspect.BoolType):
            return not field.default
        if isinstance(each, inspect.LiteralType):
            return next(value for value in each.values if value != field.default)
    if isinstance(kind, inspect.VarTupleType):
        return _LISTS.get(name, ("other",))
    return _TEXTS.get(name, "other")


def with_others(*names: str) -> Config:
    """Return the defaults with other values for these."""
    return msgspec.structs.replace(Config(), **{name: other_value(name) for name in names})
