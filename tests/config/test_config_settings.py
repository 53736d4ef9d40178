"""The table of settings, and the file that is shipped with it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

import rrd
from rrd.config import Config, load_config
from rrd.errors import ConfigError

SHIPPED = Path(rrd.__file__).parents[1] / "config" / "rrd.toml"
DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(Config)}


def test_the_shipped_file_sets_each_key_once_to_its_default() -> None:
    text = SHIPPED.read_text()
    keys = re.findall(r"^([a-z0-9_]+) = ", text, re.MULTILINE)
    assert sorted(keys) == sorted(DEFAULTS)
    assert load_config(file=str(SHIPPED), environment={}) == Config()
    shipped = {
        key: tuple(value) if isinstance(value, list) else value for key, value in tomllib.loads(text).items()
    }
    assert shipped == DEFAULTS


def test_the_shipped_file_explains_each_key() -> None:
    lines = SHIPPED.read_text().splitlines()
    bare = []
    for number, line in enumerate(lines):
        above = lines[number - 1]
        # Keys of one kind may share one explanation.
        if re.match(r"[a-z0-9_]+ = ", line) and not re.match(r"# |[a-z0-9_]+ = ", above):
            bare.append(line)
    assert bare == []
    assert sum(line.startswith("#") for line in lines) > 2 * len(DEFAULTS)


def test_sizes_and_times_are_admitted_up_to_the_edges_that_the_file_names() -> None:
    # The file's prose says what is admitted; these are the edges that it names.
    edges = {
        "flush_bytes": (4096, 64 * 2**20),
        "flush_age_ms": (10, 60_000),
        "compression_level": (1, 19),
        "segment_bytes_max": (2**20, 4 * 2**30),
        "event_bytes_max": (1024, 2**30),
        "message_bytes_max": (1024, 2**30),
        "zstd_window_bytes_max": (1024, 128 * 2**20),
        "port": (0, 65535),
    }
    for key, (least, greatest) in edges.items():
        for good in (least, greatest):
            assert getattr(load_config(environment={}, flags={key: good}), key) == good
        for bad in (least - 1, greatest + 1):
            with pytest.raises(ConfigError, match=key):
                load_config(environment={}, flags={key: bad})
