"""Writes zstd frames of uncompressed blocks, and of blocks that repeat one byte."""

from collections.abc import Iterable

MAGIC = b"\x28\xb5\x2f\xfd"

#: The maximum decompressed size of a block in bytes.
BLOCK = 128 * 1024

_RAW, _REPEATED = 0, 1


def frame(blocks: Iterable[bytes]) -> bytes:
    """Returns a frame of blocks from `raw` and `repeated`. Its window is one block, and it has no content size."""
    *others, last = blocks
    return MAGIC + b"\x00\x38" + b"".join(others) + bytes([last[0] | 1]) + last[1:]


def raw(data: bytes) -> bytes:
    """Returns a block of at most `BLOCK` uncompressed bytes."""
    return _header(_RAW, len(data)) + data


def repeated(byte: bytes, count: int = BLOCK) -> bytes:
    """Returns a block that decompresses to one byte, repeated `count` times."""
    return _header(_REPEATED, count) + byte


def compress(data: bytes) -> bytes:
    """Returns a frame of any bytes, without compression."""
    return frame(raw(data[start : start + BLOCK]) for start in range(0, max(len(data), 1), BLOCK))


def skippable(data: bytes) -> bytes:
    """Returns a frame that readers skip."""
    return b"\x50\x2a\x4d\x18" + len(data).to_bytes(4, "little") + data


def _header(kind: int, size: int) -> bytes:
    assert size <= BLOCK
    return (size << 3 | kind << 1).to_bytes(3, "little")
