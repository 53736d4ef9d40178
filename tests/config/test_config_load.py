"""Where settings come from, and what is said about one that can't be used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.config import load_config
from rrd.errors import ConfigError


def toml(directory: Path, text: str) -> str:
    path = directory / "rrd.toml"
    path.write_text(text)
    return str(path)


def test_flags_beat_the_environment_which_beats_the_file_which_beats_the_default(tmp_path: Path) -> None:
    file = toml(tmp_path, 'port = 1\nhost = "file"\ndata_dir = "file"\n')
    config = load_config(
        file=file, environment={"RRD_PORT": "2", "RRD_HOST": "environment"}, flags={"port": 3, "host": None}
    )
    assert (config.port, config.host, config.data_dir, config.log_level) == (3, "environment", "file", "info")


@given(
    st.fixed_dictionaries(
        {}, optional={where: st.integers(1, 65535) for where in ("file", "environment", "flags")}
    )
)
def test_the_last_place_that_names_a_setting_decides(
    tmp_path_factory: pytest.TempPathFactory, places: dict[str, int]
) -> None:
    directory = tmp_path_factory.mktemp("config")
    config = load_config(
        file=toml(directory, f"port = {places['file']}\n" if "file" in places else ""),
        environment={"RRD_PORT": str(places["environment"])} if "environment" in places else {},
        flags={"port": places.get("flags")},
    )
    order = [places[where] for where in ("flags", "environment", "file") if where in places]
    assert config.port == (order or [8787])[0]


def test_the_environment_holds_numbers_and_lists_as_text() -> None:
    environment = {
        "RRD_FLUSH_AGE_MS": "500",
        "RRD_TRUSTED_PROXIES": "10.0.0.0/8, 192.168.0.0/16,",
        "RRD_CONFIG": "elsewhere",
        "PATH": "/bin",
    }
    config = load_config(environment=environment)
    assert config.flush_age_ms == 500
    assert config.trusted_proxies == ("10.0.0.0/8", "192.168.0.0/16")
    assert load_config(environment={"RRD_TRUSTED_PROXIES": ""}).trusted_proxies == ()


# What can't be used


def test_unknown_settings_are_named_with_where_they_were(tmp_path: Path) -> None:
    file = toml(tmp_path, "flush_agems = 1\n")
    with pytest.raises(ConfigError, match=r"flush_agems.*rrd\.toml"):
        load_config(file=file, environment={})
    with pytest.raises(ConfigError, match=r"RRD_PROT.*prot"):
        load_config(environment={"RRD_PROT": "1"})
    with pytest.raises(ConfigError, match=r"colour.*command line"):
        load_config(environment={}, flags={"colour": "red"})


def test_bad_values_are_named_with_where_they_were_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"port .*rrd\.toml"):
        load_config(file=toml(tmp_path, "port = 99999\n"), environment={})
    with pytest.raises(ConfigError, match=r"flush_age_ms .*environment"):
        load_config(environment={"RRD_FLUSH_AGE_MS": "soon"})
    with pytest.raises(ConfigError, match=r"sync .*command line"):
        load_config(environment={}, flags={"sync": "never"})
    with pytest.raises(ConfigError, match=r"trusted_proxies.*10\.0\.0\.1/8"):
        load_config(environment={"RRD_TRUSTED_PROXIES": "10.0.0.1/8"})


def test_a_bad_entry_of_a_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="trusted_proxies"):
        load_config(file=toml(tmp_path, "trusted_proxies = [1]\n"), environment={})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: can't be read"):
        load_config(file=str(tmp_path / "absent.toml"), environment={})
    with pytest.raises(ConfigError, match=r"rrd\.toml: not valid TOML"):
        load_config(file=toml(tmp_path, "port = \n"), environment={})


@pytest.mark.parametrize("text", [b"\xef\xbb\xbfport = 1\n", b"\xef\xbb\xbf# x\r\nport = 1\r\n"])
def test_a_byte_order_mark_before_the_settings_is_passed_over(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "rrd.toml"
    path.write_bytes(text)
    assert load_config(file=str(path), environment={}).port == 1


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le"])
def test_a_file_that_is_no_utf_8_is_refused_with_its_name(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "rrd.toml"
    path.write_bytes("# \xe4\nport = 1\n".encode(encoding))
    with pytest.raises(ConfigError, match=re.escape(str(path))):
        load_config(file=str(path), environment={})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("prot = 1", "there is no setting 'prot' (found in {file}, line 1); 'port' is spelled nearly so"),
        ("zzz = 1", "there is no setting 'zzz' (found in {file}, line 1)"),
        ('port = "abc"', "port (set in {file}, line 1): a whole number is needed here"),
        ("retention_age = 30", "retention_age (set in {file}, line 1): a text in quotes is needed here"),
        ("link_hosts = 3", "link_hosts (set in {file}, line 1): a list in brackets is needed here"),
        (
            'console = "yes"',
            "console (set in {file}, line 1): 'yes' is none of true, false, 'auto'",
        ),
        (
            'log_level = "verbose"',
            "log_level (set in {file}, line 1): 'verbose' is none of 'debug', 'info', 'warning', 'error'",
        ),
    ],
)
def test_a_line_that_is_wrong_is_told_in_words_of_the_file_and_not_of_a_library(
    tmp_path: Path, line: str, said: str
) -> None:
    file = toml(tmp_path, line + "\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file=file, environment={})
    assert str(caught.value) == said.format(file=file)
