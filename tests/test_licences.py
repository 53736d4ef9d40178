"""What rrd is installed with is listed with its licence, and none of these asks more than a notice."""

from __future__ import annotations

import re

from tests.licences import PAGE, npm_licences, page, python_licences

# Those that let a program under any licence use the package as it is.
ALLOWED = {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0", "PSF-2.0"}


def test_the_page_lists_what_the_lock_files_name() -> None:
    assert PAGE.read_text() == page(), "run `make licences`, and read what has changed"


def test_each_licence_is_one_that_we_know_and_can_keep() -> None:
    licences = python_licences() | npm_licences()
    assert len(licences) > 30
    odd = {
        name: text
        for name, text in licences.items()
        if set(re.findall(r"[A-Za-z0-9.-]+", text)) - {"AND", "OR"} - ALLOWED
    }
    assert odd == {}
