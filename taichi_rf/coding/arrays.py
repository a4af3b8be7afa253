"""Named arrays as one block of bytes, the payload of a chunk.

The block describes itself, but that is only for the error message: the reader states which arrays it expects, and
anything else is refused. Little-endian throughout.

    block  number of arrays u2, then for each: name length u1 | name | type 2 | form u1 | dimensions u1 |
           stored bytes u8 | shape u8 each | values
    form   0 the values, 1 deflated, 2 deflated after sorting their bytes: every number's highest byte first, then every
           number's next. Signs and exponents are all alike, the low bits are not: each kind gets a code of its own
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taichi_rf.core.errors import UserError

Arrays = dict[str, NDArray[Any]]

ARRAY_TYPES = ("f2", "f4", "u1", "u2", "u4", "i4", "i8", "u8")
MAX_DIMENSIONS = 8
MAX_INFLATED = 256 << 20  # bytes of one compressed array; an occupancy grid of 512^3 bytes is half of that

_ARRAY = struct.Struct("<2sBBQ")  # type, form, dimensions, stored bytes; after a u1-counted name
_STORED, _DEFLATED, _SORTED = range(3)
_DEFLATE_LIMIT = 1032  # deflate cannot expand further than this


def pack_arrays(arrays: Mapping[str, NDArray[Any]], compress: Collection[str] = ()) -> bytes:
    """Return the arrays as one block of bytes: names, types and shapes, each followed by little-endian values.

    Args:
        arrays: by name (at most 255 bytes long); types of ``ARRAY_TYPES``, any shape of at most 8 dimensions.
        compress: names of arrays to deflate, where that makes them smaller: trained half-precision numbers become a
            sixth smaller, bits of occupancy much more.

    Raises:
        ValueError: a type, name or shape that the format does not have.
    """
    parts = [struct.pack("<H", len(arrays))]
    for name, array in arrays.items():
        code, raw = type_code(array.dtype, ARRAY_TYPES), name.encode()
        if not 1 <= len(raw) <= 255 or array.ndim > MAX_DIMENSIONS:
            raise ValueError(f"array '{name[:40]}' of shape {array.shape} does not fit the format")
        values = array.astype(f"<{code}", copy=False).tobytes()
        form = _STORED
        if name in compress and len(values) <= MAX_INFLATED:
            deflated = _deflate(values, array.dtype.itemsize)
            if len(deflated) < len(values):
                form, values = _DEFLATED if array.dtype.itemsize == 1 else _SORTED, deflated
        parts.append(struct.pack("<B", len(raw)) + raw)
        parts.append(_ARRAY.pack(code.encode(), form, array.ndim, len(values)))
        parts.append(struct.pack(f"<{array.ndim}Q", *array.shape))
        parts.append(values)
    return b"".join(parts)


def unpack_arrays(
    data: bytes, schema: Mapping[str, tuple[str, tuple[int, ...]]], *, where: str = "this file"
) -> Arrays:
    """Return the arrays of a block, which must be exactly those that ``schema`` names.

    No more memory is taken than ``data`` and the schema account for; a compressed array may inflate to its size in the
    schema and to ``MAX_INFLATED`` at most.

    Args:
        data: what :func:`pack_arrays` returned.
        schema: name -> (type such as "f2", shape); a shape of (-1,) is any number of them, and those not deflated.
        where: named in the message.

    Raises:
        UserError: an array is missing, unknown, there twice, of another type or shape, or the block is malformed.
    """
    rest = memoryview(data)

    def take(count: int) -> memoryview:
        nonlocal rest
        if count > len(rest):
            raise UserError(f"{where} is damaged: its arrays are cut off")
        part, rest = rest[:count], rest[count:]
        return part

    arrays: Arrays = {}
    for _ in range(struct.unpack("<H", take(2))[0]):
        raw_name = bytes(take(take(1)[0]))
        name = raw_name.decode(errors="replace")
        code, form, dimensions, stored = _ARRAY.unpack(take(_ARRAY.size))
        if dimensions > MAX_DIMENSIONS or form > _SORTED:
            raise UserError(f"{where} is damaged: array {name!r} is malformed")
        shape = struct.unpack(f"<{dimensions}Q", take(8 * dimensions))
        if name in arrays or name not in schema:
            raise UserError(f"{where} holds an array {name!r} that does not belong there")
        dtype = np.dtype(schema[name][0]).newbyteorder("<")
        expected = tuple(schema[name][1])
        if expected == (-1,) and form == _STORED and len(shape) == 1:
            expected = shape  # bounded by what is there
        if code.decode(errors="replace") != dtype.str[1:] or shape != expected:
            found = f"{code.decode(errors='replace')}{list(shape)}"
            raise UserError(f"{where}: array '{name}' is {found}, expected {dtype.str[1:]}{list(expected)}")
        values: bytes | memoryview = take(stored)
        size = math.prod(expected) * dtype.itemsize
        if form != _STORED:
            values = _inflate(values, size, f"{where}: array '{name}'")
        if len(values) != size:
            raise UserError(f"{where}: array '{name}' has {len(values)} bytes, expected {size}")
        if form == _SORTED:
            values = np.frombuffer(values, np.uint8).reshape(dtype.itemsize, -1)[::-1].T.tobytes()
        arrays[name] = np.frombuffer(values, dtype).reshape(expected).astype(dtype.newbyteorder("="))
    if missing := [name for name in schema if name not in arrays]:
        raise UserError(f"{where} lacks the array '{missing[0]}'")
    if len(rest):
        raise UserError(f"{where} is damaged: {len(rest)} bytes follow its arrays")
    return arrays


def stored_sizes(data: bytes, *, where: str = "this file") -> dict[str, int]:
    """Bytes that the values of each array of a block take, without looking at any; their descriptions are left out.

    Raises:
        UserError: the block is malformed.
    """
    sizes: dict[str, int] = {}
    at = 2
    try:
        for _ in range(struct.unpack_from("<H", data)[0]):
            length = data[at]
            name = data[at + 1 : at + 1 + length].decode(errors="replace")
            _, _, dimensions, stored = _ARRAY.unpack_from(data, at + 1 + length)
            at += 1 + length + _ARRAY.size + 8 * dimensions + stored
            sizes[name] = stored
    except (struct.error, IndexError):
        at = -1
    if at != len(data):
        raise UserError(f"{where} is damaged: its arrays are cut off")
    return sizes


def _deflate(values: bytes, itemsize: int) -> bytes:
    """The smaller of two ways to deflate little-endian numbers, highest bytes first: one that finds repetitions, and
    one that hardly looks for them and gets nearer to the entropy of numbers that have none."""
    planes = np.frombuffer(values, np.uint8).reshape(-1, itemsize).T[::-1]

    def stream(strategy: int) -> bytes:
        deflater = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy)
        parts = []
        for plane in planes[:-1]:
            parts += [deflater.compress(plane.tobytes()), deflater.flush(zlib.Z_FULL_FLUSH)]  # ends its codes
        return b"".join([*parts, deflater.compress(planes[-1].tobytes()), deflater.flush()])

    return min(map(stream, (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED)), key=len)


def _inflate(data: bytes | memoryview, size: int, where: str) -> bytes:
    """Decompress to exactly ``size`` bytes."""
    if size > min(MAX_INFLATED, _DEFLATE_LIMIT * len(data)):
        raise UserError(f"{where} cannot be {size} bytes long")
    inflater = zlib.decompressobj()
    try:
        values = inflater.decompress(data, size) if size else b""
        excess = inflater.decompress(inflater.unconsumed_tail if size else data, 1)
    except zlib.error:
        raise UserError(f"{where} is damaged") from None
    if excess or not inflater.eof or inflater.unused_data:
        raise UserError(f"{where} is damaged")
    return values


def type_code(dtype: np.dtype[Any], allowed: Collection[str]) -> str:
    """Return the two-letter code of a type, such as "f2".

    Raises:
        ValueError: it is not among ``allowed``.
    """
    code = dtype.str[1:]
    if code not in allowed:
        raise ValueError(f"arrays of type {dtype} cannot be stored; allowed are {', '.join(allowed)}")
    return code
