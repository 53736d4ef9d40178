"""Whatever text is made of the pieces that hurt, decoding it costs no more than in proportion."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.wire.cost_fuzz import recipe_of

ROOT = Path(__file__).parents[2]
FOR_S = 20
SEED = 5000
"""Always the same recipes here. Others by hand, as long as one likes: ``python -m tests.wire.cost_fuzz SEED
SECONDS``.
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")


def test_a_seed_stands_for_one_recipe() -> None:
    recipes = [recipe_of(seed) for seed in range(50)]
    assert recipes == [recipe_of(seed) for seed in range(50)]
    assert len(set(recipes)) == 50
    for recipe in recipes:
        text = recipe.text(10_000)
        assert len(text) > 5000
        assert b"".join(recipe.chunks(text)) == text


@pytest.mark.slow
def test_cost_follows_the_input_whatever_it_is_made_of() -> None:
    command = [sys.executable, "-m", "tests.wire.cost_fuzz", str(SEED), str(FOR_S)]
    run = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    *failed, count = run.stdout.splitlines()
    print(f"{count} recipes from seed {SEED} on")
    assert int(count) > 0
    assert failed == [], "each again: python -m tests.wire.cost_fuzz SEED"
