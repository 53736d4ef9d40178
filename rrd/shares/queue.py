"""Those who wait, taken by turns: tenant after tenant, and within a tenant key after key. Pure.

However many one tenant lines up, another's first waits for one turn of each tenant at most.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

_T = TypeVar("_T")


class Who(NamedTuple):
    """Whom something is done for. A name that is empty is not known, and has no share of its own."""

    tenant: str
    key: str = ""
    """Id of the API key or the signing key."""
    address: str = ""
    """The client's address, or its /64 for IPv6 (RFC 6177): what one visitor has."""


class FairQueue(Generic[_T]):
    """Items that wait, each for a tenant and a key."""

    def __init__(self) -> None:
        self._tenants: OrderedDict[str, OrderedDict[str, deque[tuple[Who, _T]]]] = OrderedDict()
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def push(self, who: Who, item: _T) -> None:
        """Put an item behind those of its key."""
        keys = self._tenants.setdefault(who.tenant, OrderedDict())
        keys.setdefault(who.key, deque()).append((who, item))
        self.count += 1

    def pop(self, may: Callable[[Who, _T], bool] = lambda *_: True) -> tuple[Who, _T] | None:
        """Take out the next item in turn that ``may`` be taken; None if there is none.

        Of each key only the first item is looked at.
        """
        for tenant, keys in self._tenants.items():
            for key, items in keys.items():
                if not may(*items[0]):
                    continue
                found = items.popleft()
                keys.move_to_end(key)
                self._tenants.move_to_end(tenant)
                self.count -= 1
                self._tidy(tenant, key)
                return found
        return None

    def remove(self, who: Who, item: _T) -> None:
        """Take an item out that waits no longer."""
        self._tenants[who.tenant][who.key].remove((who, item))
        self.count -= 1
        self._tidy(who.tenant, who.key)

    def drain(self) -> Iterator[_T]:
        """Take all items out."""
        while (found := self.pop()) is not None:
            yield found[1]

    def _tidy(self, tenant: str, key: str) -> None:
        keys = self._tenants[tenant]
        if not keys[key]:
            del keys[key]
        if not keys:
            del self._tenants[tenant]
