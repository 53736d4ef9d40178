"""The bench runs, on next to nothing, and prints what it promises."""

from __future__ import annotations

import pytest

from bench import rollup


@pytest.mark.slow
@pytest.mark.parametrize("store", ["local", "s3"])
def test_the_bench_works(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    rollup.main(["--smoke", *(["--s3"] if store == "s3" else [])])
    told = capsys.readouterr().out
    for heading in (
        f"objects in {store}",
        "at rest",
        "of processor time",
        "until the first byte",
        "throughput",
    ):
        assert heading in told
