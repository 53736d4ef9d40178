"""What a reload makes of settings that were read again: what counts, and what waits for a restart."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.config import Config
from rrd.config.changes import NEXT, NOW, changes, kind_of
from rrd.config.checks import check_settings
from tests.config.other_values import FIELDS, with_others

NAMES = [field.name for field in FIELDS]
choices = st.sets(st.sampled_from(NAMES)).map(lambda names: with_others(*names))


def test_the_tables_name_settings_and_each_once() -> None:
    assert sorted((NOW | NEXT) - set(NAMES)) == []
    assert sorted(NOW & NEXT) == []


@pytest.mark.parametrize(
    "kept",
    [
        *("host", "port", "data_dir", "object_store", "objects_dir", "console"),
        *(name for name in NAMES if name.startswith("s3_")),
    ],
)
def test_where_rrd_listens_and_stores_waits_for_a_restart(kept: str) -> None:
    assert kind_of(kept) == "restart"


@pytest.mark.parametrize("name", NAMES)
def test_each_setting_that_changes_counts_or_waits(name: str) -> None:
    current, wanted = Config(), with_others(name)
    found = changes(current, wanted)
    if kind_of(name) == "restart":
        assert found == (current, (), (name,))
    else:
        assert found == (wanted, (name,), ())


@given(choices, choices)
def test_what_is_in_effect_is_wanted_but_for_what_waits(current: Config, wanted: Config) -> None:
    found = changes(current, wanted)
    assert {*found.applied, *found.waiting} == {
        name for name in NAMES if getattr(current, name) != getattr(wanted, name)
    }
    for name in NAMES:
        told_by = current if name in found.waiting else wanted
        assert getattr(found.config, name) == getattr(told_by, name)
    # The same once more changes nothing, and still says what waits; the former settings are as before.
    assert changes(found.config, wanted) == (found.config, (), found.waiting)
    assert changes(found.config, current)[0] == current
    assert changes(found.config, current).waiting == ()


# Settings that only mean something together. Each row alone is good, or wants one of the others.
TOGETHER: list[dict[str, object]] = [
    {"public_url": "https://rrd.example.com"},
    {"public_url": "https://rrd.example.com", "console_stage_origin": "https://stage.example.com"},
    {"public_url": "https://stage.example.com", "console_stage_origin": "https://rrd.example.com"},
    {"object_store": "s3", "s3_bucket": "b", "s3_encryption": "aws:kms", "s3_kms_key": "k"},
    {"objects_dir": "/tmp/objects"},
    {"memory_max": 1 << 29, "quotas_of_key": ("k.sockets=0",), "retention_age": "36h"},
    {},
]


@pytest.mark.parametrize("current", TOGETHER)
@pytest.mark.parametrize("wanted", TOGETHER)
def test_settings_of_which_some_wait_are_ones_that_a_start_would_take(
    current: dict[str, object], wanted: dict[str, object]
) -> None:
    of = {"port": 0, "data_dir": "/tmp/nothing-here"}
    before, after = (msgspec.convert(of | values, Config) for values in (current, wanted))
    check_settings(before)
    check_settings(after)
    found = changes(before, after)
    check_settings(found.config)
    assert bool(found.waiting) is any(
        kind_of(name) == "restart" for name in {*current, *wanted} if current.get(name) != wanted.get(name)
    )
