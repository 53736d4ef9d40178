"""What the list is asked for, in Node: filters as an address, and pages of a list that moves meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.console.units_lab import Units

PAGE = 50
NOW = 1_800_000_000_000


@pytest.fixture(scope="module")
def units() -> Iterator[Units]:
    made = Units()
    yield made
    made.close()


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
NUMBERS = st.integers(0, 10**13).map(str)
NARROWING = st.one_of(
    st.tuples(st.just("since"), st.sampled_from(["1h", "1d", "7d", "30d"])),
    st.tuples(st.sampled_from(["from", "to", "minDuration", "minActive"]), NUMBERS),
    st.tuples(st.just("url"), WORDS),
    st.tuples(st.sampled_from(["hasErrors", "live"]), st.just("true")),
    st.tuples(WORDS.map("meta[{}]".format), WORDS),
)
SHAPING = st.one_of(
    st.tuples(st.just("tenant"), WORDS),
    st.tuples(st.just("cols"), WORDS),
    st.tuples(st.just("sort"), st.sampled_from(["active", "duration", "errors", "bytes"])),
)
STRANGE = st.tuples(st.sampled_from(["limit", "offset", "token", "includeSignedUrls", "meta", "Live"]), WORDS)


@given(pairs=st.lists(NARROWING | SHAPING | STRANGE, max_size=8))
def test_an_address_keeps_what_was_asked_for(units: Units, pairs: list[tuple[str, str]]) -> None:
    told = units.do("query", pairs=pairs, now=NOW)
    assert (told["view"], told["rest"]) == ("list", [])
    assert told["pairs"] == [list(pair) for pair in pairs]


@given(narrowing=st.lists(NARROWING, max_size=6), others=st.lists(SHAPING | STRANGE, max_size=4))
def test_the_server_hears_all_that_narrows_and_nothing_that_does_not(
    units: Units, narrowing: list[tuple[str, str]], others: list[tuple[str, str]]
) -> None:
    told = units.do("query", pairs=[*others, *narrowing], now=NOW)
    wanted: dict[str, list[object]] = {"summary": [True]}
    for name, value in [*others, *narrowing]:
        if name == "since":
            hours = {"1h": 1, "1d": 24, "7d": 168, "30d": 720}[value]
            wanted.setdefault("from", []).append(NOW - hours * 3_600_000)
        elif name == "sort" or (name, value) in narrowing:
            wanted.setdefault(name, []).append(value)
    assert told["asked"] == wanted
    assert told["isNarrowed"] == bool(narrowing)


@given(pairs=st.lists(NARROWING | SHAPING, max_size=8))
def test_a_chip_takes_away_what_it_says(units: Units, pairs: list[tuple[str, str]]) -> None:
    told = units.do("query", pairs=pairs, now=NOW)
    shown = [list(pair) for pair in pairs if pair[0] not in {"tenant", "sort"}]
    assert len(told["chips"]) == len(shown)
    for (said, without), taken in zip(told["chips"], shown, strict=True):
        assert said
        assert without == [list(pair) for pair in pairs if list(pair) != taken]


@given(
    pairs=st.lists(NARROWING, max_size=5), name=st.sampled_from(["since", "from", "to", "url"]), value=WORDS
)
def test_a_time_is_said_in_one_way(units: Units, pairs: list[tuple[str, str]], name: str, value: str) -> None:
    made = units.do("changed", pairs=pairs, name=name, value=value)
    assert [pair for pair in made if pair[0] == name] == [[name, value]]
    gone = {"since": {"from", "to"}, "from": {"since"}, "to": {"since"}}.get(name, set())
    assert {one for one, _ in made} == {one for one, _ in pairs if one not in gone} | {name}
    assert units.do("changed", pairs=made, name=name, value="") == [pair for pair in made if pair[0] != name]


CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "arrive": st.integers(1, 130),
        "erase": st.tuples(st.integers(0, 500), st.integers(1, 130)),
    },
)


@given(size=st.integers(0, 420), changes=st.lists(CHANGES, max_size=12), is_newest=st.booleans())
def test_a_list_has_no_gap_and_no_repeat_while_recordings_come_and_go(
    units: Units, size: int, changes: list[dict[str, Any]], is_newest: bool
) -> None:
    told = units.do("listing", size=size, changes=changes, isNewestFirst=is_newest)
    found = told["told"]
    assert found == told["items"]
    assert len(found) == len(set(found))
    # Those that were there at the beginning and are still there.
    assert {number for number in told["left"] if number <= size} <= set(found)
    # One that came later may stand behind them, once nothing is left of what was shown.
    if is_newest:
        old = [number for number in found if number <= size]
        assert old == sorted(old, reverse=True)


@given(size=st.integers(0, 120), arrived=st.integers(0, 60))
def test_new_ones_are_counted(units: Units, size: int, arrived: int) -> None:
    changes = [{"arrive": arrived}] if arrived else []
    told = units.do("listing", size=size, changes=changes, isNewestFirst=True)
    assert told["added"] == min(len(set(told["left"]) - set(told["told"])), PAGE)
