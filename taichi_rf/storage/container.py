"""Parse and check the bytes of a ``.trf`` file: its preamble, header and frames.

    preamble  magic 8 | version u4 | levels u4 | header length u4 | crc32 of version, levels, length and header u4
    header    canonical JSON
    chunk     "LEVL" | index u4 | length u8 | BLAKE2b-64 of (checksum before, index, length, payload) 8 | payload

:mod:`taichi_rf.storage.trf` reads whole files by it, :mod:`taichi_rf.streaming.parser` what a network brings piece by
piece.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from taichi_rf.core.errors import UserError
from taichi_rf.core.files import parse_json, plain
from taichi_rf.storage.metadata import passed_on

VERSION = 2
"""The newest. Files say the oldest that can read them: 2 where the field lies in another space than a box."""
MAX_HEADER = 64 << 10  # bytes
MAX_LEVELS = 1024
MAX_CHUNK = 1 << 30  # bytes; the largest presets need about 10 MB a level

MAGIC = b"\x89TRF\r\n\x1a\n"  # as PNG's: a transfer in text mode damages it visibly
PREAMBLE = struct.Struct("<8sIIII")
CHUNK = struct.Struct("<4sIQ8s")
TAG = b"LEVL"
DIGEST = 8  # bytes

Path = str | os.PathLike[str]


class Damaged(Exception):
    """A chunk is not as it was written; the message says how."""


@dataclass(frozen=True)
class Frame:
    """What stands before a payload: ``raw`` as it is in the file, the payload's ``length`` and its ``checksum``."""

    raw: bytes
    length: int
    checksum: bytes


def check_preamble(preamble: bytes, path: Path) -> int:
    """The length of the header that follows; ``preamble`` is shorter than ``PREAMBLE`` where the file is.

    Raises:
        UserError: it is no ``.trf``, of a newer version, cut off, or promises a header that is too long.
    """
    if preamble[: len(MAGIC)] != MAGIC:
        raise UserError(f"{path} is not a .trf model{_kind(preamble)}")
    if len(preamble) < PREAMBLE.size:
        raise UserError(f"{path} cannot be loaded: the file ends within its header")
    _, version, _, length, _ = PREAMBLE.unpack(preamble)
    if version > VERSION:
        raise UserError(f"{path} has format version {version}, this program reads up to {VERSION}: please update it")
    if length > MAX_HEADER:
        raise UserError(f"{path} cannot be loaded: its header claims {length} bytes, {MAX_HEADER} are allowed")
    return int(length)


_KINDS = (
    (b"<", ": it is a web page, such as one that asks for a login or a confirmation; download the file itself"),
    (b"version https://", ": it is a pointer of Git LFS; fetch the file itself with git lfs pull"),
    (b"PK\x03\x04", ": it is a zip archive; unpack it"),
    (b"\x1f\x8b", ": it is compressed with gzip; unpack it"),
    (b"{", ": it is JSON"),
    (b"ply", ": it is a .ply file"),
    (b"\x89PNG", ": it is a PNG image"),
)


def _kind(begin: bytes) -> str:
    """What a file that begins so is instead of a model, as the end of a message."""
    begin = begin.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((words for sign, words in _KINDS if begin.startswith(sign)), "")


def check_header(preamble: bytes, text: bytes, path: Path) -> tuple[int, dict[str, Any]]:
    """The number of levels and the header, of a checked preamble and the text after it.

    Raises:
        UserError: the text is cut off or damaged, no JSON object, or the preamble's numbers make no sense.
    """
    _, version, levels, length, crc = PREAMBLE.unpack(preamble)
    if len(text) < length:
        raise UserError(f"{path} cannot be loaded: the file ends within its header")
    if crc != header_crc(version, levels, text):
        raise UserError(f"{path} cannot be loaded: its header is damaged (checksum)")
    if version < 1 or not 1 <= levels <= MAX_LEVELS:
        raise UserError(f"{path} cannot be loaded: it claims version {version} and {levels} levels")
    header = parse_json(text, f"the header of {path}")
    if not isinstance(header, dict):
        raise UserError(f"{path} cannot be loaded: its header is not a JSON object")
    return int(levels), header


def check_frame(raw: bytes, index: int, remaining: int | None) -> Frame:
    """The frame of chunk ``index``, after which ``remaining`` bytes are left; None where nobody knows.

    Raises:
        Damaged: it is cut off, is another chunk's, or claims more than there can be.
    """
    if len(raw) < CHUNK.size:
        raise Damaged("the file ends within it")
    tag, number, length, checksum = CHUNK.unpack(raw)
    if tag != TAG or number != index:
        raise Damaged("its frame is not where it should be")
    if length > MAX_CHUNK:
        raise Damaged(f"it claims {length} bytes, {MAX_CHUNK} are allowed")
    if remaining is not None and length > remaining:
        raise Damaged(f"the file ends within it, after {remaining} of {length} bytes")
    return Frame(raw, length, checksum)


def canonical(obj: Mapping[str, Any]) -> bytes:
    """A header as it is written: the same object gives the same bytes."""
    return json.dumps(plain(dict(obj)), sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def start_of(header: Mapping[str, Any], levels: int) -> bytes:
    """Preamble and header of a file that has ``levels`` levels. ValueError for a header that is too long."""
    text = canonical(header)
    if len(text) > MAX_HEADER:
        raise ValueError(f"the header may be {MAX_HEADER} bytes long, got {len(text)}")
    version = 2 if "space" in header else 1
    return PREAMBLE.pack(MAGIC, version, levels, len(text), header_crc(version, levels, text)) + text


def passed_on_start(header: Mapping[str, Any], levels: int, start: bytes) -> bytes:
    """``start``, or one with what :func:`~taichi_rf.storage.metadata.passed_on` leaves of its metadata where that is
    less.

    Raises:
        UserError: written as we write it, the header is too long.
    """
    metadata = header.get("metadata")
    if not isinstance(metadata, dict) or passed_on(metadata) == metadata:
        return start
    try:
        return start_of({**header, "metadata": passed_on(metadata)}, levels)
    except ValueError as error:
        raise UserError(f"the file cannot be written: {error}") from None


def header_crc(version: int, levels: int, text: bytes) -> int:
    """CRC-32 of everything in the header, as whole numbers and its JSON text."""
    return zlib.crc32(struct.pack("<III", version, levels, len(text)) + text)


def start_checksum(data: bytes) -> bytes:
    """Of the preamble and the header: what the first chunk's checksum goes on from."""
    return blake2b(data, digest_size=DIGEST).digest()


def chunk_hasher(previous: bytes, index: int, length: int) -> blake2b:
    """To be given a payload; its digest is the chunk's checksum after the checksum ``previous``."""
    return blake2b(previous + struct.pack("<IQ", index, length), digest_size=DIGEST)


def chunk_checksum(previous: bytes, index: int, length: int, payload: bytes) -> bytes:
    """The checksum of a chunk, into which that of the part before goes: a chunk fits one file only."""
    digest = chunk_hasher(previous, index, length)
    digest.update(payload)
    return digest.digest()


def damaged_base(path: Path, reason: Exception) -> UserError:
    """What to say where the first level is damaged."""
    return UserError(f"{path} cannot be loaded: the base chunk is damaged ({reason})")


def damaged_level(path: Path, present: int, total: int, reason: Exception) -> str:
    """What to say where the level after the first ``present`` of ``total`` is damaged."""
    return f"{path}: level {present + 1} is damaged ({reason}); loaded levels 1 to {present} of {total}"


def ends_before_base(path: Path) -> UserError:
    """What to say where nothing follows the header."""
    return UserError(f"{path} cannot be loaded: the file ends before the base chunk")
