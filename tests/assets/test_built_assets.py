"""What was built for browsers is read whole, or not at all; and it is what was tried."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rrd.assets.files import BUILT, MANIFEST, NoAssets, load_assets
from tests.assets.building import ROOT, built_assets

PROJECT = ROOT / "assets"


def made(directory: Path) -> str:
    """Write assets of a few bytes, with a manifest, and return where."""
    names = ("record.js", "record.js.br", "record.js.gz", "replay.js", "player.js", "body.html", "page.css")
    manifest = {}
    for name in names:
        content = f"/* {name} */".encode()
        (directory / name).write_bytes(content)
        manifest[name] = base64.b64encode(hashlib.sha384(content).digest()).decode()
    (directory / MANIFEST).write_text(json.dumps(manifest))
    return str(directory)


def test_what_was_built_is_read(tmp_path: Path) -> None:
    assets = load_assets(made(tmp_path))
    assert assets.recorder == {
        "identity": b"/* record.js */", "br": b"/* record.js.br */", "gzip": b"/* record.js.gz */"
    }  # fmt: skip
    assert (assets.replayer, assets.player, assets.body, assets.style) == (
        b"/* replay.js */", b"/* player.js */", b"/* body.html */", b"/* page.css */"
    )  # fmt: skip


@pytest.mark.parametrize("damage", ["nothing is there", "a file", "a byte", "the manifest", "an entry"])
def test_what_is_not_whole_is_refused_with_the_next_step_and_looked_for_again(
    tmp_path: Path, damage: str
) -> None:
    directory = tmp_path / "built"
    directory.mkdir()
    if damage != "nothing is there":
        made(directory)
    if damage == "a file":
        (directory / "replay.js").unlink()
    elif damage == "a byte":
        (directory / "replay.js").write_bytes(b"/* REPLAY.js */")
    elif damage == "the manifest":
        (directory / MANIFEST).write_bytes(b'{"record.js":')
    elif damage == "an entry":
        (directory / MANIFEST).write_bytes(b"{}")
    with pytest.raises(NoAssets, match="make assets"):
        load_assets(str(directory))
    made(directory)
    assert load_assets(str(directory)).replayer == b"/* replay.js */"


def test_the_lock_file_names_each_package_by_integrity_and_no_registry() -> None:
    packages = json.loads((PROJECT / "package-lock.json").read_text())["packages"]
    assert len(packages) > 2
    for name, package in packages.items():
        assert "resolved" not in package
        assert not name or package["integrity"].startswith("sha512-")


def test_the_licence_stands_in_what_is_handed_out() -> None:
    built_assets()
    assets = load_assets()
    for script in (assets.recorder["identity"], assets.replayer):
        head = script[:9000]
        assert b"SmartX Inc." in head
        assert b"Permission is hereby granted, free of charge" in head


def test_each_compression_is_of_the_same_script() -> None:
    import brotli
    from isal import isal_zlib

    built_assets()
    recorder = load_assets().recorder
    assert brotli.decompress(recorder["br"]) == recorder["identity"]
    assert isal_zlib.decompress(recorder["gzip"], 31) == recorder["identity"]
    assert len(recorder["br"]) < len(recorder["gzip"]) < len(recorder["identity"])


@pytest.mark.parametrize("name", ["record.js", "replay.js", "player.js"])
def test_each_script_is_well_formed(name: str) -> None:
    built_assets()
    done = subprocess.run(["node", "--check", f"{BUILT}/{name}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_wheel_takes_along_what_was_built() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["rrd"]
    built_assets()
    package = ROOT / "rrd"
    taken = {path for pattern in patterns for path in package.glob(pattern)}
    assert {path for path in Path(BUILT).rglob("*") if path.is_file()} <= taken


def test_another_release_of_a_package_is_refused(tmp_path: Path) -> None:
    """What was tried is pinned by its own digest, whatever the lock file has come to say."""
    built_assets()
    copied = tmp_path / "assets"
    shutil.copytree(PROJECT, copied, symlinks=True)
    (tmp_path / "rrd/assets").mkdir(parents=True)
    bundle = copied / "node_modules/@rrweb/browser-client/umd/browser-client.min.js"
    bundle.write_text(bundle.read_text() + "\n")
    done = subprocess.run(["node", "build.mjs"], cwd=copied, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert re.search(r"browser-client\.min\.js is not the file that rrd was tried with", done.stderr)
    assert not (tmp_path / "rrd/assets/built").exists()
