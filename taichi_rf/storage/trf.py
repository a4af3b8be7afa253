"""The progressive model file (``.trf``) and the exact checkpoint.

A ``.trf`` file is a preamble, a JSON header and a row of chunks: the base (decoder, occupancy, first level), then one a
level. Each chunk's checksum also covers everything before it, so any prefix that ends on a chunk is a whole model, and
slimming is copying fewer bytes. Readers trust nothing: lengths are checked against the file before memory is taken.
The bytes themselves are ``container.py``'s.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from taichi_rf.coding.arrays import ARRAY_TYPES, MAX_DIMENSIONS, Arrays, pack_arrays, type_code, unpack_arrays
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import atomic_write, open_regular, parse_json, plain
from taichi_rf.storage.container import (
    CHUNK,
    DIGEST,
    MAX_CHUNK,
    MAX_LEVELS,
    PREAMBLE,
    TAG,
    Damaged,
    Frame,
    canonical,
    check_frame,
    check_header,
    check_preamble,
    chunk_checksum,
    chunk_hasher,
    damaged_base,
    damaged_level,
    ends_before_base,
    passed_on_start,
    start_checksum,
    start_of,
)

__all__ = [
    "TrfFile",
    "load_checkpoint",
    "outline",
    "pack_arrays",
    "prefix_bytes",
    "read_trf",
    "save_checkpoint",
    "truncate_trf",
    "unpack_arrays",
    "write_trf",
]

_BLOCK = 1 << 20  # bytes copied at a time

Path = str | os.PathLike[str]


# ---------------------------------------------------------------------------------------------------------------------
# The progressive file


@dataclass(frozen=True)
class TrfFile:
    """What a ``.trf`` file held.

    ``header`` is the JSON header, ``chunks`` the payloads that are present, base first, and ``warnings`` what was wrong
    with the rest, in sentences for the user. ``total_levels`` is how many levels the file had when it was first
    written; a slimmed file has fewer chunks. ``prefix_bytes[k]`` is the size in bytes of the file cut after level
    ``k + 1``.
    """

    header: dict[str, Any]
    chunks: list[bytes]
    warnings: list[str]
    total_levels: int
    prefix_bytes: list[int]


def write_trf(path: Path, header: Mapping[str, Any], chunks: Sequence[bytes]) -> list[int]:
    """Write a progressive file, atomically.

    Args:
        path: where.
        header: JSON object, at most ``MAX_HEADER`` bytes; numpy numbers are converted, NaN becomes null.
        chunks: payloads, base chunk first, one a level.

    Returns:
        The size of the file in bytes for each prefix; the last is the whole file.

    Raises:
        UserError: the file cannot be written.
        ValueError: no chunks, more than ``MAX_LEVELS``, or a header or chunk that is too long.
    """
    if not 1 <= len(chunks) <= MAX_LEVELS:
        raise ValueError(f"a file holds 1 to {MAX_LEVELS} chunks, got {len(chunks)}")
    if max(map(len, chunks)) > MAX_CHUNK:
        raise ValueError(f"a chunk may be {MAX_CHUNK} bytes long, got {max(map(len, chunks))}")
    start = start_of(header, len(chunks))
    checksum = start_checksum(start)
    with atomic_write(path) as file:
        file.write(start)
        for index, chunk in enumerate(chunks):
            checksum = chunk_checksum(checksum, index, len(chunk), chunk)
            file.write(CHUNK.pack(TAG, index, len(chunk), checksum))
            file.write(chunk)
    return prefix_bytes(header, [len(chunk) for chunk in chunks])


def read_trf(path: Path, max_level: int | None = None) -> TrfFile:
    """Read a progressive file, or as much of it as is good.

    Args:
        path: a ``.trf`` file, whole, slimmed, cut off or damaged.
        max_level: read only the first ``max_level`` chunks (at least 1) and do not look at the rest.

    Returns:
        The header and the longest prefix of undamaged chunks, with a warning if something damaged follows it.

    Raises:
        UserError: the file is missing, is no ``.trf``, is of a newer version, ``max_level`` is below 1, or the header
            or the base chunk is damaged.
    """
    if max_level is not None and max_level < 1:
        raise UserError(f"level {max_level} does not exist; levels start at 1")
    with _opened(path) as reader:
        chunks: list[bytes] = []
        warnings: list[str] = []
        sizes = [reader.header_bytes]
        wanted = min(max_level or MAX_LEVELS, reader.total_levels)
        try:
            while len(chunks) < wanted and not reader.at_end():
                chunks.append(reader.chunk(len(chunks)))
                sizes.append(sizes[-1] + CHUNK.size + len(chunks[-1]))
            if len(chunks) == reader.total_levels and not reader.at_end():
                warnings.append(f"{path}: {reader.remaining} bytes after the last level were ignored")
        except Damaged as error:
            if not chunks:
                raise damaged_base(path, error) from None
            warnings.append(damaged_level(path, len(chunks), reader.total_levels, error))
        if not chunks:
            raise ends_before_base(path)
        return TrfFile(reader.header, chunks, warnings, reader.total_levels, sizes[1:])


def truncate_trf(source: Path, level: int, destination: Path) -> int:
    """Copy the first ``level`` levels of a file, without decoding them; the header stays as it is, but for the path of
    its author's scene that version 0.1.0 wrote into it.

    Both may be the same file. The checksums are verified on the way.

    Returns:
        The size of the new file in bytes.

    Raises:
        UserError: ``level`` is outside the file, something within those levels is damaged, or reading or writing fails.
    """
    with _opened(source) as reader:
        if not 1 <= level <= reader.total_levels:
            raise UserError(f"level {level} is not in {source}: choose 1 to {len(outline(source)[1])}")
        start = passed_on_start(reader.header, reader.total_levels, reader.start)
        checksum = start_checksum(start)
        with atomic_write(destination) as file:
            file.write(start)
            size = len(start)
            try:
                for index in range(level):
                    if reader.at_end():
                        raise UserError(f"level {level} is not in {source}: choose 1 to {index}")
                    frame = reader.frame(index)
                    file.write(frame.raw)
                    digest = chunk_hasher(checksum, index, frame.length)

                    def copy(block: bytes, digest: Any = digest) -> None:
                        digest.update(block)
                        file.write(block)

                    reader.payload(index, frame, copy)
                    checksum = digest.digest()
                    if checksum != frame.checksum:  # it covers the start of the file, which is another now
                        file.seek(size)
                        file.write(CHUNK.pack(TAG, index, frame.length, checksum))
                        file.seek(0, os.SEEK_END)
                    size += len(frame.raw) + frame.length
            except Damaged as error:
                raise UserError(
                    f"{source} cannot be cut at level {level}: level {index + 1} is damaged ({error})"
                ) from None
            return size


def outline(path: Path) -> tuple[dict[str, Any], list[int]]:
    """Return the header, and the size in bytes of the file cut after each level present, without reading the payloads.

    Raises:
        UserError: as :func:`read_trf`. Damage inside a payload goes unseen; a level that is cut off is not counted.
    """
    with _opened(path) as reader:
        sizes = [reader.header_bytes]
        try:
            while len(sizes) <= reader.total_levels and not reader.at_end():
                frame = reader.frame(len(sizes) - 1)
                reader.skip(frame.length)
                sizes.append(sizes[-1] + len(frame.raw) + frame.length)
        except Damaged:
            pass
        if len(sizes) == 1:
            raise UserError(f"{path} cannot be loaded: the base chunk is damaged")
        return reader.header, sizes[1:]


def prefix_bytes(header: Mapping[str, Any], chunk_lengths: Sequence[int]) -> list[int]:
    """Return the size in bytes of the file for each prefix, from the header and the lengths of the payloads."""
    sizes = [PREAMBLE.size + len(canonical(header))]
    for length in chunk_lengths:
        sizes.append(sizes[-1] + CHUNK.size + length)
    return sizes[1:]


class _Reader:
    """Walks a ``.trf`` file from front to back; ``remaining`` bytes of it have not been read."""

    def __init__(self, file: BinaryIO, size: int, path: Path) -> None:
        self.file, self.remaining = file, size
        preamble = self._take(PREAMBLE.size)
        text = self._take(check_preamble(preamble, path))
        self.total_levels, self.header = check_header(preamble, text, path)
        self.start = preamble + text
        self.header_bytes = len(self.start)
        self._previous = start_checksum(self.start)

    def at_end(self) -> bool:
        return self.remaining == 0

    def frame(self, index: int) -> Frame:
        raw = self._take(CHUNK.size)
        return check_frame(raw, index, self.remaining)

    def payload(self, index: int, frame: Frame, sink: Callable[[bytes], object]) -> None:
        """Hand the payload to ``sink`` in blocks; raises at the end if the checksum is wrong."""
        digest = chunk_hasher(self._previous, index, frame.length)
        left = frame.length
        while left:
            block = self._take(min(left, _BLOCK))
            if not block:
                raise Damaged("the file ends within it")
            digest.update(block)
            sink(block)
            left -= len(block)
        if digest.digest() != frame.checksum:
            raise Damaged("checksum")
        self._previous = frame.checksum

    def chunk(self, index: int) -> bytes:
        blocks: list[bytes] = []
        self.payload(index, self.frame(index), blocks.append)
        return b"".join(blocks)

    def skip(self, length: int) -> None:
        self.file.seek(length, os.SEEK_CUR)
        self.remaining -= length

    def _take(self, count: int) -> bytes:
        data = self.file.read(min(count, self.remaining))
        self.remaining -= len(data)
        return data


@contextmanager
def _opened(path: Path) -> Iterator[_Reader]:
    with open_regular(path) as (file, size):
        yield _Reader(file, size, path)


# ---------------------------------------------------------------------------------------------------------------------
# The exact checkpoint

CHECKPOINT_VERSION = 1
CHECKPOINT_TYPES = (*ARRAY_TYPES, "f8", "i1", "i2", "b1")
MAX_STATE = 64 << 20  # bytes of JSON

_CHECKPOINT_MAGIC = b"\x89TRFCKP\n"
_CHECKPOINT = struct.Struct("<8sIQI")  # magic, version, length of the JSON, its crc32


def save_checkpoint(path: Path, arrays: Mapping[str, NDArray[Any]], state: Mapping[str, Any]) -> None:
    """Write arrays and state so that :func:`load_checkpoint` brings back the same bits, atomically.

    The arrays are streamed: beyond them, memory is taken only for a copy of the one being written, if it is not
    contiguous.

    Args:
        path: where; no suffix is needed.
        arrays: by name; types of ``CHECKPOINT_TYPES``, any shape.
        state: JSON values; integers of any size, NaN and infinities are kept, tuples come back as lists.

    Raises:
        UserError: the file cannot be written; the earlier checkpoint is untouched.
        ValueError: a type that cannot be stored, or more than ``MAX_STATE`` bytes of state.
        TypeError: something in ``state`` has no JSON form.
    """
    table = [[name, type_code(array.dtype, CHECKPOINT_TYPES), list(array.shape)] for name, array in arrays.items()]
    text = json.dumps({"arrays": table, "state": plain(dict(state), non_finite=True)}).encode()
    if len(text) > MAX_STATE:
        raise ValueError(f"the state may be {MAX_STATE} bytes long, got {len(text)}")
    with atomic_write(path) as file:
        file.write(_CHECKPOINT.pack(_CHECKPOINT_MAGIC, CHECKPOINT_VERSION, len(text), zlib.crc32(text)))
        file.write(text)
        checksum = start_checksum(text)
        for index, array in enumerate(arrays.values()):
            values = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
            digest = chunk_hasher(checksum, index, values.nbytes)
            for start in range(0, values.nbytes, _BLOCK):
                block = values[start : start + _BLOCK].data
                digest.update(block)
                file.write(block)
            checksum = digest.digest()
            file.write(checksum)


def load_checkpoint(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """Return the arrays and the state that :func:`save_checkpoint` was given.

    Raises:
        UserError: the file is missing, is no checkpoint, is of a newer version, or is damaged anywhere.
    """
    damaged = f"checkpoint {path} is damaged"
    with open_regular(path) as (file, size):
        head = file.read(_CHECKPOINT.size)
        if head[: len(_CHECKPOINT_MAGIC)] != _CHECKPOINT_MAGIC:
            raise UserError(f"{path} is not a checkpoint")
        if len(head) < _CHECKPOINT.size:
            raise UserError(f"{damaged}: it ends within its header")
        _, version, length, crc = _CHECKPOINT.unpack(head)
        if version > CHECKPOINT_VERSION:
            newest = CHECKPOINT_VERSION
            raise UserError(
                f"checkpoint {path} has version {version}, this program reads up to {newest}: please update it"
            )
        if version < 1 or length > min(MAX_STATE, size - _CHECKPOINT.size):
            raise UserError(f"{damaged}: it claims version {version} and {length} bytes of state")
        text = file.read(length)
        if len(text) != length or zlib.crc32(text) != crc:
            raise UserError(f"{damaged}: the state fails its checksum")
        table, state = _checkpoint_index(text, damaged)
        claimed = sum(math.prod(shape) * dtype.itemsize + DIGEST for _, dtype, shape in table)
        if claimed != size - _CHECKPOINT.size - length:
            raise UserError(f"{damaged}: its arrays need {claimed} bytes, {size - _CHECKPOINT.size - length} are there")
        arrays: Arrays = {}
        checksum = start_checksum(text)
        for index, (name, dtype, shape) in enumerate(table):
            values = np.empty(math.prod(shape) * dtype.itemsize, np.uint8)
            digest = chunk_hasher(checksum, index, values.nbytes)
            for start in range(0, values.nbytes, _BLOCK):
                block = values[start : start + _BLOCK].data
                file.readinto(block)  # type: ignore[attr-defined]  # BinaryIO lacks it, files have it
                digest.update(block)
            checksum = digest.digest()
            if file.read(DIGEST) != checksum or (dtype.kind == "b" and values.max(initial=0) > 1):
                raise UserError(f"{damaged}: array '{name}' fails its checksum")
            arrays[name] = values.view(dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
        return arrays, state


def _checkpoint_index(
    text: bytes, damaged: str
) -> tuple[list[tuple[str, np.dtype[Any], tuple[int, ...]]], dict[str, Any]]:
    """Return the table of arrays (name, type, shape) and the state, both checked."""
    index = parse_json(text, f"{damaged}: its state", non_finite=True)
    if not isinstance(index, dict) or not isinstance(index.get("state"), dict):
        raise UserError(f"{damaged}: it has no state")
    entries = index.get("arrays")
    table: dict[str, tuple[str, np.dtype[Any], tuple[int, ...]]] = {}
    for entry in entries if isinstance(entries, list) else [None]:
        match entry:
            case [str(name), str(code), list(shape)] if (
                code in CHECKPOINT_TYPES
                and name not in table
                and len(shape) <= MAX_DIMENSIONS
                and all(type(n) is int and 0 <= n < 1 << 62 for n in shape)
            ):
                table[name] = (name, np.dtype(code).newbyteorder("<"), tuple(shape))
            case _:
                raise UserError(f"{damaged}: its table of arrays is malformed")
    return list(table.values()), index["state"]
