"""Man pages and completion hold each command, flag and setting, and groff finds nothing odd in them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from release.manual import SHELLS, roff, settings_page, subcommands, write_manual
from rrd.cli import make_parser
from rrd.config import Config

ROOT = Path(__file__).parents[2]
COMMANDS = subcommands(make_parser())


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("manual")
    write_manual(target, settings_file=ROOT / "config/rrd.toml", version="1.0", date="2026-01-01")
    return target


def shown(page: str) -> str:
    """Return a page's text without escapes."""
    return re.sub(r"\\f[BRI]", "", page).replace("\\-", "-").replace("\\&", "").replace("\\e", "\\")


def test_each_command_has_a_page_with_each_of_its_flags(manual: Path) -> None:
    main = shown((manual / "man/rrd.1").read_text())
    for name, (command, about) in COMMANDS.items():
        assert f"rrd-{name}(1)\n{about}" in main
        page = shown((manual / f"man/rrd-{name}.1").read_text())
        parsers = [command, *(parser for parser, _ in subcommands(command).values())]
        flags = {flag for parser in parsers for action in parser._actions for flag in action.option_strings}
        assert {flag for flag in flags - {"-h", "--help"} if flag not in page} == set()


def test_each_setting_stands_in_its_page_below_what_it_means(manual: Path) -> None:
    page = shown((manual / "man/rrd.toml.5").read_text())
    for field in msgspec.structs.fields(Config):
        assert re.search(rf"^{field.name} = ", page, re.MULTILINE)
    comments = [
        line[1:].strip() for line in (ROOT / "config/rrd.toml").read_text().splitlines() if line[:2] == "# "
    ]
    assert [line for line in comments if line and line not in page] == []


def test_each_shell_completes_each_command(manual: Path) -> None:
    for shell, name in SHELLS.items():
        text = (manual / "completion" / shell / name).read_text()
        assert [command for command in COMMANDS if command not in text] == []


@pytest.mark.parametrize("text", ["'quoted' at the start", ".dot", "a\\b", "--flag", "a\n.b\n'c"])
def test_text_is_shown_as_it_is_written(text: str) -> None:
    if shutil.which("groff") is None:
        assert os.environ.get("TESTS_REQUIRE_TOOLS") != "1", "groff is not installed"
        pytest.skip("groff is not installed")
    page = f".TH X 1\n.nf\n{roff(text)}\n"
    out = subprocess.run(
        ["groff", "-man", "-Tutf8", "-P-cbou", "-Kutf8", "-ww"],
        input=page, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert out.stderr == ""
    # A manual's quote and minus are typographic on a terminal.
    plain = out.stdout.translate({0x2212: "-", 0x2010: "-", 0x2019: "'"})
    for line in text.splitlines():
        assert line in plain


def test_groff_finds_nothing_odd_in_any_page(manual: Path) -> None:
    if shutil.which("groff") is None:
        assert os.environ.get("TESTS_REQUIRE_TOOLS") != "1", "groff is not installed"
        pytest.skip("groff is not installed")
    for page in sorted((manual / "man").iterdir()):
        out = subprocess.run(
            ["groff", "-man", "-Tutf8", "-Kutf8", "-ww", "-z", str(page)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert out.stderr == "", page.name


def test_a_choice_begins_a_line_and_a_sentence_goes_on() -> None:
    page = settings_page("# How?\n#   Less: slow. It is\n#   slow.\n#   More: fast.\nkey = 1\n", "x")
    body = shown(page).partition("DESCRIPTION\n")[2].partition("\n.SH")[0]
    assert body == ".PP\nHow?\n.br\nLess: slow. It is\nslow.\n.br\nMore: fast.\n.PP\nkey = 1"
