"""The limits that decoding keeps to, as one value."""

from __future__ import annotations

from typing import Literal, NamedTuple

from rrd.config import Config


class Limits(NamedTuple):
    """Sizes are in bytes after decompression."""

    event_bytes_max: int
    document_bytes_max: int
    """A JSON document (array, ``{"events":…}``) is held whole, so it has a limit of its own."""
    body_bytes_max: int | None
    """All of a body together, or of one message of a socket, which may stay open for days. None: no limit."""
    zstd_window_bytes_max: int
    metadata_keys_max: int
    metadata_key_bytes_max: int
    metadata_value_bytes_max: int
    batch_bytes: int
    """A batch is handed out when it has gathered so much."""
    nesting_max: int = 10_000
    """Levels of arrays and objects in an event, itself included."""
    body_lines_max: int | None = None
    """Lines of a body, or of one message of a socket, blank ones too. None: no limit."""
    inflate_ratio_max: int | None = None
    """Decoded bytes for each received one, over all of a body or socket. None: no limit."""
    metadata_value_too_long: Literal["quarantine", "cut"] = "quarantine"
    """What becomes of a value longer than ``metadata_value_bytes_max``."""


def limits_of(config: Config) -> Limits:
    """Return what the settings say for senders."""
    return Limits(
        event_bytes_max=config.event_bytes_max,
        document_bytes_max=config.message_bytes_max,
        body_bytes_max=config.body_bytes_max,
        body_lines_max=config.body_lines_max,
        inflate_ratio_max=config.inflate_ratio_max,
        zstd_window_bytes_max=config.zstd_window_bytes_max,
        nesting_max=config.nesting_max,
        metadata_keys_max=config.metadata_keys_max,
        metadata_key_bytes_max=config.metadata_key_bytes_max,
        metadata_value_bytes_max=config.metadata_value_bytes_max,
        metadata_value_too_long=config.metadata_value_too_long,
        batch_bytes=config.flush_bytes,
    )
