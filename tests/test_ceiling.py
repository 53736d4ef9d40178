"""The memory ceiling: what may be taken, all together, is never more."""

from __future__ import annotations

from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rrd.ceiling import MEMORY_MIN_BYTES, MIB, _group_limits, changes, plan
from rrd.config import Config
from tests.harness import DaemonProcess

GIB = 1 << 30


@given(
    memory_max=st.integers(MEMORY_MIN_BYTES, 64 * GIB),
    threads=st.integers(
        5, 10
    ),  # There are ``DECODING_THREADS``; with many more the least ceiling is too low.
    sockets_max=st.integers(1, 200_000),
    requests_max=st.integers(1, 50_000),
    recordings_max=st.integers(1, 1_000_000),
    held=st.integers(4 * MIB, 8 * GIB),
    buffers=st.integers(MIB, 8 * GIB),
    read=st.integers(MIB, 8 * GIB),
    cache=st.integers(0, 8 * GIB),
)
def test_the_parts_fit_below_the_ceiling_and_no_setting_is_exceeded(
    memory_max: int, threads: int, sockets_max: int, requests_max: int, recordings_max: int, held: int,
    buffers: int, read: int, cache: int,
) -> None:  # fmt: skip
    config = Config(
        memory_max=memory_max, sockets_max=sockets_max, requests_max=requests_max,
        recordings_max=recordings_max, held_bytes_max=held, buffer_bytes_max=buffers, read_bytes_max=read,
        object_cache_bytes_max=cache,
    )  # fmt: skip
    ceiling = plan(config, machine_bytes=GIB, threads=threads)
    assert ceiling.memory_max == memory_max
    assert sum(ceiling.parts.values()) <= memory_max + 8 * MIB  # Nothing shrinks below its least.
    for name in ("sockets_max", "requests_max", "recordings_max", "held_bytes_max", "buffer_bytes_max"):
        assert 1 <= getattr(ceiling.config, name) <= getattr(config, name)
    # It is a configuration like any other, and keeps as it is.
    assert msgspec.convert(msgspec.to_builtins(ceiling.config), Config) == ceiling.config
    assert changes(ceiling.config, plan(ceiling.config, machine_bytes=GIB, threads=threads).config) == {} or (
        sum(ceiling.parts.values()) > memory_max - 10 * MIB
    )


@given(machine=st.integers(5 * GIB, 512 * GIB))
def test_a_machine_with_room_enough_changes_nothing(machine: int) -> None:
    ceiling = plan(Config(), machine_bytes=machine, threads=8)
    assert changes(Config(), ceiling.config) == {}
    assert ceiling.memory_max == machine * 3 // 4


def test_what_a_unit_or_container_allows_is_the_machine(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("0::/system.slice/rrd.service\n")
    root = tmp_path / "fs"
    inner = root / "system.slice" / "rrd.service"
    inner.mkdir(parents=True)
    assert _group_limits(root, own) == []
    (inner / "memory.max").write_text("max\n")
    (root / "system.slice" / "memory.max").write_text("4294967296\n")
    assert _group_limits(root, own) == [4 * GIB]
    (inner / "memory.max").write_text("1073741824\n")
    assert sorted(_group_limits(root, own)) == [GIB, 4 * GIB]
    assert _group_limits(root, tmp_path / "none") == []


def test_a_daemon_with_little_memory_says_what_it_lowered(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, memory_max=MEMORY_MIN_BYTES)
    with daemon:
        pass
    log = daemon.log_path.read_text()
    assert "little_memory" in log
    assert f"memory_max={MEMORY_MIN_BYTES}" in log
    assert "sockets_max=" in log
