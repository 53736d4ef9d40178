"""Finds in text what must not stand in a log: keys, tokens and signatures; addresses and queries of callers.

Text is matched by its form, so this is the last line of defence. The first is that rrd's own code logs none
of it, and that a library's arguments are not told at all (``log``).
"""

from __future__ import annotations

import ipaddress
import re

HIDDEN = "***"

# Between a name and its value: in a query (percent-encoded, too), a header, JSON, a Python dict, or a
# list of pairs; with backslashes before the quotes where it was quoted once more.
_SEPARATOR = r"""(?:\\*["']?\s*(?:=|:|%3D)|\\*["']\s*,)\s*b?"""
# Text may have been cut before the closing quote.
_QUOTED = r""""(?:[^"\\]|\\.)*(?:"|\\?\Z)|'(?:[^'\\]|\\.)*(?:'|\\?\Z)"""
_SECRETS = (
    re.compile(rf"""((?:token|signature){_SEPARATOR})({_QUOTED}|\\*["']?[^\s&"<>\\]+)""", re.IGNORECASE),
    re.compile(rf"""(authorization{_SEPARATOR})({_QUOTED}|\\*["']?[^\r\n"']+)""", re.IGNORECASE),
    re.compile(r"""(\bbearer(?:\s|%20|\+)+)([^\s"'<>\\]+)""", re.IGNORECASE),
    # The forms that `rrd keys create` mints. The short prefix counts where a word begins, or before
    # as many characters as a minted key has.
    re.compile(r"((?:public|secret|erase)_key_rr_|(?<![A-Za-z])ak_(?=[\w-]{16})|ak_(?=[\w-]{43}))([\w-]+)"),
)

_QUERY = re.compile(r"""(?<=[^\s?])\?[^\s"'<>?]*(?:=|%3D)[^\s"'<>]*""", re.IGNORECASE)
_QUERY_VALUE = re.compile(r"(=|%3D)[^&]*", re.IGNORECASE)
_IPV4 = re.compile(r"(?<![0-9])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9])")
# RFC 4291, 2.2: at most seven colons, with an IPv4 address at the end perhaps; and a zone (RFC 4007, 11).
_IPV6 = re.compile(
    r"(?<![\w:.])(?=[0-9a-fA-F]*:[0-9a-fA-F]*:)[0-9a-fA-F:]{2,46}(?:\.[0-9]{1,3}){0,3}(?:%\w{1,16})?"
)


def redact(text: str) -> str:
    """Return ``text`` with keys, tokens, signatures and ``Authorization`` values replaced by ``***``."""
    for pattern in _SECRETS:
        text = pattern.sub(rf"\1{HIDDEN}", text)
    return text


def hide_callers(text: str) -> str:
    """Return ``text`` with IP addresses, and values in queries of URLs, replaced by ``***``."""
    text = _QUERY.sub(lambda match: _QUERY_VALUE.sub(rf"\1{HIDDEN}", match[0]), text)
    return _IPV4.sub(HIDDEN, _IPV6.sub(_hide_ipv6, text))


def cut(text: str, chars_max: int) -> str:
    """Return ``text``, or its first ``chars_max`` characters and how many more there were."""
    if len(text) <= chars_max:
        return text
    return f"{text[:chars_max]}…(+{len(text) - chars_max} characters)"


def _hide_ipv6(match: re.Match[str]) -> str:
    # A time of day looks alike. A port, or the colon of a sentence, may stand behind an address.
    found = match[0]
    for end in range(len(found), 2, -1):
        try:
            ipaddress.IPv6Address(found[:end])
        except ValueError:
            continue
        return HIDDEN + found[end:]
    return found
