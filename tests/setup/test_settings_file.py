"""A settings file is changed in the lines that were meant, and in no other byte."""

from __future__ import annotations

import contextlib
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.config import load_config
from rrd.errors import ConfigError
from rrd.setup.settings_file import edit_settings_file, make_settings_file, shipped, with_settings

WANTED: dict[str, str | bool] = {"public_url": "https://rrd.example.com", "console": True}
SHIPPED = shipped("rrd.toml")

CASES = {
    "a default in double quotes": (
        'public_url = ""\nconsole = "auto"\n',
        'public_url = "https://rrd.example.com"\nconsole = true\n',
    ),
    "a default in single quotes, spaced, with a comment": (
        "  public_url=''   # none yet\nconsole\t=\t\"auto\"\n",
        '  public_url="https://rrd.example.com"   # none yet\nconsole\t=\ttrue\n',
    ),
    "lines of Windows": (
        '\ufeffpublic_url = ""\r\nconsole = "auto" # ?\r\n',
        '\ufeffpublic_url = "https://rrd.example.com"\r\nconsole = true # ?\r\n',
    ),
    "absent, and no end of line": (
        "port = 9000",
        'port = 9000\n\n# By rrd setup.\npublic_url = "https://rrd.example.com"\n'
        "\n# By rrd setup.\nconsole = true\n",
    ),
    "out of use": (
        '# public_url = ""\n#console = "auto"\n',
        '# public_url = ""\n#console = "auto"\n\n# By rrd setup.\npublic_url = "https://rrd.example.com"\n'
        "\n# By rrd setup.\nconsole = true\n",
    ),
}


@pytest.mark.parametrize(("before", "after"), CASES.values(), ids=CASES)
def test_what_has_its_default_is_changed_in_its_place(before: str, after: str) -> None:
    edited = with_settings(before, WANTED)
    assert edited.text == after
    assert edited.changed == ('public_url = "https://rrd.example.com"', "console = true")
    assert with_settings(after, WANTED) == (after, (), ())


def test_what_an_operator_has_set_stays() -> None:
    text = 'public_url = "https://other.example"\nconsole = false\n'
    assert with_settings(text, WANTED) == (text, (), ("public_url", "console"))


@pytest.mark.parametrize(
    "text",
    [
        'link_hosts = ["""\npublic_url = ""\n"""]\nconsole = "auto"\npublic_url = """\n"""\n',
        'public_url = """"""\n',
        '"public_url" = ""\n',
        'public_url = "\\u0020"\n'.replace("\\u0020", ""),
    ],
)
def test_a_file_is_changed_in_what_was_meant_or_not_at_all(text: str, tmp_path: Path) -> None:
    file = tmp_path / "rrd.toml"
    file.write_text(text)
    with contextlib.suppress(ConfigError):
        edit_settings_file(str(file), WANTED)
    now = file.read_text()
    assert now == text or tomllib.loads(now) == tomllib.loads(text) | WANTED


LINES = SHIPPED.splitlines(keepends=True)


@given(st.sets(st.integers(0, len(LINES) - 1), max_size=40), st.sampled_from(["\n", "\r\n"]))
def test_no_other_line_of_the_shipped_file_changes(gone: set[int], end: str) -> None:
    kept = [line.replace("\n", end) for number, line in enumerate(LINES) if number not in gone]
    text = "".join(kept)
    try:
        before = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    edited = with_settings(text, WANTED)
    assert tomllib.loads(edited.text) == before | WANTED
    old, new = text.splitlines(), edited.text.splitlines()
    assert [line for line in old if line not in new] == [
        line for line in old if line.startswith(("public_url", "console ="))
    ]


def test_a_file_that_is_made_is_the_shipped_one_with_a_data_directory(tmp_path: Path) -> None:
    file = tmp_path / "etc/rrd.toml"
    make_settings_file(str(file), data_dir="/var/lib/rrd")
    assert file.read_text() == SHIPPED.replace('data_dir = "data"', 'data_dir = "/var/lib/rrd"')
    assert load_config(file=str(file), environment={}).data_dir == "/var/lib/rrd"


def test_a_file_that_is_no_toml_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "rrd.toml"
    file.write_text("port = = 1\n")
    with pytest.raises(ConfigError, match="by hand"):
        edit_settings_file(str(file), WANTED)
    assert file.read_text() == "port = = 1\n"
