"""What hurts a daemon, the worst first, each with what to do: decided from facts alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from rrd.access.notices import Notice
from rrd.config.changes import ReloadState
from rrd.http.health import Readiness

Level = Literal["bad", "warning", "note"]
"""``bad``: events are refused or lost. ``warning``: they will be, or a person has to decide something.
``note``: good to know."""

_ORDER: tuple[Level, ...] = ("bad", "warning", "note")

_LATELY_MS = 300_000
"""How long a refusal is told as one of now."""

_EXPIRES_SOON_DAYS = 3
"""From how many days on a key that expires is no mere note any more."""

_HOUR_MS = 3_600_000
_NEARLY_FULL = 0.9
_EXPIRING_MAX = 10

LIMITS = {
    "sockets": ("places for sockets", "sockets_max"),
    "requests": ("places for requests", "requests_max"),
    "connections": ("places for connections", "LimitNOFILE in the unit, then sockets_max"),
    "watchers": ("places for watchers", "watchers_max"),
    "recordings": ("places for open recordings", "recordings_max"),
    "held": ("bytes for what senders are sending", "held_bytes_max"),
    "buffer": ("bytes for what waits to be stored", "buffer_bytes_max, or get a faster disk,"),
    "read": ("bytes for answers", "read_bytes_max"),
}
"""Place or budget → what it is, and its setting. Not there: what may always be full, such as a cache."""

_OF_A_STOP = frozenset({"not_ready", "shutting_down"})
"""Codes of refusals that each restart brings. The browser's client sends again what they refuse."""

DAMAGE = frozenset(
    {
        *("segment_corrupt", "block_corrupt", "object_corrupt", "object_damaged", "segment_damaged"),
        *("segment_missing", "segment_not_resumed", "recording_damaged", "recording_incomplete"),
    }
)
"""Names of log lines that tell of events which can't be read any more."""


class Ailment(NamedTuple):
    """One thing that hurts."""

    code: str
    """A constant word, for scripts."""
    level: Level
    text: str
    """What is so, for people."""
    next_step: str
    """What to do about it."""


class RefusalCount(msgspec.Struct, frozen=True):
    """What senders were refused for one reason, since the data directory was made."""

    code: str
    status: int
    count: int
    last_ms: int


class StoreState(NamedTuple):
    """The object store, and what became of the last question to it."""

    name: str
    error: str = ""
    """Why it gave no answer; empty if it gave one."""


class Filled(msgspec.Struct, frozen=True):
    """How much of something bounded is used."""

    used: float
    limit: float


class Facts(NamedTuple):
    """What is known of a daemon at one moment."""

    readiness: Readiness
    at_ms: int
    now: Mapping[str, float]
    """Figures of now, named as ``/status`` names them; 0 for what is not known."""
    places: Mapping[str, Filled]
    budgets: Mapping[str, Filled]
    hour: Mapping[str, int]
    """Sums of the last hour."""
    store: StoreState
    late_s: float
    """From when on a segment that waits for the roll-up has waited too long."""
    refusals: Sequence[RefusalCount] = ()
    held: Sequence[str] = ()
    expiring: Sequence[Notice] = ()
    """Keys that expire soon."""
    reload: ReloadState = ReloadState()
    logged: Mapping[str, int] = {}
    """How often each log line was written since the start, by its name."""


def troubles(facts: Facts) -> list[Ailment]:
    """Return what hurts, the worst first."""
    found = [
        *_of_readiness(facts.readiness), *_of_room(facts), *_of_refusals(facts), *_of_data(facts),
        *_of_keys(facts.expiring), *_of_settings(facts.reload), *_of_the_hour(facts.hour),
    ]  # fmt: skip
    return sorted(found, key=lambda trouble: _ORDER.index(trouble.level))


def worst(found: Sequence[Ailment]) -> Literal["well", "note", "warning", "bad"]:
    """Return how bad it is as a whole."""
    return min((trouble.level for trouble in found), key=_ORDER.index, default="well")


def _of_readiness(readiness: Readiness) -> Iterator[Ailment]:
    state, reason = readiness
    if state == "starting":
        yield Ailment(
            "starting", "bad", f"events wait, or are refused, until the start is done: {reason}",
            "wait; the log says what it does meanwhile. Where it waits for the object store, see why that is"
            " away",
        )  # fmt: skip
    elif state == "stopping":
        yield Ailment(
            "stopping", "bad", "it stops, and takes nothing new", "wait; it finishes what is under way"
        )
    elif state == "not_ready":
        yield Ailment(
            "not_ready", "bad", f"events are not stored: {reason}",
            "ready again by itself once writes succeed; the log says not_ready with the error",
        )  # fmt: skip


def _of_room(facts: Facts) -> Iterator[Ailment]:
    now = facts.now
    free, reserve = now["disk_free_bytes"], now["disk_reserve_bytes"]
    if free < reserve:
        yield Ailment(
            "disk_full", "bad", "the disk's reserve is reached: new events get 507",
            "add disk, or have retention remove more (rrd retention); erasing makes room, too",
        )  # fmt: skip
    elif free < 2 * reserve:
        yield Ailment(
            "disk_low", "warning", "less than twice the disk's reserve is free",
            "add disk, or have retention remove more, before disk_reserve_bytes is reached",
        )  # fmt: skip
    memory = facts.budgets.get("memory")
    if memory is not None and memory.used > memory.limit:
        yield Ailment(
            "memory_high", "warning", "the process has more memory than memory_max",
            "raise memory_max if the machine has more; else restart rrd when traffic is low",
        )  # fmt: skip
    for name, share in (*facts.places.items(), *facts.budgets.items()):
        if name in LIMITS and share.used >= _NEARLY_FULL * share.limit:
            what, setting = LIMITS[name]
            yield Ailment(
                f"{name}_nearly_full", "warning",
                f"{share.used / share.limit:.0%} of the {what} are in use ({share.limit:,.0f})",
                f"raise {setting} if this is no attack: beyond it, what is new waits or is refused",
            )  # fmt: skip


def _of_refusals(facts: Facts) -> Iterator[Ailment]:
    lately = [row for row in facts.refusals if facts.at_ms - row.last_ms < _LATELY_MS]
    ours = [row for row in lately if row.status >= 500 and row.code not in _OF_A_STOP]
    if ours:
        yield Ailment(
            "refusing", "bad", f"events of the last 5 minutes were refused: {_codes(ours)}",
            "see the log for the first line with each code; docs/limits.md says what each limit does",
        )  # fmt: skip
    in_hour = [row for row in facts.refusals if facts.at_ms - row.last_ms < _HOUR_MS and row.status < 500]
    if over := [row for row in in_hour if row.status == 429]:
        yield Ailment(
            "over_quota", "warning", f"senders went over a quota in the last hour: {_codes(over)}",
            "rrd doctor tells whose; raise the quota that the code names if they are welcome",
        )  # fmt: skip
    if wrong := [row for row in in_hour if row.status != 429]:
        yield Ailment(
            "refused", "note", f"senders made mistakes in the last hour: {_codes(wrong)}",
            "nothing, if no page of yours sends so; rrd doctor tells which recordings it was",
        )  # fmt: skip


def _of_data(facts: Facts) -> Iterator[Ailment]:
    now, logged = facts.now, facts.logged
    damaged = {name: logged[name] for name in sorted(DAMAGE) if logged.get(name)}
    if damaged:
        yield Ailment(
            "damage_found", "bad",
            "stored events can't be read: the log says " + ", ".join(f"{n} {c}×" for n, c in damaged.items()),
            "rrd verify tells what is lost, and rrd verify --mend what can be saved; a restart afterwards"
            " clears this",
        )  # fmt: skip
    if logged.get("index_damaged"):
        yield Ailment(
            "index_rebuilt", "warning", "the index was damaged, and was made anew from the files",
            "rrd verify shows whether all is there; see whether the disk or the memory fails (dmesg)",
        )  # fmt: skip
    if (why := facts.store.error) or now["store_away"]:
        yield Ailment(
            "store_away", "warning", f"the object store gives no answer: {why or 'see the log'}",
            f"see whether {facts.store.name} can be reached; events are taken, and wait on this disk",
        )  # fmt: skip
    if now["backlog_age_s"] > facts.late_s:
        yield Ailment(
            "backlog_late", "warning",
            f"segments wait for the roll-up since {now['backlog_age_s'] / 3600:.1f} hours",
            "see the log for not_rolled_up, rollup_failed and object_store_away",
        )  # fmt: skip
    if now["set_aside_recordings"]:
        yield Ailment(
            "not_rolled_up", "warning",
            f"{now['set_aside_recordings']:.0f} recordings could not be rolled up, and stay here, readable",
            "the log says why (not_rolled_up); rrd verify tells what is damaged",
        )  # fmt: skip
    for sentence in facts.held:
        yield Ailment(
            "retention_held", "warning", sentence,
            "rrd retention shows what would go; rrd retention --confirm if that is right",
        )  # fmt: skip


def _of_keys(expiring: Sequence[Notice]) -> Iterator[Ailment]:
    levels: list[Level] = ["note" if each.days >= _EXPIRES_SOON_DAYS else "warning" for each in expiring]
    for notice, level in [*zip(expiring, levels, strict=True)][:_EXPIRING_MAX]:
        yield Ailment("key_expires_soon", level, notice.sentence(), notice.next_step)
    if others := levels[_EXPIRING_MAX:]:
        level = "warning" if "warning" in others else "note"
        yield Ailment(
            "key_expires_soon", level, f"{len(others):,} more keys expire soon", "rrd keys list shows when"
        )


def _of_settings(reload: ReloadState) -> Iterator[Ailment]:
    if reload.error:
        yield Ailment(
            "reload_refused", "warning", f"the changed settings were refused: {reload.error}",
            "correct them (rrd check-config), then reload once more; the settings of before are in effect",
        )  # fmt: skip
    if reload.waiting:
        yield Ailment(
            "restart_needed", "note", f"changed settings wait for a restart: {', '.join(reload.waiting)}",
            "restart rrd when it suits: systemctl restart rrd",
        )  # fmt: skip


def _of_the_hour(hour: Mapping[str, int]) -> Iterator[Ailment]:
    if errors := hour["errors"]:
        yield Ailment(
            "errors_logged", "warning", f"the log of the last hour has {errors:,} errors",
            "journalctl -u rrd -p err --since -1h; docs/logs.md says what each line means",
        )  # fmt: skip
    if lines := hour["quarantined"]:
        yield Ailment(
            "quarantined", "note", f"{lines:,} lines of the last hour are no events, and were kept aside",
            "rrd quarantine shows them",
        )  # fmt: skip


def _codes(rows: Sequence[RefusalCount]) -> str:
    latest = sorted(rows, key=lambda row: row.last_ms, reverse=True)
    return ", ".join(f"{row.code} ({row.status})" for row in latest)
