"""Ports for servers that are told theirs before they listen."""

from __future__ import annotations

import random
import socket

# Not the shared generator, which Hypothesis seeds: processes side by side would draw the same ports.
_random = random.SystemRandom()


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free now.

    Below the range that the kernel gives to outgoing connections, so that none of these takes it by chance
    before a server listens, or while it is down.
    """
    for _ in range(1000):
        port = _random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free between 20,000 and 32,000")
