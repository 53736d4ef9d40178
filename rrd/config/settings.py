"""The settings: one flat table.

Each key exists once, here, with its unit in its name and its bounds in its type;
``config/rrd.toml`` explains each as a trade-off.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

Port = Annotated[int, Meta(ge=0, le=65535)]
Positive = Annotated[int, Meta(ge=1)]
Quota = Annotated[int, Meta(ge=0)]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings. Sizes in bytes, times in the unit that the name ends in."""

    # Where
    host: str = "127.0.0.1"
    port: Port = 8787
    data_dir: str = "data"
    public_url: str = ""
    link_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    signing_keys_file: str = ""

    # The console
    console: bool | Literal["auto"] = "auto"
    console_stage_origin: str = ""
    console_assets: Literal["none", "ask", "all-https"] = "ask"
    console_session_s: Annotated[int, Meta(ge=60, le=31_536_000)] = 43_200

    # The API's choices
    recording_ids: Literal["uuid", "any"] = "uuid"
    metadata_shape: Literal["list", "object"] = "list"
    reads_of_damage: Literal["refuse", "salvage"] = "refuse"

    # From socket to disk
    flush_bytes: Annotated[int, Meta(ge=4 * KIB, le=64 * MIB)] = 256 * KIB
    flush_age_ms: Annotated[int, Meta(ge=10, le=60_000)] = 1000
    read_beat_ms: Annotated[int, Meta(ge=0, le=60_000)] = 900
    sync: Literal["auto", "each", "filesystem"] = "auto"
    compression_level: Annotated[int, Meta(ge=1, le=19)] = 1
    segment_bytes_max: Annotated[int, Meta(ge=MIB, le=4 * GIB)] = 64 * MIB
    seal_idle_s: Annotated[int, Meta(ge=1)] = 120
    seal_closed_s: Annotated[int, Meta(ge=0)] = 5

    # Object storage
    object_store: Literal["local", "s3"] = "local"
    objects_dir: str = ""
    s3_endpoint: str = ""
    s3_region: str = "us-east-1"
    s3_bucket: str = ""
    s3_prefix: str = ""
    s3_path_style: bool = True
    s3_credentials_file: str = ""
    s3_ca_file: str = ""
    s3_storage_class: str = ""
    s3_encryption: Literal["", "AES256", "aws:kms"] = ""
    s3_kms_key: str = ""
    s3_checksum: Literal["crc32c", "sha256", "none"] = "crc32c"
    s3_multipart_bytes: Annotated[int, Meta(ge=5 * MIB, le=5 * GIB)] = 32 * MIB
    s3_timeout_s: Annotated[int, Meta(ge=1, le=600)] = 20
    rollup_delay_s: Annotated[int, Meta(ge=0)] = 300
    rollup_level: Annotated[int, Meta(ge=1, le=19)] = 12
    rollup_block_bytes: Annotated[int, Meta(ge=64 * KIB, le=64 * MIB)] = 4 * MIB
    rollup_tasks: Annotated[int, Meta(ge=1, le=64)] = 2
    error_tags: tuple[str, ...] = ("error", "$exception")
    keep_local_s: Annotated[int, Meta(ge=0)] = 86_400
    object_cache_bytes_max: Annotated[int, Meta(ge=0)] = 64 * MIB

    # How long things stay
    retention_age: str = ""
    retention_age_of_tenant: tuple[str, ...] = ()
    retention_bytes_max: Annotated[int, Meta(ge=0)] = 0
    retention_bytes_max_of_tenant: tuple[str, ...] = ()
    retention_hold_percent: Annotated[int, Meta(ge=1, le=100)] = 10
    disk_reserve_bytes: Annotated[int, Meta(ge=0)] = GIB
    tombstone_days: Annotated[int, Meta(ge=0)] = 400

    # Limits on what a sender may send
    head_bytes_max: Annotated[int, Meta(ge=8 * KIB, le=MIB)] = 32 * KIB
    event_bytes_max: Annotated[int, Meta(ge=KIB, le=GIB)] = 64 * MIB
    message_bytes_max: Annotated[int, Meta(ge=KIB, le=GIB)] = 64 * MIB
    body_bytes_max: Annotated[int, Meta(ge=KIB)] = GIB
    body_lines_max: Positive = 10_000_000
    inflate_ratio_max: Annotated[int, Meta(ge=50)] = 250
    zstd_window_bytes_max: Annotated[int, Meta(ge=KIB, le=128 * MIB)] = 8 * MIB
    nesting_max: Annotated[int, Meta(ge=1_000, le=1_000_000)] = 10_000
    metadata_keys_max: Positive = 100
    metadata_key_bytes_max: Positive = 256
    metadata_value_bytes_max: Positive = 4 * KIB
    metadata_value_too_long: Literal["quarantine", "cut"] = "quarantine"

    # Limits on memory, handles and patience
    memory_max: Annotated[int, Meta(ge=0)] = 0
    sockets_max: Positive = 15_000
    requests_max: Positive = 4_000
    watchers_max: Positive = 1_000
    tenant_watchers_max: Quota = 800
    recording_watchers_max: Positive = 100
    recordings_max: Positive = 50_000
    open_segments_max: Annotated[int, Meta(ge=16)] = 3_000
    held_bytes_max: Annotated[int, Meta(ge=4 * MIB)] = 256 * MIB
    buffer_bytes_max: Annotated[int, Meta(ge=MIB)] = 256 * MIB
    recording_buffer_bytes_max: Annotated[int, Meta(ge=64 * KIB)] = 8 * MIB
    read_bytes_max: Annotated[int, Meta(ge=MIB)] = 256 * MIB
    replay_recordings_max: Annotated[int, Meta(ge=1, le=10_000)] = 100
    html_export_bytes_max: Annotated[int, Meta(ge=MIB, le=GIB)] = 50 * MIB
    answer_bytes_per_s_min: Annotated[int, Meta(ge=0)] = 16 * KIB
    commit_stall_max_s: Annotated[int, Meta(ge=0)] = 300
    ping_interval_s: Annotated[int, Meta(ge=1)] = 25
    body_idle_timeout_s: Annotated[int, Meta(ge=1)] = 60
    receive_rate_min: Annotated[int, Meta(ge=0)] = 1024
    receive_grace_s: Annotated[int, Meta(ge=1)] = 60

    # Quotas: how much of it one key, tenant and address may use. 0: no limit
    recordings_per_min_key_max: Quota = 20_000
    recordings_per_min_tenant_max: Quota = 20_000
    recordings_per_min_address_max: Quota = 600
    events_per_s_key_max: Quota = 1_000_000
    events_per_s_tenant_max: Quota = 1_000_000
    events_per_s_address_max: Quota = 20_000
    bytes_per_s_key_max: Quota = GIB
    bytes_per_s_tenant_max: Quota = GIB
    bytes_per_s_address_max: Quota = 32 * MIB
    bytes_per_day_key_max: Quota = 2048 * GIB
    bytes_per_day_tenant_max: Quota = 2048 * GIB
    bytes_per_day_address_max: Quota = 64 * GIB
    sockets_key_max: Quota = 12_000
    sockets_tenant_max: Quota = 12_000
    sockets_address_max: Quota = 1_000
    requests_key_max: Quota = 3_000
    requests_tenant_max: Quota = 3_000
    requests_address_max: Quota = 500
    quotas_of_tenant: tuple[str, ...] = ()
    quotas_of_key: tuple[str, ...] = ()

    # Metrics
    metrics_listen: str = ""
    metrics_tenants: bool = False

    # Log
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "logfmt", "json"] = "auto"
