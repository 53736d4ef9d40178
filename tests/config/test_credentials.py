"""``credential:NAME`` in the settings: which file it means, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from rrd.config import Config, load_config
from rrd.config.checks import check_s3
from rrd.config.credentials import SERVICE_DIR, resolved
from rrd.errors import ConfigError

S3 = {"RRD_OBJECT_STORE": "s3", "RRD_S3_BUCKET": "b"}


@pytest.mark.parametrize("key", ["s3_credentials_file", "s3_ca_file"])
def test_a_credential_is_a_file_in_the_services_directory(tmp_path: Path, key: str) -> None:
    (tmp_path / "secret").write_text("[default]\n")
    environment = S3 | {f"RRD_{key.upper()}": "credential:secret", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    config = load_config(environment=environment)
    assert getattr(config, key) == str(tmp_path / "secret")
    check_s3(config)
    (tmp_path / "secret").unlink()
    with pytest.raises(ConfigError, match=f"{key}: .*can't be read"):
        check_s3(config)


def test_a_command_outside_the_service_looks_where_the_services_are() -> None:
    config = load_config(environment=S3 | {"RRD_S3_CREDENTIALS_FILE": "credential:never-loaded"})
    assert config.s3_credentials_file == f"{SERVICE_DIR}/never-loaded"
    with pytest.raises(ConfigError, match="LoadCredential=never-loaded:"):
        check_s3(config)


@pytest.mark.parametrize("name", ["", "../shadow", "a/b", ".", "..", "a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="s3_ca_file"):
        resolved(Config(s3_ca_file=f"credential:{name}"), {})


def test_each_setting_that_names_a_secret_takes_a_credential() -> None:
    keys = [field.name for field in msgspec.structs.fields(Config) if field.name.endswith("_file")]
    assert {"s3_credentials_file", "s3_ca_file", "signing_keys_file"} <= set(keys)
    config = msgspec.convert(dict.fromkeys(keys, "credential:x"), Config)
    config = resolved(config, {"CREDENTIALS_DIRECTORY": "/run/x"})
    assert [getattr(config, key) for key in keys] == ["/run/x/x"] * len(keys)


def test_other_paths_and_other_settings_stay() -> None:
    config = Config(s3_credentials_file="/etc/rrd/s3", data_dir="credential:x")
    assert resolved(config, {"CREDENTIALS_DIRECTORY": "/run/x"}) == config
