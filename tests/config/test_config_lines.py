"""The line of a setting in a file, as tomllib itself would have it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rrd
from rrd.config.lines import line_of
from tests.config.other_values import FIELDS

SHIPPED = Path(rrd.__file__).parents[1] / "config" / "rrd.toml"
KEYS = ["port", "host", "link_hosts", "flush_age_ms"]

# What may stand before a setting, and looks like one.
BEFORE = [
    "",
    "# port = 1",
    "  # host = 2",
    'a = """\nport = 1\nhost = "x"\n"""',
    "a = '''\nport = 1\n'''",
    'a = [\n  "port = 1",\n  "host = 2", # link_hosts = 3\n]',
    'a = "port = 1"',
    'a = """\nport = 1 \\"""\nhost = 2\n"""',
    'a = """\r\nport = 1\r\n"""\r',
    "port_of = 1",
    "a.port = 1",
    'text = "\N{LATIN SMALL LETTER U WITH DIAERESIS}"',
]
FORMS = ["{key} = 1", "  {key}=1", '"{key}" = 1', "'{key}'\t=\t1", "{key} = [\n  1,\n  2,\n]", "{key}.x = 1"]


def named_apart(lines: list[str]) -> str:
    """Return them as one text in which no key comes twice."""
    for number, line in enumerate(lines):
        for name in ("a", "text", "port_of"):
            if line.startswith((f"{name} ", f"{name}.")):
                lines[number] = f"{name}{number}{line.removeprefix(name)}"
    return "".join(f"{line}\n" for line in lines)


@given(
    before=st.lists(st.sampled_from(BEFORE), max_size=6),
    key=st.sampled_from(KEYS),
    form=st.sampled_from(FORMS),
    after=st.lists(st.sampled_from(BEFORE), max_size=2),
)
def test_the_line_is_that_of_the_key_whatever_looks_like_it(
    before: list[str], key: str, form: str, after: list[str]
) -> None:
    text = named_apart([*before, form.format(key=key), *after])
    assert key in tomllib.loads(text)
    assert line_of(text, key) == named_apart([*before]).count("\n") + 1


def test_each_line_of_the_shipped_file_is_found() -> None:
    text = SHIPPED.read_text()
    lines = text.splitlines()
    # Some of them: a line is looked for once, when something is wrong.
    for field in FIELDS[::10]:
        number = line_of(text, field.name)
        assert number is not None
        assert lines[number - 1].startswith(f"{field.name} = ")


@pytest.mark.parametrize(("text", "line"), [("# nothing\n\n[server]\nport = 1\n", 3), ("[[ server ]]", 1)])
def test_a_table_that_is_no_setting_has_a_line_too(text: str, line: int) -> None:
    assert line_of(text, "server") == line


def test_what_is_not_there_or_written_in_escapes_has_none() -> None:
    assert line_of("host = 1\n", "port") is None
    assert line_of('"p\\u006frt" = 1\n', "port") is None
