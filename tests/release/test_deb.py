"""What the package is made of, before it is built: changelog, units, maintainer scripts."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from release.deb import changelog

ROOT = Path(__file__).parents[2]
OWN_STORE = '{"id":"x","store":"local:DATA/objects"}'
"""What a data directory says whose objects lie in itself."""
SCRIPTS = sorted((ROOT / "debian").glob("rrd.p*"))


@pytest.mark.skipif(shutil.which("dpkg-parsechangelog") is None, reason="dpkg-dev is not installed")
def test_the_changelog_is_one_that_dpkg_reads(tmp_path: Path) -> None:
    path = tmp_path / "changelog"
    path.write_text(changelog("1.0~5.gabc", 1_700_000_000))
    parsed = subprocess.run(
        ["dpkg-parsechangelog", "--file", str(path), "--all"], check=True, capture_output=True, text=True
    )
    assert parsed.stderr == ""
    fields = dict(re.findall(r"^(\w+): (.+)$", parsed.stdout, re.MULTILINE))
    assert (fields["Version"], fields["Date"]) == ("1.0~5.gabc", "Tue, 14 Nov 2023 22:13:20 -0000")
    assert max(map(len, path.read_text().splitlines())) <= 80


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_maintainer_scripts_stop_at_the_first_error_and_end_with_debhelper(script: Path) -> None:
    text = script.read_text()
    assert text.startswith("#!/bin/sh\n")
    assert "\nset -e\n" in text
    assert text.rstrip().endswith("#DEBHELPER#")
    subprocess.run(["sh", "-n", str(script)], check=True)


@pytest.mark.parametrize(
    ("files", "is_kept"),
    [
        ({}, False),
        ({"keys.sqlite": "", "lock": "", "identity": OWN_STORE}, False),
        ({"objects/identity.json": "{}"}, False),
        ({"active/acme.x.000001.ndjson.zst": ""}, True),
        ({"sealed/acme/ab/x.000001.ndjson.zst": ""}, True),
        ({"objects/acme/2026/01/01/x/00000001-00000002.ndjson.zst": ""}, True),
        ({"torn/x.torn": ""}, True),
        ({"active/acme.x.000001.ndjson.zst": "", "identity": OWN_STORE}, True),
        ({"objects/acme/x.ndjson.zst": "", "identity": OWN_STORE, "keys.sqlite": ""}, True),
        ({"identity": '{"id":"x","store":"s3://recordings"}'}, True),
        ({"identity": '{"id":"x","store":"local:/srv/objects"}'}, True),
        ({"identity": '{"id":"x","store":""}'}, False),
    ],
)
def test_a_purge_keeps_what_can_not_be_recorded_again(
    tmp_path: Path, files: dict[str, str], is_kept: bool
) -> None:
    data = tmp_path / "data"
    for name, text in files.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text(text.replace("DATA", str(data)))
    script = (ROOT / "debian/rrd.postrm").read_text()
    places = {"/var/lib/rrd-backups": "backups", "/var/lib/rrd": "data", "/etc/rrd": "etc", "/run/rrd": "run"}
    for place, name in places.items():
        script = script.replace(place, str(tmp_path / name))
    assert "/var/" not in script
    assert "/etc/" not in script
    done = subprocess.run(["sh", "-c", script, "postrm", "purge"], check=True, capture_output=True, text=True)
    assert data.exists() == is_kept
    assert ("is kept" in done.stderr) == is_kept
