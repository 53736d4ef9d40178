"""Random hostile texts, cut and compressed at random, for the rule that cost follows the input.

``python -m tests.wire.cost_fuzz SEED SECONDS`` tries one recipe after another, each made from a seed of its
own, and prints those whose cost grows faster than their input, a JSON text a line, and at the end how many it
has tried. ``python -m tests.wire.cost_fuzz SEED`` tries that seed alone, and prints its figures.

Method: a text is a head, a unit many times over, and a tail, each of a few tokens; or several of the known
shapes, one behind another, one inside another, or by turns. Sizes double until there is enough to measure.
What fails is measured again, and its best figures count.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
import time
from functools import partial
from typing import Literal, NamedTuple

from rrd.wire.decoder import ContentKind
from tests.wire.costs import (
    COMPRESSIONS,
    CPU_LIMIT_S,
    EVENT,
    KINDS,
    SHAPES,
    Cost,
    Lab,
    faults,
    in_child,
    least,
    warm_up,
)

KIB = 1 << 10
SIZES = (16 * KIB, 32 * KIB, 64 * KIB)
SIZE_MAX = 2048 * KIB
ENOUGH_S = 0.1
"""What costs so much is large enough to compare."""
TRIES = 3

TOKENS = (
    *(b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\", b"\n", b"\r\n", b" ", b"0", b"1e9", b"null", b"-"),
    *(
        b'{"a":',
        b'{"events":[',
        b'"events":',
        b'"type":3,',
        b'"timestamp":1',
        b'"data":',
        b'{"type":5,',
        b"{}",
    ),
    *(
        rb"\u0061",
        rb"\ud83d",
        rb"\ude00",
        rb"\"",
        b"\xef\xbb\xbf",
        b"\xff",
        b"\x00",
        b"\xc3\xa9",
        b"\x1f\x8b",
    ),
    *(b'"v":"v1"', b'"tag":"recording-meta"', b'"payload":{', b'"\x78\xc2\x9c', b"\x28\xb5\x2f\xfd", EVENT),
)


class Recipe(NamedTuple):
    """What is made, in which way it is cut, and how it comes."""

    form: Literal["unit", "after", "inside", "turns"]
    head: bytes
    unit: bytes
    tail: bytes
    shapes: tuple[str, ...]
    piece_bytes: int
    """Of each of the turns that shapes take."""
    route: Literal["post", "socket"]
    kind: str
    compression: str
    cuts: tuple[int, ...]
    """Sizes of the chunks or messages, again and again; 0: all that is left."""

    def text(self, size: int) -> bytes:
        if self.form == "unit":
            return self.head + self.unit * (size // len(self.unit)) + self.tail
        parts = [SHAPES[shape](size // len(self.shapes)) for shape in self.shapes]
        if self.form == "after":
            return b"".join(parts)
        if self.form == "inside":
            return self.head + parts[0] + self.unit + b"".join(parts[1:]) + self.tail
        step = self.piece_bytes
        return b"".join(part[at : at + step] for at in range(0, len(parts[0]), step) for part in parts)

    def chunks(self, data: bytes) -> list[bytes]:
        chunks: list[bytes] = []
        at = 0
        for cut in itertools.cycle(self.cuts):
            if at >= len(data):
                return chunks
            chunks.append(data[at : at + cut] if cut else data[at:])
            at += len(chunks[-1])
        return chunks

    def told(self) -> dict[str, object]:
        fields = self._asdict()
        return {
            name: value.decode("latin-1") if isinstance(value, bytes) else value
            for name, value in fields.items()
        }


def recipe_of(seed: int) -> Recipe:
    """Return the recipe that a seed stands for, always the same."""
    chance = random.Random(seed)

    def tokens(count_min: int, count_max: int) -> bytes:
        return b"".join(chance.choices(TOKENS, k=chance.randint(count_min, count_max)))

    return Recipe(
        form=chance.choices(("unit", "after", "inside", "turns"), weights=(6, 1, 2, 2))[0],
        head=tokens(0, 3),
        unit=tokens(1, 6),
        tail=tokens(0, 3),
        shapes=tuple(chance.choices(list(SHAPES), k=chance.randint(2, 3))),
        piece_bytes=chance.choice((1, 7, 64, 1000, 16 * KIB)),
        route=chance.choice(("post", "socket")),
        kind=chance.choice(list(KINDS)),
        compression=chance.choice(list(COMPRESSIONS)),
        cuts=tuple(chance.choices((0, 1, 2, 7, 64, 1000, 4 * KIB, 64 * KIB), k=chance.randint(1, 3))),
    )


def cost_of(recipe: Recipe, size: int) -> Cost:
    encoding, compress = COMPRESSIONS[recipe.compression]
    kind: ContentKind = KINDS[recipe.kind]
    chunks = recipe.chunks(compress(recipe.text(size)))
    lab = Lab()
    lab.take_chunks(kind, encoding, chunks, ends=recipe.route == "socket")
    return lab.cost


def tried(recipe: Recipe) -> tuple[list[int], list[Cost], list[str]]:
    """Return the sizes, what each costs, and what is wrong with that."""
    sizes: list[int] = []
    costs: list[Cost] = []
    size = SIZES[0]
    while size <= SIZE_MAX and (len(sizes) < len(SIZES) or costs[-1].cpu_s < ENOUGH_S):
        cost = in_child(partial(cost_of, recipe, size))
        if cost is None:
            return sizes, costs, [f"{size} bytes take more than {CPU_LIMIT_S} s"]
        sizes.append(size)
        costs.append(cost)
        size *= 2
    if not _settled(recipe, sizes, costs):
        return sizes, costs, []
    # From one way of working to a dearer one is a step, and no growth: what grows does so further on, too.
    sizes = [size * 4 for size in sizes[-3:]]
    found = [in_child(partial(cost_of, recipe, size)) for size in sizes]
    if None in found:
        return sizes, costs, [f"{sizes[found.index(None)]} bytes take more than {CPU_LIMIT_S} s"]
    costs = [cost for cost in found if cost is not None]
    return sizes, costs, _settled(recipe, sizes, costs)


def _settled(recipe: Recipe, sizes: list[int], costs: list[Cost]) -> list[str]:
    """Return what is wrong, measured again as long as something is; ``costs`` becomes the best of all."""
    for _ in range(TRIES - 1):
        if not faults(sizes, costs):
            break
        again = [in_child(partial(cost_of, recipe, size)) for size in sizes]
        costs[:] = [least(one, other) if other else one for one, other in zip(costs, again, strict=True)]
    return faults(sizes, costs)


def main() -> None:
    seed = int(sys.argv[1])
    warm_up()
    if len(sys.argv) == 2:
        recipe = recipe_of(seed)
        sizes, costs, wrong = tried(recipe)
        print(json.dumps(recipe.told(), indent=2))
        print(*(f"{size:8} bytes: {cost}" for size, cost in zip(sizes, costs, strict=True)), *wrong, sep="\n")
        return
    end, count = time.monotonic() + float(sys.argv[2]), 0
    while time.monotonic() < end:
        recipe = recipe_of(seed + count)
        sizes, costs, wrong = tried(recipe)
        if wrong:
            found = {
                "seed": seed + count,
                "wrong": wrong,
                "recipe": recipe.told(),
                "sizes": sizes,
                "costs": costs,
            }
            print(json.dumps(found), flush=True)
        count += 1
    print(count)


if __name__ == "__main__":
    main()
