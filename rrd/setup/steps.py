"""The order of a setup: account, settings, data directory, keys, a daemon, an event.

Each step finds what an earlier run has done. Nothing is undone when a step fails: the next run goes on from
there.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
from collections.abc import Callable, Iterator
from typing import NamedTuple

from rrd import layout
from rrd.access.keys import KeyStore
from rrd.config import Config
from rrd.config.checks import check_settings, is_console_on
from rrd.ownership import check_writable, handing_over
from rrd.setup import proxies
from rrd.setup.account import ensure_data_dir, ensure_user
from rrd.setup.first_keys import ensure_keys
from rrd.setup.handout import Installation, handout
from rrd.setup.report import StepReport
from rrd.setup.service import a_daemon, ensure_service, has_service, url_of_daemon
from rrd.setup.settings_file import Value, edit_settings_file, make_settings_file
from rrd.setup.trial import serves_recorder, trial_keys, try_out


class SetupPlan(NamedTuple):
    """What is to be set up."""

    tenant: str
    origins: tuple[str, ...]
    """What the key for pages is bound to, as browsers write it; empty: any."""
    name: str
    """The host name that the world calls this server; empty: none yet."""
    config_file: str
    """The settings; made if it is missing. Empty: none, flags and environment say all."""
    is_service: bool
    """It is the system's service, with a user of its own."""
    flags: tuple[str, ...]
    """What ``rrd serve`` and commands are told so that they find the same settings."""
    load: Callable[[], Config]
    """Reads the settings as they are now. Raises ``ConfigError``."""
    data_dir: str
    """What new settings say; an absolute path."""


def set_up(plan: SetupPlan, report: StepReport) -> None:
    """Do what is missing, and tell of each step. Raises ``RrdError``, ``OSError``."""
    owner = ensure_user(report) if plan.is_service else None
    has_new_settings = _ensure_settings(plan, report)
    config = plan.load()
    check_settings(config)
    url = url_of_daemon(config)
    ensure_data_dir(config.data_dir, owner, report)
    keys_path = layout.keys_path(config.data_dir)
    # Handed over before a daemon starts, which must be able to write all that is there.
    with handing_over(config), KeyStore(keys_path) as store:
        if owner is None:
            check_writable(config)
        keys = ensure_keys(store, tenant=plan.tenant, origins=plan.origins, report=report)
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(KeyStore(keys_path))
        known = stack.enter_context(trial_keys(store, plan.tenant, keys))
        is_run = stack.enter_context(_served(plan, config, url, has_new_settings, report))
        try_out(url, known, keys.origins)
        report.works("an event was stored, read back, and erased again")
        if not serves_recorder(url):
            report.note("/record.js is not a part of this installation: `make assets` before it adds it")
    if not report.has_changed:
        report.page("\nAll of it was there already: nothing has changed.")
    report.page(handout(_place(plan, config, url, is_run=is_run), keys, _proxies(plan, config)))


@contextlib.contextmanager
def _served(
    plan: SetupPlan, config: Config, url: str, has_new_settings: bool, report: StepReport
) -> Iterator[bool]:
    """Have a daemon run while the block does; yields whether it goes on after that."""
    if plan.is_service and has_service(report):
        ensure_service(url, has_new_settings=has_new_settings, report=report)
        yield True
        return
    with a_daemon(config, url, plan.flags, has_new_settings=has_new_settings, report=report) as goes_on:
        yield goes_on


def _ensure_settings(plan: SetupPlan, report: StepReport) -> bool:
    """Make the settings file, and put the name in. Returns whether anything has changed."""
    path = plan.config_file
    if not path:
        return False
    is_new = not os.path.lexists(path)
    if is_new:
        make_settings_file(path, data_dir=plan.data_dir)
        report.done(f"settings {path} made")
    # A service needs an absolute path. One that the operator chose stays.
    wanted: dict[str, Value] = {"data_dir": plan.data_dir} if plan.is_service else {}
    if plan.name:
        # A name means TLS in front, and that is what the console waits for.
        wanted |= {"public_url": f"https://{plan.name}", "console": True}
    edited = edit_settings_file(path, wanted)
    for line in edited.changed:
        report.done(f"settings {path}: {line}")
    for key in edited.kept:
        if key != "data_dir":
            report.note(
                f"settings {path}: {key} is set there, and stays. --name would have it {wanted[key]!r}"
            )
    if not (is_new or edited.changed):
        report.same(f"settings {path}")
    return is_new or bool(edited.changed)


def _proxies(plan: SetupPlan, config: Config) -> dict[proxies.ProxyKind, str]:
    if not plan.name:
        return {}
    # Caddy where there is none: it sees to certificates by itself.
    kinds = proxies.installed_proxies() or ["caddy"]
    return {kind: proxies.without_comments(proxy_for(kind, plan.name, config)) for kind in kinds}


def proxy_for(kind: proxies.ProxyKind, name: str, config: Config) -> str:
    """Return the shipped configuration of a proxy for these settings, and the proxy of this machine."""
    return proxies.proxy_file(
        kind,
        name=name,
        upstream=url_of_daemon(config).removeprefix("http://"),
        knows_delay=kind == "caddy" and proxies.caddy_knows_delay(),
    )


def _place(plan: SetupPlan, config: Config, url: str, *, is_run: bool) -> Installation:
    flags = "".join(f" {shlex.quote(word)}" for word in plan.flags)
    owner = pwd.getpwuid(os.stat(config.data_dir).st_uid).pw_name
    is_other = os.geteuid() == 0 and owner != "root"
    start = f"runuser -u {owner} -- rrd serve{flags}" if is_other else f"rrd serve{flags}"
    return Installation(
        local_url=url,
        public_url=config.public_url.rstrip("/"),
        name=plan.name,
        tenant=plan.tenant,
        start_command="" if is_run else start,
        has_console=is_console_on(config, person_looks_on=not plan.is_service),
        flags="" if plan.is_service else flags,
    )
