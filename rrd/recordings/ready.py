"""Whose turn it is to be stored: recordings that have something, tenant by tenant."""

from __future__ import annotations

from collections import OrderedDict

from rrd.recordings.recording import Recording


class ReadyRecordings:
    """Recordings that have something to store and nothing on its way. Tenants take turns."""

    __slots__ = ("_by_tenant",)

    def __init__(self) -> None:
        self._by_tenant: OrderedDict[str, OrderedDict[Recording, None]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._by_tenant)

    def add(self, recording: Recording) -> None:
        """Have ``recording`` wait for its turn."""
        recordings = self._by_tenant.get(recording.tenant)
        if recordings is None:
            recordings = self._by_tenant[recording.tenant] = OrderedDict()
        recordings[recording] = None

    def take(self) -> Recording:
        """Take out the recording that has waited longest, of the tenant whose turn it is."""
        tenant, recordings = next(iter(self._by_tenant.items()))
        recording, _ = recordings.popitem(last=False)
        if not recordings:
            del self._by_tenant[tenant]
        elif len(self._by_tenant) > 1:
            self._by_tenant.move_to_end(tenant)
        return recording
