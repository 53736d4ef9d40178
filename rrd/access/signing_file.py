"""Signing keys that stand in a file of their own, beside those of ``keys.sqlite``: ``signing_keys_file``.

For secrets that another program hands out, such as a credential of systemd. One key a line, in UTF-8::

    KEY_ID TENANT SECRET

Blank lines, and lines that begin with ``#``, say nothing. The secret is taken as its UTF-8 bytes; it holds
no white space and at least ``SECRET_BYTES_MIN`` bytes. These keys are good as long as their line stands
there: the file is read at a start and at a reload, and no command changes it.
"""

from __future__ import annotations

from collections.abc import Sequence

from rrd import ids
from rrd.access.keys import KEY_ID, SigningKeyRow
from rrd.config.credentials import next_step
from rrd.errors import ConfigError

SECRET_BYTES_MIN = 32
"""As long as the HMAC's digest (RFC 2104, 3): a shorter one could be guessed from a single URL."""

FILE_BYTES_MAX = 1 << 20

_FORM = "a line is KEY_ID TENANT SECRET"


def read_signing_keys(path: str) -> tuple[SigningKeyRow, ...]:
    """Return the keys of a file; none for ``""``. Blocking.

    Raises ``ConfigError`` with the line's number, never with what stands in it.
    """
    if not path:
        return ()
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        step = next_step(path) or ". Check path and owner"
        raise ConfigError(f"signing_keys_file: {path}: {error.strerror}{step}") from error
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError(f"signing_keys_file: {path}: more than {FILE_BYTES_MAX} bytes. Check the path")
    return parse_signing_keys(path, data)


def parse_signing_keys(path: str, data: bytes) -> tuple[SigningKeyRow, ...]:
    """Return the keys that a file's bytes tell. Raises ``ConfigError`` as ``read_signing_keys`` does."""
    rows: dict[str, SigningKeyRow] = {}
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            words = line.decode("utf-8").split()
        except UnicodeDecodeError:
            raise _wrong(path, number, "it is not UTF-8") from None
        if not words or words[0].startswith("#"):
            continue
        row = _row(path, number, words)
        if row.key_id in rows:
            raise _wrong(path, number, "its key id stands in a line above, too")
        rows[row.key_id] = row
    return tuple(rows.values())


def _row(path: str, number: int, words: Sequence[str]) -> SigningKeyRow:
    if len(words) != 3:
        raise _wrong(path, number, f"it has {len(words)} words, and {_FORM}")
    key_id, tenant, secret = words
    if not KEY_ID.fullmatch(key_id):
        raise _wrong(path, number, f"its first word is no key id (1 to 64 of A-Za-z0-9._-); {_FORM}")
    if not ids.is_tenant(tenant):
        raise _wrong(path, number, f"its second word is no tenant (1 to 63 of a-z0-9_-); {_FORM}")
    size = len(secret.encode())
    if size < SECRET_BYTES_MIN:
        raise _wrong(
            path, number,
            f"its secret has {size} bytes, and {SECRET_BYTES_MIN} are needed: openssl rand -hex 32 makes one",
        )  # fmt: skip
    return SigningKeyRow(key_id, tenant, secret, 0, None, is_from_file=True)


def _wrong(path: str, number: int, what: str) -> ConfigError:
    return ConfigError(f"signing_keys_file: {path}, line {number}: {what}")
