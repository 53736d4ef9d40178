"""Makes the archives that ``test_kept_data`` reads: ``python -m tests.kept.make DAY`` writes ``DAY.tar.xz``.

An archive holds a data directory as a daemon of that day left it at ``kill -9``, and ``expected.json`` with
what that daemon answered. It is never made again: a newer one goes beside it when the files change.
"""

from __future__ import annotations

import json
import sys
import tarfile
import tempfile
import time
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from tests.harness import DEADLINE_S, DaemonProcess
from tests.kept.answers import TENANTS, answers
from tests.transfer.transfer_lab import Client

HERE = Path(__file__).parent
START_MS = 1_700_000_000_000
EARLY = {"flush_age_ms": 10, "seal_idle_s": 1, "seal_closed_s": 0}


def _lines(numbers: range) -> list[bytes]:
    """Return events that aren't quite in order, some of them of another sender's clock."""
    return [
        json.dumps({"type": 3, "timestamp": START_MS + n - 40 * (n % 7 == 3), "data": {"n": n}}).encode()
        for n in numbers
    ]


def _id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def _post_bad(client: Client, recording_id: str, lines: list[bytes]) -> None:
    """Post bad lines alone, which are kept and refused."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        client.post(recording_id, lines)
    refused.value.close()
    assert refused.value.code == 400


def _wait(daemon: DaemonProcess, *, local: int, objects: int) -> None:
    """Return when so many sealed segments and objects are there, and none is active."""
    data = Path(daemon.data_dir)
    end = time.monotonic() + DEADLINE_S
    while True:
        there = [len([*(data / place).rglob("*.ndjson.zst")]) for place in ("active", "sealed", "objects")]
        if there == [0, local, objects]:
            return
        assert time.monotonic() < end, there
        time.sleep(0.05)


def _rolled_up(daemon: DaemonProcess) -> None:
    acme, shop = (Client(daemon, tenant) for tenant in TENANTS)
    acme.post(_id(1), _lines(range(60)))
    acme.tell(_id(1), user="first", plan="free")
    shop.post(_id(1), _lines(range(20)))
    # Bad lines alone, and metadata alone: objects without events.
    _post_bad(acme, _id(2), [b'{"type": "two"}', b'{"type": "three"}'])
    shop.tell(_id(3), user="nothing else")
    _wait(daemon, local=0, objects=4)
    acme.post(_id(1), [*_lines(range(50, 90)), b'{"type": "three"}'])
    shop.post(_id(4), _lines(range(30)))
    shop.post(_id(5), _lines(range(10)))
    _wait(daemon, local=0, objects=7)


def _sealed(daemon: DaemonProcess) -> None:
    acme, shop = (Client(daemon, tenant) for tenant in TENANTS)
    acme.post(_id(6), _lines(range(25)))
    shop.post(_id(4), _lines(range(30, 45)))
    shop.erase(_id(5))
    _wait(daemon, local=2, objects=6)


def _left_at_once(daemon: DaemonProcess) -> None:
    acme = Client(daemon, TENANTS[0])
    acme.post(_id(1), _lines(range(80, 120)))
    _post_bad(acme, _id(1), [b'{"type": "four"}'])
    acme.tell(_id(1), plan="paid")
    acme.post(_id(7), _lines(range(12)))
    acme.post(_id(7), _lines(range(6, 18)))


def main(name: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        daemon = DaemonProcess(Path(place))
        stages: list[tuple[dict[str, Any], Any]] = [
            ({**EARLY, "rollup_delay_s": 0}, _rolled_up),
            (EARLY, _sealed),
            ({"flush_age_ms": 10}, _left_at_once),
        ]
        for settings, stage in stages:
            daemon.settings = settings
            daemon.start()
            stage(daemon)
            if stage is _left_at_once:
                expected = answers(daemon)
                daemon.kill()
            else:
                assert daemon.stop() == 0
        (Path(place) / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")
        with tarfile.open(HERE / f"{name}.tar.xz", "w:xz", preset=9) as archive:
            for part in ("data", "expected.json"):
                archive.add(f"{place}/{part}", part, filter=_nameless)


def _nameless(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return a member that says nothing about the machine that it was made on."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main(sys.argv[1])
