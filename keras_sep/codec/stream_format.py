"""The bytes of compressed images: what stands before the codes, and how it is checked.

All integers are little-endian:

    4  magic, b"KSVQ"
    1  version of the format
    1  backend: 0 TensorFlow, 1 JAX, 2 PyTorch
    1  levels of codes
    1  flags: 1 if it is one image without a batch axis, 2 if there are labels
    8  fingerprint of model and priors
    4  images
    4  height of the images
    4  width of the images
    4  CRC-32 of the codes, int32, from top to bottom
    4  bytes of the payload
    4  for each level: rows and columns of its grid, 2 bytes each
    4  for each image, if there are labels: its label
       payload
    4  CRC-32 of all the above
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

MAGIC, VERSION = b"KSVQ", 1
BACKENDS = ("tensorflow", "jax", "torch")
# What the fields hold.
MOST_IMAGES, LONGEST_GRID = 2**32 - 1, 2**16 - 1
_FIXED = struct.Struct("<4sBBBB8sIIIII")
_GRID, _WORD = struct.Struct("<HH"), struct.Struct("<I")
_SINGLE, _LABELS = 1, 2


@dataclass(frozen=True)
class Header:
    """What a stream says of its images.

    Attributes:
        backend: Name of the backend that encoded it.
        fingerprint: 8 bytes that stand for model and priors.
        num_images, height, width: Of the images, before they were padded.
        single: Whether it is one image without a batch axis.
        grids: Rows and columns of each level's codes, from top to bottom.
        labels: The images' labels, None without.
        codes_checksum: CRC-32 of the codes.
    """

    backend: str
    fingerprint: bytes
    num_images: int
    height: int
    width: int
    single: bool
    grids: tuple[tuple[int, int], ...]
    labels: tuple[int, ...] | None
    codes_checksum: int


def pack(header: Header, payload: bytes) -> bytes:
    """The stream of a header and the coded codes."""
    flags = _SINGLE * header.single + _LABELS * (header.labels is not None)
    parts = [
        _FIXED.pack(
            MAGIC,
            VERSION,
            BACKENDS.index(header.backend),
            len(header.grids),
            flags,
            header.fingerprint,
            header.num_images,
            header.height,
            header.width,
            header.codes_checksum,
            len(payload),
        ),
        *[_GRID.pack(*grid) for grid in header.grids],
        *[_WORD.pack(label) for label in header.labels or ()],
        payload,
    ]
    stream = b"".join(parts)
    return stream + _WORD.pack(zlib.crc32(stream))


def unpack(stream: bytes) -> tuple[Header, bytes]:
    """Header and coded codes of a stream, all bytes checked.

    Raises:
        ValueError: It is no such stream, of another version, truncated or corrupted.
    """
    if not isinstance(stream, (bytes, bytearray, memoryview)):
        raise ValueError(f"stream must be bytes, got {type(stream).__name__}")
    stream = bytes(stream)
    if stream[:4] != MAGIC:
        raise ValueError(
            f"stream must be one that compress made and begin with {MAGIC!r}, got {stream[:4]!r}"
        )
    if len(stream) < _FIXED.size:
        raise _damaged(f"{len(stream)} bytes are fewer than a header")
    _, version, backend, levels, flags, fingerprint, *sizes = _FIXED.unpack_from(stream)
    num_images, height, width, codes_checksum, payload_size = sizes
    if version != VERSION:
        raise ValueError(
            f"stream must be of format version {VERSION}, got {version}; decompress it with the "
            "version of keras_sep that made it"
        )
    num_labels = num_images if flags & _LABELS else 0
    start = _FIXED.size + _GRID.size * levels + _WORD.size * num_labels
    size = start + payload_size + _WORD.size
    if len(stream) != size:
        raise _damaged(f"it has {len(stream)} bytes and its header says {size}")
    (checksum,) = _WORD.unpack_from(stream, size - _WORD.size)
    if zlib.crc32(stream[: -_WORD.size]) != checksum:
        raise _damaged("its checksum is wrong")
    if backend >= len(BACKENDS) or flags > (_SINGLE | _LABELS) or not num_images:
        raise _damaged("its header has fields out of range")
    labels = _FIXED.size + _GRID.size * levels
    header = Header(
        backend=BACKENDS[backend],
        fingerprint=fingerprint,
        num_images=num_images,
        height=height,
        width=width,
        single=bool(flags & _SINGLE),
        grids=tuple(_GRID.iter_unpack(stream[_FIXED.size : labels])),
        labels=tuple(n for (n,) in _WORD.iter_unpack(stream[labels:start])) if num_labels else None,
        codes_checksum=codes_checksum,
    )
    return header, stream[start : -_WORD.size]


def _damaged(reason):
    return ValueError(f"stream is truncated or corrupted, {reason}; get it again from its source")
