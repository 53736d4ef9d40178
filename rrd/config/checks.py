"""What the settings must be as a whole before the daemon starts, and what is odd about them.

``rrd serve`` and ``rrd check-config`` call the same two functions, so that both refuse and warn in the same
words. The bounds of a single setting are in its type (``settings``).
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from rrd import layout
from rrd.ceiling import DECODING_THREADS, MEMORY_MIN_BYTES, changes, machine_bytes, plan
from rrd.config import credentials, entries
from rrd.config.listen import parse_listen
from rrd.config.load import Sources
from rrd.config.settings import Config
from rrd.errors import ConfigError
from rrd.handles import share_out
from rrd.ownership import sandbox_hint


def load_checked(sources: Sources) -> Config:
    """Return settings that a daemon may use. Raises ``ConfigError`` with the key, and where that is set."""
    config = sources.config()
    try:
        check_settings(config)
    except ConfigError as error:
        raise sources.placed(error) from None
    return config


def check_settings(config: Config) -> None:
    """Raise ``ConfigError`` if the settings can't work together, or name what can't be used.

    Changes nothing, makes nothing, and asks nothing of the network but what ``host`` is, if it is a name.
    """
    entries.age_ms("retention_age", config.retention_age)
    entries.ages_of_tenants(config)
    entries.bytes_of_tenants(config)
    for setting in ("quotas_of_tenant", "quotas_of_key"):
        entries.quota_entries(setting, getattr(config, setting))
    if 0 < config.memory_max < MEMORY_MIN_BYTES:
        raise ConfigError(
            f"memory_max: {config.memory_max} is too little. Set at least {MEMORY_MIN_BYTES}, "
            "or 0 for what the machine has"
        )
    _check_host(config)
    parse_listen("metrics_listen", config.metrics_listen)
    _check_names(config)
    _check_directory("data_dir", config.data_dir)
    if config.object_store == "s3":
        check_s3(config)
    elif config.objects_dir:
        _check_directory("objects_dir", config.objects_dir)
        _check_apart(config)


def warnings(config: Config, *, handles_max: int | None) -> Iterator[str]:
    """Yield what is allowed but can hardly be meant.

    ``handles_max`` is how many files and sockets the system lets a process open; None: any number.
    """
    c = config
    order = (
        ("flush_bytes", "recording_buffer_bytes_max", "a recording's buffer is full before a block is due"),
        ("recording_buffer_bytes_max", "buffer_bytes_max", "one recording may not use more than all may"),
        ("message_bytes_max", "buffer_bytes_max", "one message can be larger than all buffers together"),
        ("event_bytes_max", "held_bytes_max", "the largest events can't come in at all"),
        ("flush_bytes", "segment_bytes_max", "each block gets a segment of its own"),
        ("event_bytes_max", "message_bytes_max", "the largest events can come in by POST only"),
        ("event_bytes_max", "body_bytes_max", "events that large can't come in at all"),
        ("sockets_max", "recordings_max", "not every socket can have a recording of its own"),
    )
    for small, large, outcome in order:
        if getattr(c, small) > getattr(c, large):
            yield f"{small} ({getattr(c, small)}) is over {large} ({getattr(c, large)}): {outcome}"
    ceiling = plan(c, machine_bytes=machine_bytes(), threads=DECODING_THREADS)
    if lowered := changes(c, ceiling.config):
        yield (
            f"memory_max ({ceiling.memory_max}) is less than the sum of all limits, so the server lowers "
            + ", ".join(f"{name} to {value}" for name, value in lowered.items())
            + ". Raise memory_max if the machine has more, or set these lower"
        )
    shares = share_out(c, handles_max, in_use=8)
    if shares.sockets_max < c.sockets_max:
        yield (
            f"sockets_max ({c.sockets_max}) and open_segments_max ({c.open_segments_max}) are more than "
            f"the {handles_max} handles that the system allows: about {shares.sockets_max} sockets are left. "
            "Raise LimitNOFILE in the unit or the hard limit (ulimit -Hn), or lower them"
        )
    for network in c.trusted_proxies:
        if ipaddress.ip_network(network).prefixlen == 0:
            yield f"trusted_proxies holds {network}: anyone can forge the address that is taken for theirs"
    listen = parse_listen("metrics_listen", c.metrics_listen)
    if listen is not None and listen.host and not is_loopback(listen.host):
        yield (
            f"metrics_listen is {c.metrics_listen}: all who reach it read the figures, without a key. Use"
            " 127.0.0.1, or see that a firewall lets the scraper alone come there"
        )
    if c.public_url and not c.public_url.startswith(("http://", "https://")):
        yield f"public_url ({c.public_url}) should begin with http:// or https://: links are made from it"
    if c.console is True and not is_loopback(c.host) and not c.public_url.startswith("https://"):
        yield (
            f"console is on, and host is {c.host}: keys and sessions travel in clear, unless a proxy in front"
            " speaks TLS. Then name it in public_url (https://…)"
        )
    if c.console is True and "://" in c.public_url and urlsplit(c.public_url).path.strip("/"):
        yield (
            f"public_url ({c.public_url}) has a path: the console's page and cookie are for /console/ at the"
            " top of a host. Give rrd a host name of its own, or set console = false"
        )


def check_absolute(config: Config, file: str, flags: Mapping[str, object]) -> None:
    """Raise ``ConfigError`` if the service's directories depend on where a command is started."""
    for setting in ("data_dir", "objects_dir"):
        path = getattr(config, setting)
        is_elsewhere = setting in flags or f"RRD_{setting.upper()}" in os.environ
        if path and not os.path.isabs(path) and not is_elsewhere:
            raise ConfigError(
                f"{setting} = {path!r}: with {file} it must be an absolute path like /var/lib/rrd, or the "
                "service and a command started elsewhere use two directories. Set it in that file, or have "
                "the file ignored with RRD_CONFIG= (empty)"
            )


def is_console_on(config: Config, *, person_looks_on: bool) -> bool:
    """Tell whether there is a console. By default there is one where a person tries rrd out."""
    if isinstance(config.console, bool):
        return config.console
    return person_looks_on and is_loopback(config.host)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches a listener of this address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _check_names(config: Config) -> None:
    """Raise ``ConfigError`` for a ``public_url`` that is no URL, or a stage that is at no other origin."""
    public, stage = config.public_url, config.console_stage_origin
    try:
        urlsplit(public).port  # noqa: B018 - It is read for the error that it raises.
    except ValueError:
        raise ConfigError(f"public_url: {public!r} is no URL like https://rrd.example.com") from None
    if not stage:
        return
    origin = _origin_of(stage)
    if origin is None or stage.lower().rstrip("/") != f"{origin[0]}://{urlsplit(stage).netloc.lower()}":
        raise ConfigError(f"console_stage_origin: {stage!r} is not an origin like https://stage.example.com")
    if _origin_of(public) is None:
        raise ConfigError("console_stage_origin: needs public_url, the console's own name. Set both, or none")
    if _origin_of(public) == origin:
        raise ConfigError(
            "console_stage_origin: is that of public_url, so it sets nothing apart. Set another name or "
            'port, or "" for none'
        )


def _origin_of(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of a URL for browsers; None if it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError):
        return None
    is_plain = bool(parts.hostname) and parts.username is None
    return (parts.scheme, str(parts.hostname), port) if is_plain else None


def _check_host(config: Config) -> None:
    """Raise ``ConfigError`` if ``host`` is no address of this machine. The port may be in use."""
    flags = socket.AI_PASSIVE | socket.AI_NUMERICSERV
    try:
        found = socket.getaddrinfo(config.host, 0, type=socket.SOCK_STREAM, flags=flags)
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as trial:
                if family == socket.AF_INET6:
                    trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                trial.bind(address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"host: can't listen on {config.host}: {reason}. "
            "Set it to an address of this machine: 127.0.0.1, 0.0.0.0 or ::"
        ) from None


def _check_apart(config: Config) -> None:
    """Raise ``ConfigError`` if objects would lie among the data directory's own files."""
    data_dir, objects_dir = os.path.realpath(config.data_dir), os.path.realpath(config.objects_dir)
    own = os.path.realpath(layout.objects_dir(config.data_dir))
    is_within = os.path.commonpath((data_dir, objects_dir)) == data_dir
    if is_within and os.path.commonpath((own, objects_dir)) != own:
        raise ConfigError(
            f"objects_dir: {config.objects_dir} is in data_dir, among files of other kinds. Use a directory "
            'elsewhere, or "" for `objects` in data_dir'
        )


def _check_directory(setting: str, path: str) -> None:
    """Raise ``ConfigError`` if ``path`` neither is a directory nor can become one."""
    if not path or "\0" in path:
        raise ConfigError(f"{setting}: {path!r} is not the path of a directory")
    there = os.path.abspath(path)
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise ConfigError(f"{setting}: {path} can't be a directory: {there} is there, and isn't one")


def check_s3(config: Config) -> None:
    """Raise ``ConfigError`` if the ``s3_*`` settings can't lead to a bucket, whatever the network does."""
    if not config.s3_bucket:
        raise ConfigError('s3_bucket: object_store = "s3" needs the name of a bucket that is there already')
    if not config.s3_region:
        raise ConfigError('s3_region: must not be empty; servers that know no regions take "us-east-1"')
    if config.s3_endpoint:
        _check_endpoint(config.s3_endpoint)
    if config.s3_kms_key and config.s3_encryption != "aws:kms":
        raise ConfigError('s3_kms_key: needs s3_encryption = "aws:kms", without which it isn\'t used')
    if any(part in {"", ".", ".."} for part in config.s3_prefix.strip("/").split("/")) and config.s3_prefix:
        raise ConfigError(f"s3_prefix: {config.s3_prefix!r} is not a path like recordings/production")
    for key in ("s3_credentials_file", "s3_ca_file"):
        _check_readable(key, getattr(config, key))


def _check_endpoint(endpoint: str) -> None:
    # Not quoted where it may hold a password.
    try:
        url = urlsplit(endpoint)
        port_is_good = url.port is None or url.port > 0
    except ValueError:
        raise ConfigError("s3_endpoint: not a URL like https://s3.example.net") from None
    if url.username is not None or url.password is not None:
        raise ConfigError("s3_endpoint: credentials belong into s3_credentials_file, not into the URL")
    if url.scheme not in {"http", "https"} or not url.hostname or not port_is_good:
        raise ConfigError(f"s3_endpoint: {endpoint!r} is not a URL like https://s3.example.net")
    if url.query or url.fragment:
        raise ConfigError("s3_endpoint: a URL like https://s3.example.net has no ? and no #")


def _check_readable(key: str, path: str) -> None:
    if path:
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            step = credentials.next_step(path) or sandbox_hint(path, hidden_only=True)
            raise ConfigError(f"{key}: {path} can't be read: {error.strerror}{step}") from None
