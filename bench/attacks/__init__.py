"""Attacks on a daemon: what one sender or reader can do to others, each kind as a coroutine.

A key that may write stands in the source of every page that records, so that anyone may send what is here.
Each attack goes on until it is cancelled, and connects again when it is refused. ``python -m bench.attacks``
lists them and carries one out; against an installation of your own only.

``texts``     small streams that decode to a lot, and lines that are dear to read
``link``      connections, as raw as an attacker has them
``posts`` ``sockets`` ``readers`` ``floods``   the kinds
``neighbour`` an honest sender beside them: what happens to its acks
"""

from bench.attacks.floods import FLOODS
from bench.attacks.link import Attack, Victim
from bench.attacks.posts import POSTS
from bench.attacks.readers import READERS
from bench.attacks.sockets import SOCKETS

ATTACKS: dict[str, Attack] = POSTS | SOCKETS | READERS | FLOODS

__all__ = ["ATTACKS", "Attack", "Victim"]
