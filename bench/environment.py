"""What this machine is, as far as figures depend on it, and what is missing on it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from bench.document import Environment

ROOT = Path(__file__).resolve().parent.parent

_LIBRARIES = ("rrd", "aiohttp", "uvloop", "msgspec", "zstandard", "isal", "brotli")
_NOISE = re.compile(r"\((?:R|TM|C)\)|@.*|\b(?:CPU|Processor|\d+-Core)\b", re.IGNORECASE)
_MACHINE_WORDS_MAX = 4


def environment() -> Environment:
    """Look around. Nothing here tells whose machine it is."""
    cores, cpu = len(os.sched_getaffinity(0)), cpu_model()
    revision = _git("rev-parse", "HEAD")
    return Environment(
        machine=machine_name(cores, cpu),
        cores=cores,
        cpu=cpu,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        versions={name: version for name in _LIBRARIES if (version := _version(name))},
        revision=revision or None,
        # Without the lock on its index, which somebody who works in the tree may need.
        is_dirty=bool(revision and _git("--no-optional-locks", "status", "--porcelain")),
    )


def machine_name(cores: int, cpu: str) -> str:
    """Make a description of letters, digits, dots and dashes: ``2-core-AMD-EPYC``."""
    words = re.findall(r"[A-Za-z0-9.]+", _NOISE.sub(" ", cpu))[:_MACHINE_WORDS_MAX]
    return "-".join([f"{cores}-core", *(words or ["machine"])])


def cpu_model() -> str:
    """Return the processor's name for itself, or its architecture where the kernel doesn't tell."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def missing() -> list[str]:
    """Return a sentence for each optional thing that isn't there, with the way to get it."""
    sentences = []
    if not (shutil.which("nginx") or os.access("/usr/sbin/nginx", os.X_OK)):
        sentences.append("nginx is missing, so there is no floor of files and bodies: apt-get install nginx")
    if not shutil.which("node"):
        sentences.append("Node is missing, so there is no peer in Node: apt-get install nodejs npm")
    elif not (ROOT / "bench/peers/node_peer/node_modules").is_dir():
        sentences.append("The peer in Node is not installed: python -m bench.peers install")
    if not (ROOT / ".venv-peers").is_dir():
        sentences.append("The peer in Python is not installed: python -m bench.peers install")
    if len(os.sched_getaffinity(0)) < 2:
        sentences.append("There is one core only, so servers and load share it: ratios mean little")
    return sentences


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _git(*arguments: str) -> str:
    """Return what git says, nothing if there is no git or no clone."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
