"""moto's S3 server, in memory: for quick tests. It checks neither signatures nor checksums."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.s3.server import S3Server


class MotoServer(S3Server):
    """A kill takes all that it held; ``start`` makes the buckets again, empty."""

    kind = "moto"
    doors = ("moto",)

    def __init__(self) -> None:
        super().__init__()
        self._buckets: dict[str, bool] = {}

    async def start(self) -> None:
        self.spawn("moto", sys.executable, Path(__file__).with_name("moto_app.py"), str(self.port))
        await self.wait_for("moto", self.answers)
        for name, versioned in self._buckets.items():
            await super().make_bucket(name, versioned=versioned)

    async def make_bucket(self, name: str, *, versioned: bool = False) -> None:
        await super().make_bucket(name, versioned=versioned)
        self._buckets[name] = versioned
