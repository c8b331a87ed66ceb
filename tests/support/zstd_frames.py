"""Just enough of the zstd format to write frames: blocks as they are, and blocks of one repeated byte."""

from collections.abc import Iterable

MAGIC = b"\x28\xb5\x2f\xfd"

#: The most bytes that a block may stand for.
BLOCK = 128 * 1024

_RAW, _REPEATED = 0, 1


def frame(blocks: Iterable[bytes]) -> bytes:
    """A frame of blocks that `raw` and `repeated` made; its window is one block, its size is not told."""
    *others, last = blocks
    return MAGIC + b"\x00\x38" + b"".join(others) + bytes([last[0] | 1]) + last[1:]


def raw(data: bytes) -> bytes:
    """A block that holds at most `BLOCK` bytes as they are."""
    return _header(_RAW, len(data)) + data


def repeated(byte: bytes, count: int = BLOCK) -> bytes:
    """A block that stands for one byte, `count` times."""
    return _header(_REPEATED, count) + byte


def compress(data: bytes) -> bytes:
    """A frame of any bytes, no shorter than they are."""
    return frame(raw(data[start : start + BLOCK]) for start in range(0, max(len(data), 1), BLOCK))


def skippable(data: bytes) -> bytes:
    """A frame that a reader passes over."""
    return b"\x50\x2a\x4d\x18" + len(data).to_bytes(4, "little") + data


def _header(kind: int, size: int) -> bytes:
    assert size <= BLOCK
    return (size << 3 | kind << 1).to_bytes(3, "little")
