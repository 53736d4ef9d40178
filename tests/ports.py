"""Ports for servers that are told theirs before they listen."""

from __future__ import annotations

import random
import socket

# Not the shared generator, which Hypothesis seeds: processes side by side would draw the same ports.
_random = random.SystemRandom()

_given: set[int] = set()
"""Never one twice: a server that is told several does not listen on them yet."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free now.

    Below the range that the kernel gives to outgoing connections, so that none of these takes it by chance
    before a server listens, or while it is down. The first thousand are left to Ceph, which takes its own.
    """
    for _ in range(1000):
        port = _random.randrange(21_000, 32_000)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given.add(port)
            return port
    raise RuntimeError("no port is free between 21,000 and 32,000")
