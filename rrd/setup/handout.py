"""What a person needs next: the snippet for pages, curl lines, the console, the proxy. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rrd.setup.first_keys import FirstKeys
from rrd.setup.proxies import ProxyKind

_RECORDING = "00000000-0000-4000-8000-000000000001"
_EVENT = '{"type":5,"timestamp":1700000000000,"data":{"tag":"hello","payload":{}}}'
_TITLES: dict[ProxyKind, str] = {"nginx": "nginx", "caddy": "Caddy"}
_TARGETS: dict[ProxyKind, tuple[str, str]] = {
    "nginx": ("/etc/nginx/conf.d/rrd.conf", "nginx -t && systemctl reload nginx"),
    "caddy": ("/etc/caddy/Caddyfile", "systemctl reload caddy"),
}


class Installation(NamedTuple):
    """What the hand-out tells of the installation."""

    local_url: str
    """Where rrd is reached on this machine."""
    public_url: str
    """What the world calls it; empty if it has no name yet."""
    name: str
    """The host name that was given; empty if none was."""
    tenant: str
    start_command: str
    """How to run rrd; empty where it runs."""
    has_console: bool
    flags: str
    """What commands have to be told to find the data; empty where they find it by themselves."""


def handout(place: Installation, keys: FirstKeys, proxies: Mapping[ProxyKind, str]) -> str:
    """Return the page that ends a setup."""
    parts = [
        *([f"Run it:\n\n  {place.start_command}\n"] if place.start_command else []),
        _snippet(place, keys),
        _curl(place, keys),
        _console(place),
        *(_proxy(place, kind, text) for kind, text in proxies.items()),
        _next(place),
    ]
    return "\n" + "\n".join(parts)


def _snippet(place: Installation, keys: FirstKeys) -> str:
    where = f", on pages of {' '.join(keys.origins)}" if keys.origins else ""
    return f"""Into the <head> of each page that is to be recorded{where}:

  <script src="{place.public_url or place.local_url}/record.js" autostart async>
    {{
      "publicApiKey": "{keys.public or "public_key_rr_..."}",
      "checkoutEveryNms": 300000
    }}
  </script>
"""


def _curl(place: Installation, keys: FirstKeys) -> str:
    url = f"{place.local_url}/recordings/{_RECORDING}"
    origin = f" -H 'Origin: {keys.origins[0]}'" if keys.origins else ""
    return f"""Send an event by hand, read it back, list recordings:

  curl -H 'Authorization: Bearer {keys.public or "public_key_rr_..."}'{origin} \\
    -H 'Content-Type: application/json' -d '{_EVENT}' {url}/ingest
  curl -H 'Authorization: Bearer {keys.private or "secret_key_rr_..."}' {url}/events
  curl -H 'Authorization: Bearer {keys.private or "secret_key_rr_..."}' {place.local_url}/recordings
"""


def _console(place: Installation) -> str:
    if not place.has_console:
        return (
            "The console is off: `console = true` in the settings and a restart open it, or "
            "`rrd setup --name NAME`.\n"
        )
    return f"""The console, where people watch recordings:

  {place.public_url or place.local_url}/console/
  rrd console{place.flags}     # prints an address that signs in, once
"""


def _proxy(place: Installation, kind: ProxyKind, text: str) -> str:
    target, reload = _TARGETS[kind]
    indented = "".join(f"  {line}\n" if line.strip() else "\n" for line in text.splitlines())
    # nginx as it is installed serves that directory; with absent certificates it refuses to start.
    certbot = f"  certbot certonly --webroot -w /var/www/html -d {place.name}\n"
    # Other sites may stand in the one file that Caddy has.
    kept = (
        f"  # This replaces {target}: where it has other sites, put the blocks beside them by hand instead.\n"
        f"  cp -p --backup=numbered {target} {target}.before-rrd\n"
    )
    before = certbot if kind == "nginx" else kept
    return f"""{_TITLES[kind]} in front, for TLS:

{before}  rrd setup{place.flags} --proxy {kind} --name {place.name} > {target}
  {reload}

The file, which `rrd setup --proxy` prints with its reasons:

{indented}"""


def _next(place: Installation) -> str:
    steps = [] if place.name or place.public_url else [
        "rrd setup --name rrd.example.com    # the name that the world calls this server, with TLS in front",
    ]  # fmt: skip
    steps += [
        f"rrd status{place.flags}            # what runs, and what hurts",
        f"rrd check-config{place.flags}      # what is in effect",
        f"rrd keys list{place.flags}         # who may do what; a key more for each site: rrd keys create",
        f"rrd backup DIR{place.flags}        # while it runs",
    ]
    return "Next:\n\n" + "".join(f"  {step}\n" for step in steps)
