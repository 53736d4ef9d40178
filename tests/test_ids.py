from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd import ids
from rrd.ids import RecordingIdForm

FORMS: tuple[RecordingIdForm, ...] = ("uuid", "any")
PATH_SAFE = re.compile(r"[A-Za-z0-9_-]+")


@given(st.uuids(), st.sampled_from(FORMS))
def test_a_uuid_is_admitted_in_any_case_and_told_in_lower_case(
    value: uuid.UUID, form: RecordingIdForm
) -> None:
    canonical = str(value)
    assert ids.parse_recording_id(canonical, form) == canonical
    assert ids.parse_recording_id(canonical.upper(), form) == canonical


@given(st.from_regex(r"[A-Za-z0-9_-]{8,64}", fullmatch=True))
def test_other_ids_are_admitted_as_they_are_where_they_are_asked_for(text: str) -> None:
    is_uuid = re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text, re.IGNORECASE) is not None
    assert ids.parse_recording_id(text, "any") == (text.lower() if is_uuid else text)
    assert (ids.parse_recording_id(text, "uuid") is not None) == is_uuid


@pytest.mark.parametrize(
    "text",
    [
        "",
        "short",
        "a" * 65,
        "with space",
        "dot.dot.dot",
        "../../etc/passwd",
        "slash/slash",
        "newline\n",
        "éééééééé",
        "٣٣٣٣٣٣٣٣",
        "3f2b8c1e-5d4a-4f6b-9c7d-1a2b3c4d5e6f\n",
        "{3f2b8c1e-5d4a-4f6b-9c7d-1a2b3c4d5e6f}",
    ],
)
def test_what_could_leave_its_directory_is_no_recording_id(text: str) -> None:
    for form in FORMS:
        assert ids.parse_recording_id(text, form) is None


@given(st.text(), st.sampled_from(FORMS))
def test_an_admitted_id_is_safe_in_a_path_and_stays_as_it_is(text: str, form: RecordingIdForm) -> None:
    admitted = ids.parse_recording_id(text, form)
    if admitted is not None:
        assert PATH_SAFE.fullmatch(admitted)
        assert ids.parse_recording_id(admitted, form) == admitted


@pytest.mark.parametrize("text", ["a", "0", "acme", "acme-2", "a_b", "x" * 63])
def test_tenants_are_short_lower_case_words(text: str) -> None:
    assert ids.is_tenant(text)


@pytest.mark.parametrize("text", ["", "-a", "_a", "A", "a.b", "a/b", "..", "a b", "a\n", "é", "x" * 64])
def test_what_could_leave_its_directory_is_no_tenant(text: str) -> None:
    assert not ids.is_tenant(text)
