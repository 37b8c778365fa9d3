"""The IDX file format, in which MNIST is published: a magic number, the sizes of the axes, the elements."""

import math
import os
import zlib
from pathlib import Path

import numpy as np

from tinybn._typing import Array
from tinybn.errors import DataError

# Third byte of the magic number -> type of the elements. Everything in the file is big-endian.
_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_PIECE = 1 << 16  # compressed bytes fed at once: how finely a corrupt place is named


def read_idx(path: str | os.PathLike[str]) -> Array:
    """Read an IDX file, plain or gzipped.

    ``magic (0, 0, type, ndim) | ndim sizes, 32 bits each | elements, last axis fastest``, all big-endian

    Args:
        path: the file. Its first bytes tell whether it is gzipped, its name does not matter.

    Returns:
        A new array in the byte order of this machine: uint8, int8, int16, int32, float32 or float64, with as many axes
        as the file says.

    Raises:
        DataError: the file is truncated, has bytes too many, a wrong magic number, or a corrupt gzip stream.
        OSError: the file cannot be opened.

    Reference:
        "The IDX file format", on the page of the MNIST database, http://yann.lecun.com/exdb/mnist/

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "labels"
    ...     _ = path.write_bytes(bytes([0, 0, 0x08, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    path = Path(path)
    return parse_idx(gunzip(path.read_bytes(), str(path)), str(path))


def parse_idx(content: bytes, name: str) -> Array:
    """The array that the bytes of an uncompressed IDX file hold; ``name`` is what errors call the file.

    >>> parse_idx(bytes([0, 0, 0x0B, 1, 0, 0, 0, 2, 0, 1, 1, 0]), "two numbers")
    array([  1, 256], dtype=int16)
    >>> parse_idx(bytes([0, 0, 0x0B, 1, 0, 0, 0, 2, 0, 1]), "cut short")
    Traceback (most recent call last):
    tinybn.errors.DataError: cut short: truncated: the header promises int16 (2,), 12 bytes with its own 8, found 10
    """
    if len(content) < 4:
        raise DataError(f"{name}: truncated: the magic number takes 4 bytes, the file has {len(content)}")
    if content[0] or content[1] or content[2] not in _TYPES:
        raise DataError(
            f"{name}: not an IDX file: expected 00 00, a type ({' '.join(f'{code:02x}' for code in _TYPES)}) and the "
            f"number of axes at offset 0, found {content[:4].hex(' ')}"
        )
    dtype, ndim = np.dtype(_TYPES[content[2]]), content[3]
    header = 4 + 4 * ndim
    if len(content) < header:
        raise DataError(
            f"{name}: truncated: the sizes of {ndim} axes end at offset {header}, found {len(content)} bytes"
        )
    shape = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, header, 4))
    size = header + dtype.itemsize * math.prod(shape)
    if len(content) != size:
        problem = "truncated" if len(content) < size else f"bytes too many from offset {size}"
        raise DataError(
            f"{name}: {problem}: the header promises {dtype.newbyteorder('=')} {shape}, {size} bytes with its own "
            f"{header}, found {len(content)}"
        )
    try:
        stored = np.frombuffer(content, dtype, math.prod(shape), header).reshape(shape)
    except ValueError as error:  # more axes than NumPy has, or no elements along absurdly long axes
        raise DataError(f"{name}: the header at offset 4 has sizes that NumPy refuses, {shape}: {error}") from None
    return stored.astype(dtype.newbyteorder("="))


def gunzip(content: bytes, name: str) -> bytes:
    """Decompress when the first bytes are gzip's, otherwise return ``content`` itself.

    >>> gunzip(b"plain", "a file")
    b'plain'
    """
    if content[:2] != b"\x1f\x8b":
        return content
    pieces = []
    start = at = 0
    stream = zlib.decompressobj(wbits=31)
    while at < len(content):
        if stream.eof:  # a gzip file may be several streams, one behind the other
            start, stream = at, zlib.decompressobj(wbits=31)
        piece = content[at : at + _PIECE]
        try:
            pieces.append(stream.decompress(piece))
        except zlib.error as error:
            raise DataError(
                f"{name}: corrupt gzip stream: {error}, between offset {at} and {at + len(piece)} of {len(content)}"
            ) from None
        at += len(piece) - len(stream.unused_data)
    if not stream.eof:
        raise DataError(
            f"{name}: truncated: the gzip stream from offset {start} goes on where the file ends, at {len(content)} "
            f"bytes ({sum(map(len, pieces))} uncompressed)"
        )
    return b"".join(pieces)
