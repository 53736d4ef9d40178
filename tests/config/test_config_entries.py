"""The text inside of a setting: ages, and lists of ``NAME=VALUE``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.config import Config
from rrd.config.entries import QUANTITIES, QuotaEntry, age_ms, bytes_of_tenants, quota_entries
from rrd.errors import ConfigError
from rrd.shares.limits import Quota

HOUR = 3_600_000
DAY = 24 * HOUR


@pytest.mark.parametrize(
    ("text", "ms"),
    [("36h", 36 * HOUR), ("30d", 30 * DAY), ("1h", HOUR), (" 7d ", 7 * DAY), ("", None), ("  ", None)],
)
def test_an_age_is_hours_or_days(text: str, ms: int | None) -> None:
    assert age_ms("retention_age", text) == ms


def test_the_quantities_of_quotas_are_those_of_the_settings() -> None:
    assert Quota._fields == QUANTITIES


@given(st.integers(0, 10**12), st.sampled_from(QUANTITIES))
def test_a_quota_is_a_name_a_quantity_and_a_number(number: int, quantity: str) -> None:
    entries = [f"shop.{quantity}={number:_}", f" museum . {quantity} = {number}"]
    assert quota_entries("quotas_of_tenant", entries[:1]) == [QuotaEntry("shop", quantity, number)]
    assert quota_entries("quotas_of_tenant", entries[1:]) == [QuotaEntry("museum", quantity, number)]


@given(st.text(max_size=30).filter(lambda text: "=" not in text))
def test_an_entry_that_cannot_be_read_is_refused_with_the_settings_name(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^retention_bytes_max_of_tenant: "):
        bytes_of_tenants(Config(retention_bytes_max_of_tenant=(text,)))
    with pytest.raises(ConfigError, match=r"^quotas_of_key: "):
        quota_entries("quotas_of_key", [text])
