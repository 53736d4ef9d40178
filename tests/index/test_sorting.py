"""Lists that are sorted, or filtered by what happened: against the naive model, and how they are found."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.errors import BadRequest
from rrd.index.rows import ListedRecording, ListQuery, Sort
from rrd.index.sqlite import facets, sorting
from rrd.index.sqlite.index import SqliteIndex
from tests.index.index_model import (
    KEYS,
    MONTH_MS,
    NOW_MS,
    TENANTS,
    URLS,
    VALUES,
    Model,
    Step,
    filters,
    groups,
    in_new_directory,
    list_wanted,
    live_on,
    opened,
)
from tests.thoroughness import examples

Question = tuple[list[tuple[str, str]], ListQuery, int, int]
"""Filters, what else is wanted, limit, offset."""

SORTS: tuple[Sort, ...] = ("newest", "duration", "active", "errors", "bytes")
TIMES = [None, 0.0, MONTH_MS - 0.5, float(MONTH_MS), float(NOW_MS), NOW_MS + 1.0, 1e300]
LEAST = [None, None, 0.0, 0.5, 7.0, 1e12, 1e301]
PREFIXES = [
    "",
    "*",
    "https://a*",
    "https://a.example/b",
    "https://a.example/b*",
    "https://\ud83d*",
    "none",
    "*x",
]

wanted_lists = st.builds(
    ListQuery,
    sort=st.sampled_from(SORTS),
    from_ms=st.sampled_from(TIMES),
    to_ms=st.sampled_from(TIMES),
    url=st.sampled_from([None, None, None, *URLS, *PREFIXES]),
    min_duration_ms=st.sampled_from(LEAST),
    min_active_ms=st.sampled_from(LEAST),
    has_errors=st.booleans(),
    among=st.none() | st.sets(st.integers(1, 200)).map(tuple),
)


async def found(
    index: SqliteIndex, tenant: str, question: Question, bounds: sorting.SearchBounds
) -> list[ListedRecording]:
    """Ask the index, and let a few recordings be many for it."""
    filters, wanted, limit, offset = question
    search = sorting.Search(tenant, filters, wanted, limit=limit, offset=offset, bounds=bounds)
    while not search.is_done:
        await index._db.read_with(search.step)
    listed: list[ListedRecording] = []

    def encode(row: ListedRecording) -> bytes:
        listed.append(row)
        return b""

    await index.continue_list(search.row_ids, encode=encode, bytes_max=1, with_standing=True)
    if bounds == sorting.BOUNDS:
        assert listed == await list_wanted(index, tenant, *question)
    return listed


@given(
    groups,
    st.randoms(use_true_random=False),
    st.lists(st.tuples(filters, wanted_lists, st.integers(0, 5), st.integers(0, 4)), min_size=5, max_size=20),
    st.sampled_from([sorting.BOUNDS, sorting.SearchBounds(1, 1, 2), sorting.SearchBounds(0, 1, 1)]),
)
@settings(max_examples=examples(60), deadline=None)
def test_lists_are_those_of_a_naive_model(
    workload: list[list[Step]],
    rnd: random.Random,
    questions: list[Question],
    bounds: sorting.SearchBounds,
) -> None:
    """Whichever way they are found: by few, by many, in pieces of any size."""

    async def proof(path: str) -> None:
        model = Model()
        async with opened(path) as index:
            for group in workload:
                await index.apply(model.apply_steps(group))
                await live_on(index, model, rnd)
            simple: list[Question] = [([], ListQuery(sort=sort), 5, 0) for sort in SORTS]
            urls: list[Question] = [
                ([], ListQuery(url=url, sort=rnd.choice(SORTS)), 5, 0) for url in (*URLS, *PREFIXES)
            ]
            for tenant in TENANTS:
                for question in (*questions, *simple, *urls):
                    listed = await found(index, tenant, question, bounds)
                    assert listed == model.list_wanted(tenant, *question)

    in_new_directory(proof)


@given(
    groups, st.lists(st.tuples(st.sampled_from([*KEYS, "none"]), st.sampled_from([*VALUES, "a", "\ud83d"])))
)
@settings(max_examples=examples(25), deadline=None)
def test_suggestions_are_those_of_a_naive_model(
    workload: list[list[Step]], questions: list[tuple[str, str]]
) -> None:
    async def proof(path: str) -> None:
        model = Model()
        async with opened(path) as index:
            for group in workload:
                await index.apply(model.apply_steps(group))
            for tenant in (*TENANTS, "nobody"):
                for key, prefix in [*questions, ("plan", ""), ("userId", "v")]:
                    for limit in (1, 100):
                        keys = await index.metadata_keys(tenant, prefix=key[:1], limit=limit)
                        assert keys == model.metadata_values(tenant, None, key[:1], limit)
                        values = await index.metadata_values(tenant, key, prefix=prefix, limit=limit)
                        assert values == model.metadata_values(tenant, key, prefix, limit)

    in_new_directory(proof)


@pytest.mark.parametrize(
    ("prefix", "beyond"),
    [(b"a", b"b"), (b"ab", b"ac"), (b"a\xff", b"b"), (b"\xff\xff", None), (b"", None), (b"\x00", b"\x01")],
)
def test_what_is_beyond_a_prefix(prefix: bytes, beyond: bytes | None) -> None:
    assert facets._beyond(prefix) == beyond


def test_bits_come_out_as_they_went_in() -> None:
    row_ids = [1, 7, 8, 63, 64, 511, 512, 99_999]
    assert list(sorting._highest_first(sorting._bits(row_ids))) == row_ids[::-1]
    assert list(sorting._highest_first(0)) == []


async def test_a_prefix_of_too_many_urls_is_refused(tmp_path: object) -> None:
    from tests.index.test_contract import A_SUMMARY, an_object
    from tests.index.test_contract import found as an_object_found

    async with opened(f"{tmp_path}/index.sqlite") as index:
        for row_id in (1, 2):
            urls = tuple(f"https://a/{row_id}/{n}" for n in range(26))
            told = an_object_found(an_object(), row_id)._replace(
                recording_id=f"00000000-0000-4000-8000-00000000000{row_id}",
                summary=A_SUMMARY._replace(urls=urls),
            )
            await index.add_object(told)
        with pytest.raises(BadRequest, match="more than 50"):
            await list_wanted(index, "alpha", (), ListQuery(url="https://a/*"), 1, 0)
        listed = await list_wanted(index, "alpha", (), ListQuery(url="https://a/1/*"), 9, 0)
        assert len(listed) == 1
