"""What all tests share."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.thoroughness import examples

# A busy machine is slow now and then; that says nothing about the code.
settings.register_profile(
    "rrd",
    deadline=None,
    max_examples=examples(100),
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("rrd")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Say how many processes ``-n auto`` means: tests that have servers or browsers mostly wait."""
    return 2 * len(os.sched_getaffinity(0))
