"""What is asked of a load: where it goes, how much, in which form."""

from __future__ import annotations

import dataclasses
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from bench.daemon import Daemon

Encoding = Literal["identity", "gzip", "br", "zstd"]
Deflate = Literal["off", "takeover", "no-takeover"]

RECORDINGS_MAX = 1_000_000
EVENTS_MAX = 1_000_000_000
"""Of one recording: its timestamps would run out of digits."""


class WrongUse(Exception):
    """What is asked for makes no sense, or can't be had; the message is for the person who asked."""


@dataclasses.dataclass(frozen=True)
class Target:
    """An installation. Its keys are in no ``repr``."""

    url: str
    """``http://HOST:PORT`` or ``https://…``, with the path that the API is below, if any."""
    key: str = dataclasses.field(repr=False)
    """A key that may write."""
    read_key: str = dataclasses.field(default="", repr=False)
    """A key that may read, if ``key`` may not."""
    origin: str = ""
    """Sent as ``Origin``, for keys that are bound to one."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        try:
            is_good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_good = False
        if not is_good or parts.query or parts.fragment or parts.username:
            raise WrongUse(f"{self.url!r} is no URL of a server, like http://127.0.0.1:8787")

    @classmethod
    def of(cls, daemon: Daemon) -> Target:
        """Return the target that a daemon of ours is."""
        return cls(f"http://{daemon.host}:{daemon.port}", daemon.key)

    @property
    def is_tls(self) -> bool:
        return urlsplit(self.url).scheme == "https"

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or (443 if self.is_tls else 80)

    @property
    def authority(self) -> str:
        """What ``Host`` says."""
        return urlsplit(self.url).netloc

    @property
    def path(self) -> str:
        """What every path begins with; empty, or without a slash at its end."""
        return urlsplit(self.url).path.rstrip("/")

    def without_keys(self, text: str) -> str:
        """Return ``text`` with the keys struck out: an answer may quote the address it was asked for."""
        for key in filter(None, (self.key, self.read_key)):
            text = text.replace(key, "…")
        return text


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much is sent, and how. ``check`` tells what doesn't go together."""

    recordings: int = 100
    """Each has a connection of its own."""
    for_s: float = 10.0
    """How long each recording sends."""
    rate: float = 1.0
    """Events a second in each recording. Open loop: they are due, whatever the server does."""
    is_closed: bool = False
    """Closed loop: each recording sends as fast as the server takes it; ``rate`` means nothing."""
    window: int = 0
    """Messages or bodies that may be under way without an ack. 0: messages as the connection takes them, and
    one body."""
    ramp_s: float = 0.0
    """Recordings are opened, and later begin to send, spread over this time."""
    idle_s: float = 0.0
    """How long everything is open and silent before the first event."""
    batch: int = 1
    """Events in a message or body."""
    thinks: bool = False
    """Bursts as visitors make them, with the corpus's own gaps, and pauses between; ``rate`` is the mean."""

    is_post: bool = False
    """HTTP POST over connections that are kept alive; otherwise WebSockets."""
    is_binary: bool = False
    """Binary messages; they also are with an ``encoding``."""
    encoding: Encoding = "identity"
    """Of binary messages or bodies."""
    stream: Literal["each", "one"] = "each"
    """A compressed stream for each message, or one over the socket, flushed where a message ends."""
    deflate: Deflate = "off"
    """permessage-deflate: with windows that go on from message to message, as browsers do, or without."""

    events: Literal["small", "all"] = "small"
    """Of the corpus: those below 1,000 bytes, or all."""
    seed: int = 0
    """Chooses which events each recording gets, and its bursts."""
    verify: bool = True
    """Read everything back in the end."""

    processes: int = 0
    """Load processes; 0: one for each core that they may use."""
    cpus: frozenset[int] | None = None
    """Cores that they are kept on; None: any."""

    @property
    def is_compressed(self) -> bool:
        return self.encoding != "identity"

    @property
    def events_each(self) -> int:
        """How many events each recording gets in an open loop."""
        return max(1, round(self.rate * self.for_s))

    def check(self) -> None:
        """Raise ``WrongUse`` if this can't be done."""
        if not 1 <= self.recordings <= RECORDINGS_MAX:
            raise WrongUse(f"there can be 1 to {RECORDINGS_MAX:,} recordings")
        if self.batch < 1 or self.window < 0 or self.processes < 0:
            raise WrongUse("a batch, a window and a number of processes are no less than 1")
        # Said in this way, what is no number is refused, too.
        if not (0 < self.for_s < 1e7 and 0 <= self.ramp_s < 1e7 and 0 <= self.idle_s < 1e7):
            raise WrongUse("times are in seconds, and not below zero")
        if not (self.is_closed or 0 < self.rate <= 1e6) or self.rate * self.for_s > EVENTS_MAX:
            raise WrongUse(f"a rate is above zero, and makes at most {EVENTS_MAX:,} events in a recording")
        if self.is_closed and self.thinks:
            raise WrongUse("who sends as fast as possible doesn't think: --think goes with --rate only")
        if self.is_post and (self.deflate != "off" or self.stream == "one"):
            raise WrongUse(
                "permessage-deflate and one stream over all messages are for WebSockets, not for POST"
            )
        if self.stream == "one" and not self.is_compressed:
            raise WrongUse("one stream over all messages needs an encoding")
        if self.deflate != "off" and self.is_compressed:
            raise WrongUse("nobody compresses twice: an encoding or permessage-deflate")
        if self.window and not (self.is_closed or self.is_post):
            raise WrongUse("an open loop sends what is due: a window is for --closed or --post")
        if self.cpus is not None and not self.cpus:
            raise WrongUse("no core is left to run on")
