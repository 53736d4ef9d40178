from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from rrd.objects.files import ObjectFiles
from tests.playback.recordings import no_objects


@pytest.fixture(scope="session")
def files() -> Iterator[ObjectFiles]:
    """For recordings that are local: whoever asks for an object is told that the store is away."""
    with no_objects() as nothing:
        yield nothing


@pytest.fixture
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(2, thread_name_prefix="reading") as pool:
        yield pool
