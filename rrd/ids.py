"""The names that outsiders choose, recording ids and tenants, and which of them are admitted.

Both become parts of file names, so what is admitted here is all that a path can ever hold.
"""

from __future__ import annotations

import re
from typing import Literal

from rrd.errors import BadRequest

RecordingIdForm = Literal["uuid", "any"]

# RFC 9562, section 4: hex and dashes, case-insensitive on input, lower-case on output.
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
# The rrweb web extension makes nanoid ids: URL-safe base64 characters, case-sensitive.
_ANY = re.compile(r"[A-Za-z0-9_-]{8,64}")
_TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def parse_recording_id(text: str, form: RecordingIdForm = "uuid") -> str | None:
    """Return the canonical recording id that ``text`` names, or None if it is not one.

    A UUID is lower-cased (RFC 9562). With ``form="any"`` ids of 8 to 64 characters out of
    ``A-Za-z0-9_-`` are admitted as well, and kept as they are.
    """
    if _UUID.fullmatch(text):
        return text.lower()
    if form == "any" and _ANY.fullmatch(text):
        return text
    return None


def check_recording_id(text: str, form: RecordingIdForm) -> str:
    """Return the canonical recording id that ``text`` names. Raises ``BadRequest`` if it is not one."""
    recording_id = parse_recording_id(text, form)
    if recording_id is None:
        raise BadRequest(
            f'{text!r} is not a recording id: a UUID, or more where `recording_ids` is "any"',
            code="bad_recording_id",
        )
    return recording_id


def is_tenant(text: str) -> bool:
    """Tell whether ``text`` may name a tenant: 1 to 63 characters of ``a-z0-9_-``, no leading dash."""
    return _TENANT.fullmatch(text) is not None
