"""A load generator for any endpoint that speaks the API, with a check that everything acked is there.

It never should be the bottleneck: several processes, plain asyncio protocols, bytes made in advance, timers
for many events at once. It says how busy it was itself, and loudly so if it was the limit. ``python -m
bench.load --help`` tells how to use it, ``run`` is the same for programs.

Open loop: events are sent when they are due, and count from when they were *meant* to be sent, so a stall
counts for every event that it delays. Closed loop: each recording sends as fast as the server takes it.

``plan``        what is asked for, and of whom
``events``      what is sent: a function of seed, recording and number, so that nothing is remembered
``messages``    events → frames and bodies, compressed or not
``schedule``    when each message is due
``senders``     a recording over a connection; ``sockets`` and ``posts`` are the kinds, ``answers`` reads HTTP
``worker``      a load process, ``coordinate`` the run as a whole
``verify``      what was read back, held against what was sent
``outcome``     latencies, counts, findings; ``report`` prints them
"""

from bench.load.coordinate import Phase, run
from bench.load.outcome import Findings, Latencies, Outcome
from bench.load.plan import Plan, Target, WrongUse
from bench.load.worker import raise_file_limit

__all__ = [
    "Findings",
    "Latencies",
    "Outcome",
    "Phase",
    "Plan",
    "Target",
    "WrongUse",
    "raise_file_limit",
    "run",
]
