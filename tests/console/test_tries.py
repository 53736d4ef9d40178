"""Wrong keys are slowed down by address and over all; good ones, and those of others, are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.console.tries import (
    ADDRESS_TRIES_MAX,
    ADDRESS_TRY_S,
    ADDRESSES_MAX,
    ALL_TRIES_MAX,
    ALL_TRY_S,
    TooManyTries,
    Tries,
)


def wrong(tries: Tries, address: str, now: float, *, at_most: int) -> int:
    """Try until it is refused; return how often that went well."""
    for count in range(at_most):
        try:
            tries.take(address, now)
        except TooManyTries:
            return count
    return at_most


def test_an_address_has_so_many_tries_and_then_one_each_few_seconds() -> None:
    tries = Tries()
    assert wrong(tries, "a", 0, at_most=100) == ADDRESS_TRIES_MAX
    assert wrong(tries, "b", 0, at_most=1) == 1
    assert wrong(tries, "a", ADDRESS_TRY_S, at_most=100) == 1
    assert wrong(tries, "a", 1_000_000, at_most=100) == ADDRESS_TRIES_MAX


def test_all_together_have_so_many_tries() -> None:
    tries = Tries()
    assert sum(wrong(tries, f"a{number}", 0, at_most=1) for number in range(1_000)) == ALL_TRIES_MAX
    with pytest.raises(TooManyTries) as caught:
        tries.take("b", 0)
    assert (caught.value.status, caught.value.code) == (429, "too_many_tries")
    assert caught.value.retry_after_s == 1
    tries.take("b", ALL_TRY_S)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=200))
def test_who_waits_as_told_gets_in(pauses_s: list[int]) -> None:
    tries, now = Tries(), 0.0
    for pause_s in pauses_s:
        now += pause_s / 10
        try:
            tries.take("a", now)
        except TooManyTries as refused:
            now += refused.retry_after_s or 0
            tries.take("a", now)
    assert now >= 0


def test_a_good_key_costs_nothing() -> None:
    tries = Tries()
    for _ in range(10 * ALL_TRIES_MAX):
        tries.take("a", 0)
        tries.give_back("a", 0)
    assert wrong(tries, "a", 0, at_most=100) == ADDRESS_TRIES_MAX
    # Nor does it bring tries in that were never taken.
    tries.give_back("b", 0)
    assert wrong(tries, "b", 0, at_most=100) == ADDRESS_TRIES_MAX


def test_so_many_addresses_are_remembered() -> None:
    tries = Tries()
    for number in range(2 * ADDRESSES_MAX):
        tries.take(f"a{number}", number * ALL_TRY_S)
    assert len(tries._of_address) == ADDRESSES_MAX
