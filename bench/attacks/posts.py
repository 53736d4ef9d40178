"""Bodies: dear to decode, left open, or with large windows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bench.attacks.link import JSON, NDJSON, Attack, Victim, at_once, link, post_head
from bench.attacks.texts import (
    GIB,
    KIB,
    MIB,
    brackets,
    brotli_of,
    brotli_window,
    event_of,
    gzip_of,
    gzip_run_together,
    gzip_unfinished,
    run_together,
    zstd_of,
    zstd_window,
)

OPEN_BODIES = 1500
WINDOWS = 200
_SIZE = 1 << 30
"""What a body that never ends says of its length."""


def _whole(
    make: Callable[[], bytes], *, encoding: str = "", kind: str = NDJSON
) -> Callable[[Victim], Awaitable[None]]:
    """POST a body again and again, three at a time."""

    async def run(victim: Victim) -> None:
        body = make()

        async def once() -> None:
            async with link(victim) as connection:
                await connection.send(post_head(victim, len(body), encoding=encoding, kind=kind) + body)
                await connection.status()

        await at_once(3, once)

    return run


def _left_open(
    make: Callable[[], bytes], *, count: int, encoding: str = "", kind: str = NDJSON
) -> Callable[[Victim], Awaitable[None]]:
    """Begin ``count`` bodies, send what there is, and leave them open."""

    async def run(victim: Victim) -> None:
        body = make()

        async def once() -> None:
            async with link(victim) as connection:
                await connection.send(post_head(victim, _SIZE, encoding=encoding, kind=kind) + body)
                await connection.gone()

        await at_once(count, once, pause_s=1.0)

    return run


POSTS = {
    "post-zstd-blank": Attack(
        "64 MiB of blank lines in 2 KB of zstd", _whole(lambda: zstd_of(b"\n", 64 * MIB), encoding="zstd")
    ),
    "post-zstd-blank-gib": Attack(
        "1 GiB of blank lines in 33 KB of zstd", _whole(lambda: zstd_of(b"\n", GIB), encoding="zstd")
    ),
    "post-gzip-blank": Attack(
        "64 MiB of blank lines in 64 KB of gzip", _whole(lambda: gzip_of(b"\n", 64 * MIB), encoding="gzip")
    ),
    "post-br-blank": Attack(
        "64 MiB of blank lines in brotli", _whole(lambda: brotli_of(b"\n", 64 * MIB), encoding="br")
    ),
    "post-brackets": Attack(
        "56 KB of objects that never close, as JSON", _whole(lambda: brackets(8000), kind=JSON)
    ),
    "post-run-together": Attack("1 MB of values on one line", _whole(lambda: run_together(MIB))),
    "post-gzip-run-together": Attack(
        "20 MiB of values on one line in 20 KB of gzip",
        _whole(lambda: gzip_run_together(20 * MIB), encoding="gzip"),
    ),
    "post-left-open": Attack(
        "1,500 bodies just below 1 MiB, left open",
        _left_open(lambda: event_of(MIB)[: MIB - 4096], count=OPEN_BODIES),
    ),
    "post-brotli-windows": Attack(
        "200 brotli streams with windows of 16 MiB, left open",
        _left_open(brotli_window, count=WINDOWS, encoding="br"),
    ),
    "post-zstd-windows": Attack(
        "200 zstd frames with windows of 8 MiB, left open",
        _left_open(zstd_window, count=WINDOWS, encoding="zstd"),
    ),
    "post-fills-the-budget": Attack(
        "5 bodies of 65 KB that decode to an unfinished event of 64 MiB",
        _left_open(lambda: gzip_unfinished(64 * MIB - 64 * KIB), count=5, encoding="gzip"),
    ),
}
