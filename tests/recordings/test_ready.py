"""Whose turn it is: each tenant's recordings in order, the tenants one after another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rrd.recordings.ready import ReadyRecordings
from rrd.recordings.recording import Recording
from rrd.recordings.source import Waiting
from tests.samples import LIMITS


def a_recording(tenant: str) -> Recording:
    return Recording(
        tenant,
        "r",
        created_ms=5,
        used_at=0.0,
        row=None,
        limits=LIMITS,
        waiting=Waiting(),
        wake=lambda _: None,
    )


@given(st.lists(st.sampled_from("abc"), max_size=20))
def test_tenants_take_turns_and_none_of_their_recordings_is_left_out(tenants: list[str]) -> None:
    ready = ReadyRecordings()
    put = [a_recording(tenant) for tenant in tenants]
    for recording in put:
        ready.add(recording)
        ready.add(recording)  # Added twice, it has one turn all the same.
    taken = []
    while ready:
        taken.append(ready.take())
    for tenant in set(tenants):
        assert [each for each in taken if each.tenant == tenant] == [
            each for each in put if each.tenant == tenant
        ]
    # As many turns for each, until one has nothing left.
    waiting = list(dict.fromkeys(tenants))
    left = {tenant: tenants.count(tenant) for tenant in waiting}
    for recording in taken:
        assert recording.tenant == waiting[0]
        left[recording.tenant] -= 1
        waiting.append(waiting.pop(0))
        waiting = [tenant for tenant in waiting if left[tenant]]
