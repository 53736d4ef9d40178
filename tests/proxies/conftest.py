"""Fixtures of the proxies' tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.client.conftest import driver as driver  # noqa: PLC0414 - fixtures that are the same here
from tests.client.conftest import open_tab as open_tab  # noqa: PLC0414
from tests.proxies.served import KINDS, Served, serving


@pytest.fixture(params=KINDS)
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Served]:
    """Each proxy in turn."""
    async with serving(request.param, tmp_path) as served:
        yield served
