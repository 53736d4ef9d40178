"""Amounts as people read them, by table."""

from __future__ import annotations

import pytest

from rrd.cli.amounts import show_bytes, show_count, show_duration, show_ms


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (show_bytes(0), "0 B"),
        (show_bytes(1023), "1023 B"),
        (show_bytes(1024), "1.0 KiB"),
        (show_bytes(150 * 1024), "150 KiB"),
        (show_bytes(3 << 30), "3.0 GiB"),
        (show_bytes(5 << 50), "5,120.0 TiB"),
        (show_count(0), "0"),
        (show_count(0.25), "0.2"),
        (show_count(9.9), "9.9"),
        (show_count(12_345.6), "12,346"),
        (show_duration(0.02), "20 ms"),
        (show_duration(59.4), "59 s"),
        (show_duration(3_599), "59 min"),
        (show_duration(3_600), "1 h"),
        (show_duration(7_260), "2 h 1 min"),
        (show_duration(86_400 * 3), "3 days"),
        (show_duration(86_400 * 3 + 3_700), "3 days 1 h"),
        (show_ms(0.512), "0.5 ms"),
        (show_ms(250), "250 ms"),
        (show_ms(2_500), "2 s"),
    ],
)
def test_an_amount_is_short_and_has_its_unit(shown: str, text: str) -> None:
    assert shown == text
