"""The address that signs an operator in. Its token stands in the fragment, which no browser ever sends."""

from __future__ import annotations

from rrd.config import Config

_ANY = {"", "0.0.0.0", "::"}  # noqa: S104 - nothing is bound to them here


def sign_in_url(config: Config, port: int, token: str) -> str:
    """Return the address to open: under ``public_url`` if that is set, else on this machine."""
    host = "127.0.0.1" if config.host in _ANY else config.host
    host = f"[{host}]" if ":" in host else host
    base = config.public_url.rstrip("/") or f"http://{host}:{port}"
    return f"{base}/console/#/sign-in/{token}"
