"""OpenStack Swift behind its S3 door (``s3api``), one copy of everything.

Four processes: account, container and object server, and the proxy that speaks S3. Unlike the Ceph of
these tests it refuses what doesn't fit its ``x-amz-checksum-*``. It comes from PyPI, into an environment of
its own: ``make test-s3`` makes it. Its data are kept over a kill; the file system must have extended
attributes.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.ports import free_port
from tests.s3.server import MissingTools, S3Server

ROOT = Path(__file__).parents[2]
STORES = ("account", "container", "object")
PROXY_PIPELINE = (
    "catch_errors gatekeeper healthcheck cache listing_formats bulk s3api tempauth copy slo dlo "
    "versioned_writes symlink proxy-server"
)


def swift_programs() -> Path:
    """Return the directory of Swift's programs, TESTS_SWIFT or the one that the Makefile makes."""
    programs = Path(os.environ.get("TESTS_SWIFT") or ROOT / ".venv-swift") / "bin"
    if not (programs / "swift-proxy-server").exists():
        raise MissingTools("not installed: swift (`make test-s3` does it)")
    return programs


class SwiftServer(S3Server):
    kind = "swift"
    doors = ("proxy",)
    has_versions = False

    def __init__(self) -> None:
        self._programs = swift_programs()
        super().__init__()
        # The account and the user in it, as tempauth writes them.
        self.access_key = "test:tester"
        self._ports = {"proxy": self.port, **{kind: free_port() for kind in STORES}}

    async def start(self) -> None:
        if not (self.directory / "object.ring.gz").exists():
            await self._set_up()
        for kind in (*STORES, "proxy"):
            self.spawn(
                kind, self._programs / f"swift-{kind}-server", self.directory / f"{kind}.conf", "--verbose"
            )
        await self.wait_for("proxy", self.answers)

    async def _set_up(self) -> None:
        (self.directory / "devices" / "one").mkdir(parents=True)
        self._write("swift.conf", {"swift-hash": {"swift_hash_path_suffix": "tests"}})
        for kind in STORES:
            sections = {
                "DEFAULT": self._common(kind),
                "pipeline:main": {"pipeline": f"{kind}-server"},
                f"app:{kind}-server": {
                    "use": f"egg:swift#{kind}",
                    "recon_cache_path": str(self.directory),
                    "auto_create_account_prefix": ".",
                },
            }
            self._write(f"{kind}.conf", sections)
        self._write("proxy.conf", self._proxy())
        for kind in STORES:
            builder = self.directory / f"{kind}.builder"
            ring = (self._programs / "swift-ring-builder", builder)
            # 2^4 partitions, 1 copy, no least time between moves.
            await self.run(*ring, "create", "4", "1", "0")
            await self.run(*ring, "add", f"r1z1-127.0.0.1:{self._ports[kind]}/one", "1")
            await self.run(*ring, "rebalance")

    def _common(self, kind: str) -> dict[str, str]:
        return {
            "bind_ip": "127.0.0.1",
            "bind_port": str(self._ports[kind]),
            "workers": "0",
            "user": os.environ.get("USER", "root"),
            "swift_dir": str(self.directory),
            "devices": str(self.directory / "devices"),
            "mount_check": "false",
            "disable_fallocate": "true",
            "fallocate_reserve": "0",
        }

    def _proxy(self) -> dict[str, dict[str, str]]:
        filters = PROXY_PIPELINE.removesuffix(" proxy-server").split()
        sections = {
            "DEFAULT": self._common("proxy"),
            "pipeline:main": {"pipeline": PROXY_PIPELINE},
            "app:proxy-server": {
                "use": "egg:swift#proxy",
                "account_autocreate": "true",
                "allow_account_management": "true",
            },
            **{f"filter:{name}": {"use": f"egg:swift#{name}"} for name in filters},
        }
        sections["filter:cache"]["use"] = "egg:swift#memcache"
        # Nobody listens there: everything works without a cache, only slower.
        sections["filter:cache"]["memcache_servers"] = "127.0.0.1:1"
        sections["filter:s3api"] |= {"location": self.region, "s3_acl": "false"}
        sections["filter:tempauth"]["user_test_tester"] = f"{self.secret_key} .admin"
        sections["filter:versioned_writes"]["allow_object_versioning"] = "true"
        return sections

    def _write(self, name: str, sections: dict[str, dict[str, str]]) -> None:
        lines = []
        for section, values in sections.items():
            lines += [f"[{section}]", *(f"{key} = {value}" for key, value in values.items()), ""]
        (self.directory / name).write_text("\n".join(lines))
