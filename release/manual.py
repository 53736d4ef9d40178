"""Man pages and shell completion, made of the parser and of the settings file: they can't be out of date.

``rrd.1`` lists the commands, ``rrd-{command}.1`` has the flags of one, and ``rrd.toml.5`` is
``config/rrd.toml``, whose comments explain each setting. ``shtab`` writes the completion.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import shtab

from rrd.cli import make_parser

SHELLS = {"bash": "rrd", "zsh": "_rrd", "fish": "rrd.fish"}
"""shell → the file name by which it finds the completion of ``rrd``."""

_FILES = """\
.SH FILES
.TP
.I /etc/rrd/rrd.toml
The settings of the service. See \\fBrrd.toml\\fR(5).
.TP
.I /var/lib/rrd
Recordings, index and keys of the service.
"""
_EXIT = """\
.SH EXIT STATUS
.TP
.B 0
Done.
.TP
.B 1
It could not be done. Standard error says why, and what to do next.
.TP
.B 2
Wrong usage.
"""


def write_manual(target: Path, *, settings_file: Path, version: str, date: str) -> None:
    """Write all pages and completions into ``target``. ``date`` is that of the version, like 2026-11-30."""
    parser = make_parser()
    commands = subcommands(parser)
    footer = f'"{date}" "rrd {version}" "rrd"'
    pages = {"rrd.1": main_page(parser, commands, footer)}
    for name, (command, about) in commands.items():
        pages[f"rrd-{name}.1"] = command_page(name, command, about, footer)
    pages["rrd.toml.5"] = settings_page(settings_file.read_text("utf-8"), footer)
    for name, text in pages.items():
        (target / "man").mkdir(parents=True, exist_ok=True)
        (target / "man" / name).write_text(text, "utf-8")
    for shell, name in SHELLS.items():
        (target / "completion" / shell).mkdir(parents=True, exist_ok=True)
        (target / "completion" / shell / name).write_text(shtab.complete(parser, shell), "utf-8")


def subcommands(parser: argparse.ArgumentParser) -> dict[str, tuple[argparse.ArgumentParser, str]]:
    """Return the commands of a parser, each with the line that help shows for it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            about = {choice.dest: choice.help or "" for choice in action._choices_actions}
            return {name: (command, about.get(name, "")) for name, command in action.choices.items()}
    return {}


def main_page(
    parser: argparse.ArgumentParser, commands: dict[str, tuple[argparse.ArgumentParser, str]], footer: str
) -> str:
    """Return rrd(1)."""
    about = (parser.description or "").rstrip(".")
    lines = [
        f".TH RRD 1 {footer}",
        f".SH NAME\nrrd \\- {roff(about)}",
        f".SH SYNOPSIS\n.B rrd\n{roff('[--config FILE] [--data-dir DIR] COMMAND …')}",
        f".SH DESCRIPTION\n{roff(parser.description or '')}\n.PP\n{roff(parser.epilog or '')}",
        ".SH COMMANDS",
        *(f".TP\n\\fBrrd\\-{roff(name)}\\fR(1)\n{roff(about)}" for name, (_, about) in commands.items()),
        ".SH OPTIONS",
        *_options(parser),
    ]
    see = ", ".join(f"\\fBrrd\\-{roff(name)}\\fR(1)" for name in commands)
    return "\n".join([*lines, _FILES + _EXIT + f".SH SEE ALSO\n\\fBrrd.toml\\fR(5), {see}"]) + "\n"


def command_page(name: str, command: argparse.ArgumentParser, about: str, footer: str) -> str:
    """Return the page of one command, with the actions that it has."""
    lines = [
        f'.TH "RRD\\-{roff(name.upper())}" 1 {footer}',
        f".SH NAME\nrrd\\-{roff(name)} \\- {roff(about)}",
        f".SH SYNOPSIS\n{_synopsis(command)}",
        f".SH DESCRIPTION\n{_paragraphs(command.description or _sentence(about))}",
        ".SH OPTIONS",
        *_options(command),
    ]
    for action, (parser, what) in subcommands(command).items():
        lines.append(f'.SH "{roff(action.upper())}"\n{_synopsis(parser)}\n.PP\n{roff(_sentence(what))}')
        lines.extend(_options(parser))
    if command.epilog:
        lines.append(f".SH NOTES\n{_paragraphs(command.epilog)}")
    return "\n".join([*lines, _EXIT + ".SH SEE ALSO\n\\fBrrd\\fR(1), \\fBrrd.toml\\fR(5)"]) + "\n"


def settings_page(text: str, footer: str) -> str:
    """Return rrd.toml(5): the settings file in sections, each key below what its comment says."""
    lines = [
        f".TH RRD.TOML 5 {footer}",
        ".SH NAME\nrrd.toml \\- settings of rrd, the ingest server for rrweb session recordings",
        ".SH DESCRIPTION",
    ]
    comment: list[str] = []
    for line in text.splitlines():
        if title := re.fullmatch(r"#{8,} +(.+?) +#{8,}", line):
            lines += [*_said(comment), f'.SH "{roff(title[1].upper())}"']
            comment = []
        elif line.startswith("#"):
            comment.append(line[1:].removeprefix(" "))
        elif line.strip():
            lines += [*_said(comment), f".PP\n{_bold(line)}"]
            comment = []
        elif comment:
            lines += _said(comment)
            comment = []
    return (
        "\n".join([*lines, *_said(comment), ".SH SEE ALSO\n\\fBrrd\\fR(1), \\fBrrd\\-check\\-config\\fR(1)"])
        + "\n"
    )


def roff(text: str) -> str:
    """Return the text as roff shows it, character by character."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line[:1] in {".", "'"} else line for line in escaped.split("\n"))


def _said(comment: list[str]) -> Iterator[str]:
    """Yield a comment as a paragraph, where a sentence that begins a line keeps its line."""
    last = ""
    for line in map(str.strip, comment):
        if not last:
            yield ".PP"
        elif last.endswith((".", "?", "!", ":")):
            yield ".br"
        yield roff(line)
        last = line


def _bold(text: str) -> str:
    return f"\\fB{roff(text)}\\fR"


def _synopsis(command: argparse.ArgumentParser) -> str:
    words = " ".join(command.format_usage().removeprefix("usage: ").split())
    rest = words.removeprefix(command.prog).replace("[-h] ", "").strip()
    return f"{_bold(command.prog)}\n{roff(rest)}"


def _options(command: argparse.ArgumentParser) -> Iterator[str]:
    formatter = command._get_formatter()
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction | argparse._HelpAction):
            continue
        if action.help == argparse.SUPPRESS:
            continue
        shown = formatter._format_action_invocation(action)
        said = formatter._expand_help(action) if action.help else ""
        yield f".TP\n{_bold(shown)}\n{roff(_sentence(said)) or '.'}"


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}" if text else ""


def _paragraphs(text: str) -> str:
    return "\n.PP\n".join(roff(" ".join(part.split())) for part in re.split(r"\n\s*\n", text.strip()))


def main() -> None:
    """Write the manual of the sources in the working directory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    parser.add_argument("--version", required=True)
    parser.add_argument("--date", required=True)
    args = parser.parse_args()
    write_manual(args.target, settings_file=Path("config/rrd.toml"), version=args.version, date=args.date)


if __name__ == "__main__":
    main()
