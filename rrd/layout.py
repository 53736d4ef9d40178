"""Where each file of a data directory is: the one place that joins path names.

::

    DATA/
      lock                                                   held by the daemon that serves DATA
      control.sock                                           where that daemon tells how it is
      keys.sqlite                                            keys and signing keys (not a view: back it up)
      index.sqlite*                                          the index, a view of the segments (``index``)
      active/{tenant}.{recordingId}.{number}.ndjson.zst      segments that may still grow
      sealed/{tenant}/{xx}/{recordingId}.{number}.ndjson.zst segments that never change again
      torn/{name}.{offset}.{crc}.torn                        copies of torn tails that repair cut off
      tombstones.sqlite                                      what was erased (not a view: back it up)
      console.sqlite                                         who is signed in to the console
      audit.ndjson, audit.{n}.ndjson                         who changed what (``audit``); n = 1 is the newest
      refusals.json                                          counts of what senders were refused
      quotas.json                                            what was spent of the quotas of a day
      retention.json                                         the trusted time, and what retention holds
      retention-confirmed.json                               what of that a person has confirmed
      backing-up.{pid}/                                      links that a backup under way holds
      rolling/{name}.object                                  objects being made; thrown away at start
      objects/{object key}                                   the object store, where no other is set

``xx`` is the last two characters of the recording id, lower-cased: random both in UUIDs of
version 4 and of version 7, so directories stay small. ``number`` counts the segments of one
recording from 1, six digits at least.

An object's key is the same in every store::

    {tenant}/{yyyy}/{mm}/{dd}/{recordingId}/{first seq}-{last seq}.ndjson.zst

The day (UTC) is that on which the recording began, so all its objects have one prefix; both numbers have
eight digits at least, so that keys sort as events do. An object without events
(metadata or quarantined lines alone) ends in ``.{number}.ndjson.zst``, its first segment's number: its
range is empty, and another's may be the same.

Active segments lie in one flat directory of their own, so that start-up finds what a crash
may have touched by listing it, however many sealed segments there are.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple

SUFFIX = ".ndjson.zst"


class SegmentName(NamedTuple):
    """What a segment's file name says: whose it is, and which one."""

    tenant: str
    recording_id: str
    number: int


class ObjectName(NamedTuple):
    """What an object's key says."""

    tenant: str
    day: str
    """``yyyy/mm/dd``, UTC."""
    recording_id: str
    first_seq: int
    limit_seq: int
    """sequenceId after the last event."""
    number: int | None
    """Number of its first segment, told only where there are no events."""


_OBJECT = ".object"
_NUMBER = r"(?!0+\.)(?:[0-9]{6}|[1-9][0-9]{6,})"
"""From 1, six digits at least: only what ``active_path`` and ``sealed_path`` write is read back."""
_ACTIVE = re.compile(rf"([a-z0-9][a-z0-9_-]{{0,62}})\.([A-Za-z0-9_-]+)\.({_NUMBER}){re.escape(SUFFIX)}")
_TORN = re.compile(rf"(.+{re.escape(SUFFIX)})\.[0-9]+\.[0-9a-f]{{8}}\.torn")
_OBJECT_KEY = re.compile(
    r"([a-z0-9][a-z0-9_-]{0,62})/(\d{4}/\d\d/\d\d)/([A-Za-z0-9_-]{8,64})/(\d{8,})-(\d{8,})(?:\.(\d{6,}))?"
    + re.escape(SUFFIX)
)


def lock_path(data_dir: str) -> str:
    return f"{data_dir}/lock"


def control_path(data_dir: str) -> str:
    return f"{data_dir}/control.sock"


def identity_path(data_dir: str) -> str:
    """The id of a data directory, and the object store that it uses (``objects.identity``)."""
    return f"{data_dir}/identity"


def keys_path(data_dir: str) -> str:
    return f"{data_dir}/keys.sqlite"


def console_path(data_dir: str) -> str:
    return f"{data_dir}/console.sqlite"


def audit_path(data_dir: str, number: int = 0) -> str:
    """``number``: 0 is the one that is written to."""
    return f"{data_dir}/audit.{number}.ndjson" if number else f"{data_dir}/audit.ndjson"


PROBE_NAME = ".write-probe"
"""A file in ``active/`` that is there for a moment while a daemon tries whether it can write."""


def active_dir(data_dir: str) -> str:
    return f"{data_dir}/active"


def sealed_root(data_dir: str) -> str:
    return f"{data_dir}/sealed"


def torn_dir(data_dir: str) -> str:
    return f"{data_dir}/torn"


def active_path(data_dir: str, name: SegmentName) -> str:
    return f"{data_dir}/active/{name.tenant}.{name.recording_id}.{name.number:06d}{SUFFIX}"


def sealed_dir(data_dir: str, name: SegmentName) -> str:
    return f"{data_dir}/sealed/{name.tenant}/{name.recording_id[-2:].lower()}"


def sealed_path(data_dir: str, name: SegmentName) -> str:
    return f"{sealed_dir(data_dir, name)}/{name.recording_id}.{name.number:06d}{SUFFIX}"


def parse_active(file_name: str) -> SegmentName | None:
    """Read the name of a file in ``active/``; None if it is not a segment's."""
    found = _ACTIVE.fullmatch(file_name)
    return SegmentName(found[1], found[2], int(found[3])) if found is not None else None


def parse_sealed(tenant: str, file_name: str) -> SegmentName | None:
    """Read the name of a file below ``sealed/{tenant}/``; None if it is not a segment's."""
    return parse_active(f"{tenant}.{file_name}")


def parse_rolling(file_name: str) -> SegmentName | None:
    """Read the name of a file in ``rolling/``; None if it is not that of an object being made."""
    if not file_name.endswith(_OBJECT):
        return None
    return parse_active(file_name.removesuffix(_OBJECT) + SUFFIX)


def parse_torn(file_name: str) -> SegmentName | None:
    """Read whose torn tail a file in ``torn/`` is; None if it is not a copy of one."""
    found = _TORN.fullmatch(file_name)
    return parse_active(found[1]) if found is not None else None


def tombstones_path(data_dir: str) -> str:
    return f"{data_dir}/tombstones.sqlite"


def refusals_path(data_dir: str) -> str:
    return f"{data_dir}/refusals.json"


def quotas_path(data_dir: str) -> str:
    return f"{data_dir}/quotas.json"


def retention_path(data_dir: str) -> str:
    return f"{data_dir}/retention.json"


def retention_confirmed_path(data_dir: str) -> str:
    return f"{data_dir}/retention-confirmed.json"


def objects_dir(data_dir: str) -> str:
    return f"{data_dir}/objects"


def rolling_dir(data_dir: str) -> str:
    return f"{data_dir}/rolling"


def rolling_path(data_dir: str, name: SegmentName) -> str:
    """Where the object that begins with the segment ``name`` is made."""
    return f"{data_dir}/rolling/{name.tenant}.{name.recording_id}.{name.number:06d}{_OBJECT}"


def object_prefix(tenant: str, recording_id: str, created_ms: int) -> str:
    """Return what the keys of all objects of a recording begin with. ``created_ms``: when it began."""
    day = datetime.fromtimestamp(created_ms / 1000, UTC)
    return f"{tenant}/{day:%Y/%m/%d}/{recording_id}/"


def object_key(name: SegmentName, *, created_ms: int, first_seq: int, event_count: int) -> str:
    """Return the key of the object that begins with the segment ``name``."""
    prefix = object_prefix(name.tenant, name.recording_id, created_ms)
    number = "" if event_count else f".{name.number:06d}"
    return f"{prefix}{first_seq:08d}-{first_seq + event_count - 1:08d}{number}{SUFFIX}"


def parse_object_key(key: str) -> ObjectName | None:
    """Read an object's key; None if it is not one of ours."""
    found = _OBJECT_KEY.fullmatch(key)
    if found is None:
        return None
    tenant, day, recording, first, last, number = found.groups()
    return ObjectName(tenant, day, recording, int(first), int(last) + 1, int(number) if number else None)
