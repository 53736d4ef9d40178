"""Close our side of a connection while the client's stays open."""

import asyncio
import contextlib

__all__ = ["half_close"]


def half_close(transport: asyncio.Transport | None) -> None:
    """Send the end of our side after what was written before; the client can go on sending (RFC 9293, 3.6).

    A connection that is closing or that the client has reset is left as it is: reading tells its end, and
    nothing that was read before may be lost because it can't be answered.
    """
    if transport is None or transport.is_closing():
        return
    # asyncio's transports raise what shutdown(2) says about a connection that has been reset.
    with contextlib.suppress(OSError, RuntimeError):
        transport.write_eof()
