"""Cursors: what is put in comes out, for the same recording and never for another."""

from __future__ import annotations

import base64
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.errors import BadRequest
from rrd.http.cursors import Cursor, decode_cursor, encode_cursor
from rrd.index.rows import RecordingRow
from rrd.playback.table import Between

_TIMES = st.floats(allow_nan=False)
_SEQS = st.integers(0, 2**63)
CURSORS = st.builds(
    Cursor, as_of=_SEQS, timestamp=_TIMES, seq=_SEQS, start=_TIMES, limit=_TIMES, at=st.none() | _TIMES
)
CURSOR = Cursor(7, 1.5, 3, -inf, inf, None)


def row(recording_id: str = "r1", *, tenant: str = "t", created_ms: int = 5, row_id: int = 1) -> RecordingRow:
    fields = dict.fromkeys(RecordingRow._fields)
    return RecordingRow(
        **fields
        | {"tenant": tenant, "recording_id": recording_id, "created_ms": created_ms, "row_id": row_id}  # type: ignore[arg-type]
    )


@given(CURSORS)
def test_a_cursor_says_what_was_put_in(cursor: Cursor) -> None:
    text = encode_cursor(cursor, row())
    assert decode_cursor(text, row()) == cursor
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_it_survives_a_new_index() -> None:
    assert decode_cursor(encode_cursor(CURSOR, row(row_id=1)), row(row_id=99)) == CURSOR


@pytest.mark.parametrize("other", [row("r2"), row(tenant="u"), row(created_ms=6)])
def test_another_recordings_cursor_is_refused(other: RecordingRow) -> None:
    with pytest.raises(BadRequest, match="another recording's"):
        decode_cursor(encode_cursor(CURSOR, row()), other)


@given(
    st.text(max_size=100)
    | st.binary(min_size=57, max_size=57).map(base64.urlsafe_b64encode).map(bytes.decode)
)
def test_no_other_text_is_a_cursor(text: str) -> None:
    with pytest.raises(BadRequest) as raised:
        decode_cursor(text, row())
    assert raised.value.parameter == "cursor"


def test_any_change_is_found() -> None:
    text = encode_cursor(CURSOR, row())
    for at, char in enumerate(text):
        for other in {"A", "z", "_", "!", "ü"} - {char}:
            with pytest.raises(BadRequest):
                decode_cursor(text[:at] + other + text[at + 1 :], row())
    for changed in (text[:-1], text + "A", text + "=", "", text * 2):
        with pytest.raises(BadRequest):
            decode_cursor(changed, row())


def test_another_version_is_refused() -> None:
    data = bytearray(base64.urlsafe_b64decode(encode_cursor(CURSOR, row())))
    data[0] = 2
    with pytest.raises(BadRequest):
        decode_cursor(base64.urlsafe_b64encode(data).decode(), row())


def test_what_is_left_begins_behind_the_event() -> None:
    assert CURSOR.rest == Between(1.5, inf, start_seq=4, first_seq=0, limit_seq=8)
