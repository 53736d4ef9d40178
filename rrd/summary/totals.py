"""What lists show of a whole recording. Exact for any runs of it, joined in order of arrival."""

from __future__ import annotations

import msgspec

from rrd.summary.activity import ActivityLine, Seconds, add_seconds
from rrd.summary.chains import Clicks, Inputs
from rrd.summary.pieces import URL_CHARS_MAX, Key

URLS_MAX = 50
"""Addresses kept: those that were visited first."""


class Totals(msgspec.Struct, omit_defaults=True, kw_only=True):
    """Counts of a run of events, from ``first_seq`` to before ``limit_seq``."""

    first_seq: int
    limit_seq: int
    clicks: int = 0
    inputs: int = 0
    errors: int = 0
    seconds: Seconds = {}
    is_short: bool = False
    """Seconds with user input are missing."""
    urls: dict[str, Key] = {}
    """Address without query and fragment → where it was met first."""
    urls_cut: bool = False
    """There were more of them."""
    chained_clicks: Clicks = msgspec.field(default_factory=Clicks)
    chained_inputs: Inputs = msgspec.field(default_factory=Inputs)
    line: ActivityLine = msgspec.field(default_factory=ActivityLine)

    def add_url(self, url: str, key: Key) -> None:
        """Take in the address of a Meta event."""
        plain = plain_url(url)
        if plain:
            self._add_urls({plain: key})

    def _add_urls(self, urls: dict[str, Key]) -> None:
        for url, key in urls.items():
            self.urls[url] = min(key, self.urls.get(url, key))
        if len(self.urls) > URLS_MAX:
            self.urls_cut = True
            for url in sorted(self.urls, key=self.urls.__getitem__)[URLS_MAX:]:
                del self.urls[url]

    def join(self, after: Totals) -> None:
        """Take in the totals of the run that arrived after this one, which must not be used any more."""
        assert after.first_seq == self.limit_seq, "runs with others between them don't add up"
        self.limit_seq = after.limit_seq
        self.clicks += after.clicks
        self.errors += after.errors
        self.inputs += after.inputs - (self.chained_inputs.join(after.chained_inputs) is not None)
        self.is_short |= after.is_short
        if not add_seconds(self.seconds, after.seconds):
            self.is_short = True
        self.urls_cut |= after.urls_cut
        self._add_urls(after.urls)
        self.chained_clicks.join(after.chained_clicks)
        self.line.add(after.line.counts, after.line.power)


def plain_url(url: str) -> str:
    """Return an address without query and fragment: these are where tokens and names of people stand."""
    return url[:URL_CHARS_MAX].partition("#")[0].partition("?")[0]


def added_up(before: Totals | None, after: Totals) -> Totals | None:
    """Return the totals of a recording up to the end of ``after``; None where those of earlier events lack.

    ``before`` and ``after`` must not be used any more.
    """
    if before is None or before.limit_seq != after.first_seq:
        return after if after.first_seq == 1 else None
    before.join(after)
    return before
