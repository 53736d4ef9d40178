"""``bench.lists``: does it run, and is its scene what it says? Nothing is timed."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bench import lists
from bench.daemon import TENANT
from bench.rows import many_recordings
from rrd.index import home
from rrd.index.rows import ListQuery
from rrd.index.sqlite.index import SqliteIndex
from tests.index.index_model import list_wanted

COUNT = 1100


def test_every_kind_of_list_finds_what_it_is_asked_for(tmp_path: Path) -> None:
    data_dir = f"{tmp_path}/data"
    many_recordings.build(data_dir, COUNT)
    lists.add_summaries(data_dir, COUNT)
    asyncio.run(_check_urls(home.index_path(data_dir)))
    found = asyncio.run(lists.measure(data_dir, COUNT, 1))
    assert found.keys() == {case.name for case in lists.cases(COUNT)}
    assert all(len(pages) == len(turns) == 1 for pages, turns, _ in found.values())
    assert found["plain list"][2] == found["sort=active"][2] == 50


async def _check_urls(path: str) -> None:
    """Check that the first recording is found by each of its urls."""
    (first,) = many_recordings.commits(1)
    index = await SqliteIndex.open(path)
    try:
        summary = await index.summary(1)
        assert summary is not None
        assert summary.urls
        for url in summary.urls:
            listed = await list_wanted(index, TENANT, (), ListQuery(url=url), COUNT, 0)
            assert first.created_ms in {found.created_ms for found in listed}
    finally:
        await index.close()
