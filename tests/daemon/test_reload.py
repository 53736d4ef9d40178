"""Settings that are read again: what counts afterwards, in each part, and what doesn't."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from rrd.config import Config
from rrd.config.changes import ReloadState, kind_of
from rrd.daemon.reload import Reloader
from rrd.errors import ConfigError
from tests.config.other_values import FIELDS, with_others
from tests.daemon.reload_lab import HANDLES, Known, ReloadLab, differences, known, relevant, reloadable
from tests.harness import until

LIVE = [field.name for field in FIELDS if kind_of(field.name) != "restart"]
WAITING = [field.name for field in FIELDS if kind_of(field.name) == "restart"]
GROUP = 7
REFUSED = ConfigError("port (set in rrd.toml, line 3): no")


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    """Have the levels of the log as before, after each test."""
    loggers = [logging.getLogger(name) for name in (None, "rrd")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[ReloadLab]:
    async with reloadable(tmp_path / "a", Config()) as made:
        yield made


async def fresh(directory: Path, config: Config) -> Known:
    """Return what a daemon knows that is started with these settings."""
    async with reloadable(directory, config) as made:
        return known(made.parts)


async def noise_of(directory: Path) -> set[str]:
    """Return the ways to what differs in two daemons of the same settings."""
    return {*differences(await fresh(directory / "1", Config()), await fresh(directory / "2", Config()))}


@pytest.mark.parametrize("start", range(0, len(LIVE), GROUP))
async def test_a_daemon_that_reloaded_is_as_one_that_was_started_with_these_settings(
    tmp_path: Path, lab: ReloadLab, start: int
) -> None:
    noise = await noise_of(tmp_path)
    before = known(lab.parts)
    names = LIVE[start : start + GROUP]
    if "console_stage_origin" in names and "public_url" not in names:
        names.append("public_url")
    await lab.reload(with_others(*names))
    assert lab.parts.services.reload_state.error is None
    started = await fresh(tmp_path / "b", with_others(*names))
    assert relevant(differences(known(lab.parts), started), noise) == {}
    # The settings do show, each of them; and the former ones make all as it was.
    for name in names:
        shows = [way for way in differences(before, started) if f"_config.{name}" in way or name in way]
        assert shows, name
    await lab.reload(Config())
    assert relevant(differences(known(lab.parts), before), noise) == {}


async def test_any_settings_and_then_the_former_ones_leave_all_as_it_was(
    tmp_path: Path, lab: ReloadLab
) -> None:
    noise, before, chance = await noise_of(tmp_path), known(lab.parts), random.Random(7)
    for _ in range(20):
        names = chance.sample([field.name for field in FIELDS], chance.randrange(1, 40))
        await lab.reload(with_others(*names))
        now = known(lab.parts)
        await lab.reload(REFUSED)
        assert relevant(differences(known(lab.parts), now), noise) == {}
        await lab.reload(Config())
        assert relevant(differences(known(lab.parts), before), noise) == {}
        assert not lab.parts.services.reload_state.waiting


@pytest.mark.parametrize("name", WAITING)
async def test_what_waits_for_a_restart_is_told_and_changes_nothing(
    lab: ReloadLab, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    before, services = known(lab.parts), lab.parts.services
    await lab.reload(with_others(name, "flush_age_ms"))
    assert services.reload_state.waiting == (name,)
    assert services.reload_state.error is None
    assert f"needs_restart settings={name} " in caplog.text
    await lab.reload(with_others(name))
    found = differences(known(lab.parts), before)
    assert {way for way in found if "_config" in way} == set()
    caplog.clear()
    await lab.reload(Config())
    assert not services.reload_state.waiting
    assert "needs_restart" not in caplog.text


async def test_what_cannot_be_used_is_refused_whole_and_told(
    lab: ReloadLab, caplog: pytest.LogCaptureFixture
) -> None:
    services = lab.parts.services
    await lab.reload(with_others("port", "flush_age_ms"))
    config = services.config
    for problem in (REFUSED, OSError(5, "gone"), RecursionError("deep"), ValueError("")):
        caplog.clear()
        await lab.reload(problem)
        assert services.config is config
        assert services.reload_state.error == (str(problem) or repr(problem))
        # What waited before still waits.
        assert services.reload_state.waiting == ("port",)
        assert "reload_refused" in caplog.text
        assert ("Traceback" in caplog.text) is not isinstance(problem, ConfigError)
    await lab.reload(Config())
    assert services.reload_state == ReloadState(services.reload_state.at_ms)


async def test_the_log_names_what_changed_without_its_value(
    lab: ReloadLab, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "rrd")
    secret = msgspec.structs.replace(
        Config(), quotas_of_key=("very-private.sockets=5",), public_url="https://h.example"
    )
    await lab.reload(secret)
    assert "reloaded changed=public_url,quotas_of_key" in caplog.text
    assert "private" not in caplog.text
    assert "h.example" not in caplog.text
    await lab.reload(secret)
    assert "reloaded changed=nothing" in caplog.text


async def test_what_the_machine_cannot_carry_is_fitted_as_at_a_start_and_told(
    lab: ReloadLab, caplog: pytest.LogCaptureFixture
) -> None:
    await lab.reload(msgspec.structs.replace(Config(), memory_max=1 << 29))
    assert lab.parts.services.config.sockets_max < Config().sockets_max
    assert lab.parts.services.read_room.size < Config().read_bytes_max
    assert "odd_settings" in caplog.text
    await lab.reload(Config())
    assert lab.parts.services.config.sockets_max == Config().sockets_max


async def test_signing_keys_of_a_file_are_read_again_though_its_name_is_the_same(
    tmp_path: Path, lab: ReloadLab
) -> None:
    file, gate = tmp_path / "signing", lab.parts.services.gate
    wanted = msgspec.structs.replace(Config(), signing_keys_file=str(file))
    for names in (["one"], ["one", "two"], ["three"], []):
        file.write_text("".join(f"{name} acme {name * 32}\n" for name in names))
        await lab.reload(wanted)
        assert set(gate._live_signing.ids) == set(names)
    file.write_text(f"one acme {'s' * 40}\n")
    await lab.reload(wanted)
    # A line that can't be read is refused, and no part of it is told.
    file.write_text("two acme too-short\n")
    await lab.reload(wanted)
    assert set(gate._live_signing.ids) == {"one"}
    error = lab.parts.services.reload_state.error
    assert error is not None
    assert "line 1" in error
    assert "too-short" not in error


# One after the other


class _Reading:
    """Reads settings when it is let to, as a slow disk does."""

    def __init__(self) -> None:
        self.flush_age_ms = 1000
        self.reads = self.under_way = self.most_under_way = 0
        self.is_free = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def read(self) -> Config:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        found = Config(flush_age_ms=self.flush_age_ms)
        asyncio.run_coroutine_threadsafe(self.is_free.wait(), self._loop).result(20)
        self.under_way -= 1
        self.reads += 1
        return found


async def test_reloads_come_one_after_the_other_and_the_last_state_wins(lab: ReloadLab) -> None:
    reading = _Reading()
    reloader = Reloader(reading.read, Config(), HANDLES)
    # Asked for during the start: it is done once that is over.
    reloader.ask()
    reloader.ask()
    assert reading.under_way == 0
    task = asyncio.create_task(reloader.run(lab.parts))
    await until(lambda: reading.under_way, what="the first reload to read")
    for age_ms in (500, 400, 300):
        reading.flush_age_ms = age_ms
        reloader.ask()
    reading.is_free.set()
    await until(lambda: lab.parts.services.config.flush_age_ms == 300, what="the last state")
    await until(lambda: reading.reads == 2, what="both reloads")
    assert reading.most_under_way == 1
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_stop_ends_a_reload_that_is_under_way(lab: ReloadLab) -> None:
    reading = _Reading()
    reloader = Reloader(reading.read, Config(), HANDLES)
    before = lab.parts.services.config
    reading.flush_age_ms = 20
    reloader.ask()
    task = asyncio.create_task(reloader.run(lab.parts))
    await until(lambda: reading.under_way, what="the reload to read")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    reading.is_free.set()
    await until(lambda: reading.reads, what="the thread to end")
    assert lab.parts.services.config is before
