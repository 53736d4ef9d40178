"""What is looked at of events to find page views."""

from __future__ import annotations

import pytest

from rrd.playback.outline import is_kept_without_snapshot


@pytest.mark.parametrize(
    ("line", "is_kept"),
    [
        (b'{"type":3,"timestamp":1,"data":{}}', False),
        (b'{"type":4,"timestamp":1}', False),
        (b'{"type":7.0,"timestamp":1}', False),
        (b'{"type":3,"timestamp":1,"data":"\\ud83d"}', False),
        (b'{"data":' + b'{"a":[' * 2500 + b"]}" * 2500 + b',"type":3,"timestamp":1}', False),
        (b'{"data":' + b'{"a":[' * 2500 + b"]}" * 2500 + b',"type":6,"timestamp":1}', True),
        (b'{"type":5,"timestamp":1,"data":{"tag":"page-\\ud83d"}}', True),
        (b'{"type":5,"timestamp":1,"data":null}', True),
    ],
)
def test_events_that_change_a_page_are_told_from_others(line: bytes, is_kept: bool) -> None:
    assert is_kept_without_snapshot(line) is is_kept
