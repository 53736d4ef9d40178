"""Which store the settings lead to, and settings that lead nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from rrd.config import Config
from rrd.disk.disk import OsDisk
from rrd.errors import ConfigError
from rrd.objects.choose import open_bare_store
from rrd.objects.local import LocalStore
from rrd.objects.s3 import S3Store

BUCKET = {"object_store": "s3", "s3_bucket": "recordings"}


def config(**settings: Any) -> Config:
    return msgspec.convert(settings, Config)


async def test_by_default_objects_are_in_the_data_directory(tmp_path: Path) -> None:
    async with open_bare_store(config(data_dir=str(tmp_path)), OsDisk()) as store:
        assert isinstance(store, LocalStore)
        assert store.name == f"local:{tmp_path}/objects"
        assert (tmp_path / "objects").is_dir()
        await store.check()


async def test_or_in_another_directory(tmp_path: Path) -> None:
    settings = config(data_dir=str(tmp_path / "data"), objects_dir=f"{tmp_path}/disk/objects/")
    async with open_bare_store(settings, OsDisk()) as store:
        assert store.name == f"local:{tmp_path}/disk/objects"
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("prefix", ["", "a", "a/b", "/a/b/"])
async def test_or_in_a_bucket_that_may_be_away(prefix: str) -> None:
    settings = config(**BUCKET, s3_endpoint="http://127.0.0.1:1", s3_prefix=prefix)
    async with open_bare_store(settings, OsDisk()) as store:
        assert isinstance(store, S3Store)
        assert store.name == f"s3://recordings/{prefix}".replace("//a", "/a").replace(
            "s3:/r", "s3://r"
        ).rstrip("/")


WRONG: dict[str, dict[str, Any]] = {
    "s3_bucket": {"s3_bucket": ""},
    "s3_region": {"s3_region": ""},
    "s3_endpoint": {"s3_endpoint": "s3.example.net"},
    "s3_endpoint: 'ftp": {"s3_endpoint": "ftp://s3.example.net"},
    "s3_endpoint: not a URL": {"s3_endpoint": "http://s3.example.net:port"},
    "s3_endpoint: a URL": {"s3_endpoint": "http://s3.example.net/?x=y"},
    "into s3_credentials_file": {"s3_endpoint": "https://user:hush@s3.example.net"},
    "s3_kms_key": {"s3_kms_key": "key", "s3_encryption": "AES256"},
    "s3_prefix": {"s3_prefix": "a/../b"},
    "s3_prefix: 'a//b'": {"s3_prefix": "a//b"},
    "s3_credentials_file": {"s3_credentials_file": "/nowhere/credentials"},
    "s3_ca_file": {"s3_ca_file": "/nowhere/ca.pem"},
}


@pytest.mark.parametrize("words", WRONG)
async def test_settings_that_can_not_be_right_are_told(words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        async with open_bare_store(config(**{**BUCKET, **WRONG[words]}), OsDisk()):
            pass
    assert words in str(raised.value)
    assert "hush" not in str(raised.value)


async def test_a_directory_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="objects_dir"):
        async with open_bare_store(config(objects_dir=str(tmp_path / "file" / "objects")), OsDisk()):
            pass
