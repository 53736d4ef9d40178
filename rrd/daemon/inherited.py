"""Listening sockets that systemd opened and passes on (sd_listen_fds(3)).

systemd keeps its own handle of each. So while one daemon stops and the next starts, clients that connect
wait in the kernel's queue, and none is refused. The environment names the sockets:

- ``LISTEN_PID``: for which process they are. Another one's are not ours: a child may inherit the variables.
- ``LISTEN_FDS``: how many there are; the first has the descriptor 3.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
from collections.abc import MutableMapping, Sequence

import msgspec

from rrd.config import Config
from rrd.errors import ConfigError
from rrd.log import emit

logger = logging.getLogger(__name__)

_FIRST = 3
"""SD_LISTEN_FDS_START."""

_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def take_passed(environment: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """Return the sockets that were passed to this process; none where there are none.

    The variables are removed, so that a second call or a child doesn't take the sockets again. Raises
    ``ConfigError`` for one on which HTTP can't be served.
    """
    pid, count, _ = (environment.pop(name, "") for name in _VARIABLES)
    if pid != str(os.getpid()):
        return []
    if not count.isdecimal():
        raise ConfigError(f"LISTEN_FDS is {count!r}, and should be the number of sockets. See rrd.socket")
    return [_checked(descriptor) for descriptor in range(_FIRST, _FIRST + int(count))]


def _checked(descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        passed = socket.socket(fileno=descriptor)
        is_listening = passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ConfigError(
            f"file descriptor {descriptor}, which was passed as a socket, is none: {error.strerror}. {_NEXT}"
        ) from None
    if (
        passed.family not in {socket.AF_INET, socket.AF_INET6}
        or passed.type != socket.SOCK_STREAM
        or not is_listening
    ):
        raise ConfigError(f"the socket passed as file descriptor {descriptor} doesn't listen on TCP. {_NEXT}")
    return passed


_NEXT = "Next: give rrd.socket a ListenStream= of the form ADDRESS:PORT, and no Accept=yes"


def settings_of(config: Config, passed: Sequence[socket.socket]) -> Config:
    """Return the settings with host and port of the first passed socket, where there is one.

    Logs a warning if none of the sockets is where the settings say: what reads them would look elsewhere.
    """
    if not passed:
        return config
    places = [each.getsockname()[:2] for each in passed]
    if config.port and not any(_is_at(config, host, port) for host, port in places):
        told = ", ".join(f"{host}:{port}" for host, port in places)
        emit(
            logger, logging.WARNING, "socket_elsewhere", listens=told, host=config.host, port=config.port,
            next_step="rrd.socket counts; write the same address into the settings, which commands read",
        )  # fmt: skip
    host, port = places[0]
    return msgspec.structs.replace(config, host=host, port=port)


def _is_at(config: Config, host: str, port: int) -> bool:
    if port != config.port:
        return False
    if config.host.lower() == "localhost":
        return ipaddress.ip_address(host).is_loopback
    try:
        return ipaddress.ip_address(config.host) == ipaddress.ip_address(host)
    except ValueError:
        return True  # A name, which may stand for this address.
