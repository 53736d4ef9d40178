"""The window of what was inflated: the last bytes, whatever the sizes they came in, packed or not."""

from __future__ import annotations

import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.http.windows import WINDOW_BYTES, KeptWindow
from tests.thoroughness import examples

_steps = st.one_of(
    st.integers(0, 300),
    st.sampled_from([255, 256, 257, 8191, 8192, 8193, WINDOW_BYTES, WINDOW_BYTES + 1, 100_000]),
    st.sampled_from(["content", "pack", "clear"]),
)


@given(bytes_max=st.sampled_from([256, 8192, WINDOW_BYTES]), steps=st.lists(_steps, max_size=30))
@settings(max_examples=examples(400), deadline=None)
def test_a_window_is_the_last_bytes_of_all(bytes_max: int, steps: list[int | str]) -> None:
    window, came, chance = KeptWindow(bytes_max), b"", random.Random(1)
    for step in steps:
        if step == "content":
            assert window.content() == came[-bytes_max:]
        elif step == "pack":
            window.pack()
            window.pack()
        elif step == "clear":
            window.clear()
            came = b""
        elif isinstance(step, int):
            window.content()  # Nothing is added to one that is packed.
            plain = chance.randbytes(step)
            window.add(plain)
            came += plain
    assert window.content() == came[-bytes_max:]


@pytest.mark.parametrize("size", [1, 200, 5000, 20_000])
def test_messages_of_any_size_are_held_in_the_window_and_an_eighth_at_most(size: int) -> None:
    window = KeptWindow(8192)
    for _ in range(10_000 // size + 10):
        window.add(bytes(size))
        assert sys.getsizeof(window._ring) < 8192 * 9 / 8 + 100
