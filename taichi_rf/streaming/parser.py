"""A ``.trf`` file that comes piece by piece: checked as :func:`taichi_rf.storage.trf.read_trf` checks, byte for byte.

A feed knows nothing of networks. It is given bytes in their order, however they are cut, and hands out each level's
payload once all of it is there and its checksum is right. Memory is taken for what has come, never for what is claimed.
"""

from __future__ import annotations

from typing import Any

from taichi_rf.core.files import atomic_write
from taichi_rf.storage.container import (
    CHUNK,
    PREAMBLE,
    TAG,
    Damaged,
    Frame,
    Path,
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
)
from taichi_rf.storage.trf import TrfFile

LIMIT = 1 << 30
"""Bytes that are taken of one file."""


class Feed:
    """One file, as far as it has come.

    Args:
        where: named in messages: a path or an address.
        size: bytes that the file has in all; None as long as nobody knows.
        limit: bytes that are taken of it, whatever it claims.
    """

    def __init__(self, where: Path, *, size: int | None = None, limit: int = LIMIT) -> None:
        self.where, self.size, self.limit = where, size, limit
        self.header: dict[str, Any] | None = None
        """None until all of it has come."""
        self.total_levels = 0
        """Levels that the file had when it was first written."""
        self.chunks: list[bytes] = []
        self.prefix_bytes: list[int] = []
        """``prefix_bytes[k]`` is the size of the file cut after level ``k + 1``."""
        self.damage: Damaged | None = None
        """What is wrong with the level that should come next; nothing more is taken then, unless :meth:`rewind`."""
        self._start = b""
        self._frames: list[bytes] = []
        self._frame: Frame | None = None  # of the payload that is coming
        self._previous = b""  # checksum of all before it
        self._rest = bytearray()  # what has come and is not understood yet: not all of it is there
        self._at = 0  # where in the file the rest begins
        self._excess = 0

    @property
    def whole(self) -> bool:
        """Whether every level has come."""
        return self.header is not None and len(self.chunks) == self.total_levels

    @property
    def received(self) -> int:
        """Bytes that have come: where in the file the next are."""
        return self._at + len(self._rest) + self._excess

    @property
    def expected(self) -> int | None:
        """Where the level that is coming ends; None where that has not been told yet."""
        return None if self._frame is None else self._at + self._frame.length

    def push(self, data: bytes) -> list[bytes]:
        """Take the next bytes; return the payloads that they complete.

        Raises:
            UserError: this is no ``.trf`` file, or its header is damaged.
        """
        if self.damage is not None:
            return []
        if self.whole:
            self._excess += len(data)
            return []
        before = len(self.chunks)
        self._rest += data
        try:
            while self._step():
                pass
        except Damaged as error:
            self.damage = error
        return self.chunks[before:]

    def rewind(self) -> int:
        """Forget what has come of the level that is not whole; return where in the file it begins."""
        if self._frame is not None:
            self._at -= CHUNK.size
        self._rest, self._frame, self.damage = bytearray(), None, None
        return self._at

    def matches(self, offset: int, data: bytes) -> bool:
        """Whether ``data`` is what came from ``offset`` on; all of it has to have come."""
        for part in self._parts():
            if not data:
                break
            if offset < len(part):
                some = min(len(part) - offset, len(data))
                if part[offset : offset + some] != data[:some]:
                    return False
                data, offset = data[some:], 0
            else:
                offset -= len(part)
        return not data

    def close(self) -> TrfFile:
        """No more will come: what there is.

        Raises:
            UserError: not even the first level is there, and good.
        """
        present, cut = len(self.chunks), Damaged("the file ends within it")
        if self.header is None:
            preamble, text = bytes(self._rest[: PREAMBLE.size]), bytes(self._rest[PREAMBLE.size :])
            check_preamble(preamble, self.where)
            check_header(preamble, text, self.where)
        partly = self._frame is not None or len(self._rest) > 0
        damage = self.damage or (cut if partly and not self.whole else None)
        warnings = []
        if not present:
            raise damaged_base(self.where, damage) if damage is not None else ends_before_base(self.where)
        if damage is not None:
            warnings.append(damaged_level(self.where, present, self.total_levels, damage))
        excess = self._excess if self.size is None else self.size - self._at
        if self.whole and excess:
            warnings.append(f"{self.where}: {excess} bytes after the last level were ignored")
        assert self.header is not None
        return TrfFile(self.header, list(self.chunks), warnings, self.total_levels, list(self.prefix_bytes))

    def save(self, path: Path, level: int) -> int:
        """Write the first ``level`` levels, which have come, as a file of their own; return its size in bytes.

        Raises:
            UserError: the file cannot be written.
        """
        assert self.header is not None
        start = passed_on_start(self.header, self.total_levels, self._start)
        size, checksum = len(start), start_checksum(start)
        with atomic_write(path) as file:
            file.write(start)
            for index, chunk in enumerate(self.chunks[:level]):
                checksum = chunk_checksum(checksum, index, len(chunk), chunk)
                file.write(CHUNK.pack(TAG, index, len(chunk), checksum))
                file.write(chunk)
                size += CHUNK.size + len(chunk)
        return size

    def _parts(self) -> list[bytes | bytearray]:
        """All that has come, in pieces."""
        parts: list[bytes | bytearray] = [self._start] if self.header is not None else []
        for frame, chunk in zip(self._frames, self.chunks):
            parts += [frame, chunk]
        if self._frame is not None:
            parts.append(self._frame.raw)
        return [*parts, self._rest]

    def _step(self) -> bool:
        """Understand the next piece, if all of it is there."""
        if self.header is None:
            return self._read_header()
        if self.whole:
            return False
        if self._frame is None:
            return self._read_frame()
        return self._read_payload(self._frame)

    def _read_header(self) -> bool:
        if len(self._rest) < PREAMBLE.size:
            return False
        preamble = bytes(self._rest[: PREAMBLE.size])
        end = PREAMBLE.size + check_preamble(preamble, self.where)
        if len(self._rest) < end:
            return False
        self.total_levels, self.header = check_header(preamble, bytes(self._rest[PREAMBLE.size : end]), self.where)
        self._start = self._taken(end)
        self._previous = start_checksum(self._start)
        return True

    def _read_frame(self) -> bool:
        if len(self._rest) < CHUNK.size:
            return False
        begin = self._at + CHUNK.size
        raw = bytes(self._rest[: CHUNK.size])
        frame = check_frame(raw, len(self.chunks), None if self.size is None else self.size - begin)
        if begin + frame.length > self.limit:
            raise Damaged(f"it claims {frame.length} bytes, {max(self.limit - begin, 0)} are allowed here")
        self._frame = frame
        self._taken(CHUNK.size)
        return True

    def _read_payload(self, frame: Frame) -> bool:
        if len(self._rest) < frame.length:
            return False
        payload = bytes(self._rest[: frame.length])
        digest = chunk_hasher(self._previous, len(self.chunks), frame.length)
        digest.update(payload)
        if digest.digest() != frame.checksum:
            raise Damaged("checksum")
        self._taken(frame.length)
        self._previous, self._frame = frame.checksum, None
        self._frames.append(frame.raw)
        self.prefix_bytes.append(self._at)
        self.chunks.append(payload)
        if self.whole:
            self._excess, self._rest = len(self._rest), bytearray()
        return True

    def _taken(self, count: int) -> bytes:
        taken = bytes(self._rest[:count])
        del self._rest[:count]
        self._at += count
        return taken
