"""The console's own files stay few, small and plain: what a reader, a policy and a translator count on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.assets.building import ROOT

CONSOLE = ROOT / "assets/console"
FILES = sorted(path for path in CONSOLE.iterdir() if path.is_file())
SCRIPTS = [path for path in FILES if path.suffix == ".js"]
STYLES = [path for path in FILES if path.suffix == ".css"]
LINES_MAX = 5_000
FILE_LINES_MAX = 400
# They become files of the page by themselves: `build.mjs` adds them.
BUILT = {"replay.js", "replay.css"}

STRING = re.compile(r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"|`(?:[^`\\]|\\.)*`")
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
# Markup or code made of a text, and styles that `style-src 'self'` refuses.
SINKS = re.compile(
    r"\b(innerHTML|outerHTML|insertAdjacentHTML|srcdoc|cssText|document\.write|eval|new Function)\b"
    r"|\bsetAttribute\(\s*['\"]style|\bstyle:\s*['\"`]|javascript:"
)
# The namespace of drawings is a name that looks like an address.
NAMESPACES = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink", "http://www.w3.org/1999/xhtml"}
# Words of the platform that look like English ones.
NAMES_OF_THE_PLATFORM = re.compile(
    r"^(?:Accept|Authorization|Link|Enter|Escape|Tab|Home|End|Space|Delete|Backspace|Input|Page(?:Up|Down)"
    r"|Arrow\w+|Location|Range|Expires|Age)$"
)
SENTENCE = re.compile(
    r"^[A-Z][a-z’]+(?:[ ,:][^<>={};]*)?[.…?!:]?$|\b[a-z’]{2,} [a-z’]{2,} [a-z’]{2,} [a-z’]+\b"
)


def code_of(path: Path) -> str:
    """Return a script without its comments. A `//` in a string is no comment."""
    parts = re.compile(rf"(?P<string>{STRING.pattern})|(?P<comment>{COMMENT.pattern})|.", re.DOTALL)
    return "".join("" if found["comment"] else found[0] for found in parts.finditer(path.read_text()))


def test_it_stays_small() -> None:
    sizes = {path.name: len(path.read_text().splitlines()) for path in FILES}
    code = [size for name, size in sizes.items() if not name.endswith(".html")]
    assert sum(code) < LINES_MAX, sizes
    assert [name for name, size in sizes.items() if size > FILE_LINES_MAX] == []


def test_there_is_nothing_but_pages_scripts_and_styles() -> None:
    assert {path.suffix for path in FILES} <= {".html", ".js", ".css"}
    assert [path.name for path in CONSOLE.iterdir() if path.is_dir()] == []
    assert [path.name for path in FILES if not re.fullmatch(r"[a-z0-9_]+\.(html|js|css)", path.name)] == []


@pytest.mark.parametrize("path", [*SCRIPTS, *STYLES], ids=lambda path: path.name)
def test_a_file_opens_with_a_sentence_about_it(path: Path) -> None:
    first = path.read_text().split("\n", 1)[0]
    assert re.match(r"(// |/\* )[A-Z].{15,}", first), first


@pytest.mark.parametrize("path", [*SCRIPTS, *STYLES], ids=lambda path: path.name)
def test_no_file_names_another_host(path: Path) -> None:
    text = code_of(path) if path.suffix == ".js" else COMMENT.sub("", path.read_text())
    addresses = set(re.findall(r"(?:https?|wss?):?//[a-zA-Z0-9][^\s'\"`)]*", text))
    # A name below `.example` is nobody's: it shows what to type.
    assert {address for address in addresses if ".example" not in address} - NAMESPACES == set()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_text_becomes_markup_code_or_style(path: Path) -> None:
    if path.name == "sanitize.js":
        pytest.skip("it names what it drops")
    assert [found[0] for found in SINKS.finditer(code_of(path))] == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_words_for_people_stand_in_one_file(path: Path) -> None:
    """Roughly: no string elsewhere begins like a sentence, or holds four words one after the other."""
    if path.name == "text.js":
        return
    found = []
    for line in code_of(path).splitlines():
        # For those who read the developer tools.
        if "Error(" in line or "console.error(" in line:
            continue
        texts = [text[1:-1] for text in STRING.findall(line)]
        found += [text for text in texts if SENTENCE.search(text) and not NAMES_OF_THE_PLATFORM.match(text)]
    assert found == []


def test_each_file_is_reached_from_a_page() -> None:
    names = {path.name for path in FILES} | BUILT
    wanted = {"index.html", "stage.html"} & names
    reached: set[str] = set()
    while wanted:
        name = wanted.pop()
        reached.add(name)
        if name in BUILT:
            continue
        text = (CONSOLE / name).read_text()
        # Of pages by their address, of modules by a relative one.
        found = set(re.findall(r"(?:/console/|['\"]\./)([a-z0-9_]+\.(?:js|css|html))", text))
        unknown = found - names
        assert unknown == set(), f"{name} names what is not there"
        wanted |= found - reached
    assert names - reached - (BUILT if "stage.html" not in names else set()) - {"sanitize.js"} == set()


def test_pages_hold_no_script_and_no_style() -> None:
    for path in FILES:
        if path.suffix == ".html":
            text = path.read_text()
            assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", text) == []
