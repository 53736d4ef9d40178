"""Bodies taken apart frame by frame, as strictly as the format has it."""

from __future__ import annotations

import zstandard

_DATA_MAGIC = b"\x28\xb5\x2f\xfd"


def frames_of(data: bytes) -> list[bytes]:
    """Decode frame by frame; each must be one of data, whole, with nothing before or behind it."""
    found = []
    while data:
        assert data.startswith(_DATA_MAGIC)
        decoder = zstandard.ZstdDecompressor().decompressobj()
        found.append(decoder.decompress(data))
        assert decoder.eof
        data = decoder.unused_data
    return found
