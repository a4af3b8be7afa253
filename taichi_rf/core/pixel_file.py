"""Rows of numbers in a file without a name, for what does not fit the memory. It is gone when its process is."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from taichi_rf.core.errors import UserError

SPARED = 1 << 30
"""Bytes that are left on the disk."""
SEVERAL = 64
"""Rows that are read at once where they lie no farther apart: a call costs as much as to read some hundred bytes."""
CUT_SHORT = "pixels that are kept on the disk cannot be read: their file was cut short"


class PixelFile:
    """Rows of ``channels`` numbers of ``dtype``, zero at first. They are read and written, not mapped: a limit of the
    address space (ulimit -v) would count a mapped file.

    Args:
        folder: where the file lies; it is made if need be.
        rows: how many.
        channels: numbers of a row.
        dtype: their type.

    Raises:
        UserError: the disk has not the room, or the folder cannot be written to.
    """

    def __init__(self, folder: Path, rows: int, channels: int, dtype: npt.DTypeLike) -> None:
        self.dtype, self.shape = np.dtype(dtype), (rows, channels)
        self._row, self._lock = channels * self.dtype.itemsize, threading.Lock()
        check_disk(folder, rows * self._row)
        try:
            self._file = tempfile.TemporaryFile(dir=folder, prefix="pixels-")  # noqa: SIM115 - as long as this lives
            self._file.truncate(rows * self._row)
        except OSError as error:
            raise UserError(f"'{folder}': pixels cannot be kept there ({error.strerror or error})") from error

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: Any) -> npt.NDArray[np.generic]:
        """The rows of a slice without a step, or those with the numbers (n,), (n, channels)."""
        if isinstance(rows, slice):
            first, end, _ = rows.indices(len(self))
            return self._read(first, max(end - first, 0))
        found = np.empty((len(rows), self.shape[1]), self.dtype)
        if not len(rows):
            return found
        order = np.argsort(rows, kind="stable")
        ascending = np.asarray(rows)[order]
        opens = np.diff(ascending, prepend=-2 * SEVERAL) > SEVERAL
        begins = ascending[opens]
        last = ascending[np.append(opens[1:], True)]
        counts = last + 1 - begins
        data = self._pieces((begins * self._row).tolist(), (counts * self._row).tolist())
        place = np.cumsum(counts) - counts - begins  # where a row of a piece lies among those that were read
        found[order] = np.frombuffer(data, self.dtype).reshape(-1, self.shape[1])[
            ascending + place[np.cumsum(opens) - 1]
        ]
        return found

    def write(self, first: int, values: npt.NDArray[np.generic]) -> None:
        """Write rows from number ``first`` on. Any thread may.

        Raises:
            UserError: the disk is full, or broken.
        """
        data = np.ascontiguousarray(values, self.dtype).data.cast("B")
        try:
            with self._lock:
                self._file.seek(first * self._row)
                self._file.write(data)
                self._file.flush()
        except OSError as error:
            raise UserError(f"pixels cannot be kept on the disk ({error.strerror or error})") from error

    def _pieces(self, offsets: list[int], sizes: list[int]) -> bytes:
        """The bytes of all pieces, one behind the other. Where it can be said beforehand what will be read, the disk
        fetches all of it at once."""
        file = self._file.fileno()
        if not hasattr(os, "pread"):
            data = b"".join(self._read_bytes(offset, size) for offset, size in zip(offsets, sizes, strict=True))
        else:
            if hasattr(os, "posix_fadvise"):
                for offset, size in zip(offsets, sizes, strict=True):
                    os.posix_fadvise(file, offset, size, os.POSIX_FADV_WILLNEED)
            data = b"".join([os.pread(file, size, offset) for offset, size in zip(offsets, sizes, strict=True)])
        if len(data) != sum(sizes):
            raise UserError(CUT_SHORT)
        return data

    def _read_bytes(self, offset: int, size: int) -> bytes:
        with self._lock:
            self._file.seek(offset)
            return self._file.read(size)

    def _read(self, first: int, count: int) -> npt.NDArray[np.generic]:
        found = np.empty((count, self.shape[1]), self.dtype)
        if count:
            view = found.data.cast("B")
            done = 0
            while done < len(view):
                read = self._into(view[done:], first * self._row + done)
                if read == 0:
                    raise UserError(CUT_SHORT)
                done += read
        return found

    def _into(self, view: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), [view], offset)
        with self._lock:
            self._file.seek(offset)
            return self._file.readinto(view)  # type: ignore[attr-defined,no-any-return]


def check_disk(folder: Path, needed: int) -> None:
    """UserError where the disk of ``folder``, which is made if need be, has not the room for ``needed`` bytes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise UserError(f"'{folder}': pixels cannot be kept there ({error.strerror or error})") from error
    if needed + SPARED > free:
        raise UserError(
            f"the pixels of the images, {needed / 2**30:.1f} GiB, fit neither the memory nor the disk of '{folder}', "
            f"where {free / 2**30:.1f} GiB are free; make the images smaller with --downscale, use fewer with --views, "
            "or name another folder by the environment variable TAICHI_RF_CACHE"
        )
