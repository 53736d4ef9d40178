"""Which settings count without a restart, and what a reload makes of settings that were read again. Pure.

Settings that only mean something together are of one kind: ``public_url`` with ``console_stage_origin``, all
that the memory plan shares out, ``object_store`` with all of ``s3_*``. So what is in effect while some wait
for a restart is never a mixture that a start would refuse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec

from rrd.config.settings import Config

Kind = Literal["now", "next", "restart"]
"""When a changed setting counts after a reload: at once; from the next of what it is about on; never."""

NOW = frozenset(
    (
        *("public_url", "link_hosts", "console_stage_origin", "console_assets", "console_session_s"),
        *("recording_ids", "metadata_shape", "reads_of_damage", "error_tags"),
        *("sync", "flush_age_ms", "read_beat_ms", "segment_bytes_max", "seal_idle_s", "seal_closed_s"),
        *("rollup_delay_s", "keep_local_s", "object_cache_bytes_max"),
        *("retention_age", "retention_age_of_tenant", "retention_hold_percent"),
        *("retention_bytes_max", "retention_bytes_max_of_tenant", "disk_reserve_bytes", "tombstone_days"),
        *("memory_max", "sockets_max", "requests_max", "watchers_max", "tenant_watchers_max"),
        *("recording_watchers_max", "recordings_max", "open_segments_max", "held_bytes_max"),
        *("buffer_bytes_max", "recording_buffer_bytes_max", "read_bytes_max"),
        *(
            "replay_recordings_max",
            "metrics_tenants",
            "html_export_bytes_max",
            "commit_stall_max_s",
            "ping_interval_s",
        ),
        *(
            field.name
            for field in msgspec.structs.fields(Config)
            if field.name.endswith(("_key_max", "_tenant_max", "_address_max"))
        ),
        *("quotas_of_tenant", "quotas_of_key", "log_level", "log_format", "signing_keys_file"),
    )
)
"""Those that count at once, for what is under way, too."""

NEXT = frozenset(
    (
        *("trusted_proxies", "flush_bytes", "compression_level"),
        *("rollup_level", "rollup_block_bytes", "rollup_tasks"),
        *("head_bytes_max", "event_bytes_max", "message_bytes_max", "body_bytes_max", "body_lines_max"),
        *("inflate_ratio_max", "zstd_window_bytes_max", "nesting_max", "metadata_keys_max"),
        *("metadata_key_bytes_max", "metadata_value_bytes_max", "metadata_value_too_long"),
        *("answer_bytes_per_s_min", "body_idle_timeout_s", "receive_rate_min", "receive_grace_s"),
    )
)
"""Those that count for what begins from then on: a connection, a body, a socket, a segment, an object. What
is under way may take them up earlier, a socket with its next message for one."""


@dataclass(frozen=True, slots=True)
class ReloadState:
    """What became of the last reload of the settings."""

    at_ms: int | None = None
    """When it was, ms since the epoch; None: there was none since the start."""
    error: str | None = None
    """Why the settings were refused, so that those of before count; None: they were taken."""
    waiting: tuple[str, ...] = ()
    """Settings that were changed and wait for a restart, in the order of the table of settings."""


class Changes(NamedTuple):
    """What settings that were read again change. Names are in the order of the table of settings."""

    config: Config
    """What is in effect from now on."""
    applied: tuple[str, ...]
    waiting: tuple[str, ...]
    """What differs from what is in effect, and waits for a restart."""


def kind_of(name: str) -> Kind:
    """Return when a changed setting counts. One that is in neither table is built in at the start."""
    if name in NOW:
        return "now"
    return "next" if name in NEXT else "restart"


def fixed_names() -> list[str]:
    """Return the names of the settings that wait for a restart."""
    return [field.name for field in msgspec.structs.fields(Config) if kind_of(field.name) == "restart"]


def changes(current: Config, wanted: Config) -> Changes:
    """Return what becomes of ``current``, the settings in effect, when ``wanted`` are read."""
    names = [
        field.name
        for field in msgspec.structs.fields(Config)
        if getattr(current, field.name) != getattr(wanted, field.name)
    ]
    applied = {name: getattr(wanted, name) for name in names if kind_of(name) != "restart"}
    config = msgspec.structs.replace(current, **applied)
    return Changes(config, tuple(applied), tuple(name for name in names if name not in applied))
