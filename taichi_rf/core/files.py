"""Write files atomically, so that each is whole or absent; read JSON strictly.

Everything the program saves goes through :func:`atomic_write`: a crash, a full disk or a kill in the middle leaves the
earlier file as it was. Whatever the system answers becomes a :class:`~taichi_rf.core.errors.UserError` that names the
path.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import json
import math
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from taichi_rf.core.errors import UserError

MAX_JSON_DEPTH = 32
_PARTIAL = ".partial"
_STALE_SECONDS = 600.0  # a partial file untouched for this long belongs to a process that was killed


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a binary file to write, which becomes ``path`` only when the block ends without an error.

    The bytes go to a hidden file beside ``path`` (a link is followed first), are forced to the disk, and are then
    renamed over it, so a reader sees the old file or the new one and never a part. On any error, Ctrl-C included, the
    hidden file is removed.

    Raises:
        UserError: the disk is full, the folder is missing or may not be written, ``path`` is a folder or a device; the
            earlier file, if there was one, is untouched.
    """
    with replacing(path) as partial:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        file = os.fdopen(os.open(partial, flags, 0o666), "wb", buffering=1 << 20)
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            file.close()
        except BaseException:
            with contextlib.suppress(OSError):
                file.close()
            raise


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the name of a hidden file beside ``path``, to be written by someone else, such as another program.

    What :func:`atomic_write` promises holds here too, save that forcing the bytes to the disk is the writer's business.

    Raises:
        UserError: as :func:`atomic_write`, for the system's errors that the block lets through.
    """
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}{_PARTIAL}")
    with writing(path, partial):
        if target.exists() and not stat.S_ISREG(target.stat().st_mode):
            raise UserError(f"cannot write {path}: it is a folder or a device, not a file; choose another name")
        _remove_stale(target)
        try:
            yield partial
            os.replace(partial, target)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise
        _sync_folder(target.parent)


def write_json(path: str | os.PathLike[str], obj: Any) -> None:
    """Write ``obj`` as indented JSON, atomically.

    Numpy scalars and arrays and paths are converted; NaN and infinities, for which JSON has no word, become ``null``.

    Raises:
        UserError: as :func:`atomic_write`.
        TypeError: something in ``obj`` has no JSON form, or a key is not a string.
    """
    text = json.dumps(plain(obj), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_write(path) as file:
        file.write(_utf8(text))


def read_json(path: str | os.PathLike[str], max_bytes: int = 16 << 20) -> Any:
    """Return what the JSON file holds; the mark that Windows puts before UTF-8 text is passed over.

    Raises:
        UserError: missing, unreadable, larger than ``max_bytes``, or not strict JSON (see :func:`parse_json`).
    """
    with open_regular(path) as (file, size):
        if size > max_bytes:
            raise UserError(f"{path} is {size} bytes long, which is more than such a file can be ({max_bytes} bytes)")
        data = file.read(max_bytes)
    return parse_json(data.removeprefix(codecs.BOM_UTF8), str(path))


def append_line(path: str | os.PathLike[str], obj: Any) -> None:
    """Append ``obj`` as one line of JSON and hand it to the system at once (converted as in :func:`write_json`).

    A line that an earlier crash left unfinished is ended first, so that it spoils no line but itself.

    Raises:
        UserError: as :func:`atomic_write`; the lines already there stay.
    """
    text = json.dumps(plain(obj), ensure_ascii=False, allow_nan=False)
    line = _utf8(text) + b"\n"
    with writing(path), open(path, "ab+", buffering=0) as file:
        if file.seek(0, os.SEEK_END) > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = b"\n" + line
        while line:
            line = line[file.write(line) or 0 :]


def read_lines(path: str | os.PathLike[str], max_bytes: int = 256 << 20) -> list[dict[str, Any]]:
    """Return the objects :func:`append_line` wrote, leaving out lines that a crash left unfinished.

    Raises:
        UserError: the file is missing, unreadable or larger than ``max_bytes``.
    """
    entries = []
    with open_regular(path) as (file, size):
        if size > max_bytes:
            raise UserError(f"{path} is {size} bytes long, which is more than such a file can be ({max_bytes} bytes)")
        for line in file.read(max_bytes).splitlines():
            with contextlib.suppress(UserError):
                entry = parse_json(line, str(path))
                if isinstance(entry, dict):
                    entries.append(entry)
    return entries


def parse_json(data: bytes, where: str, *, non_finite: bool = False) -> Any:
    """Parse strict JSON that nobody vouches for.

    Args:
        data: UTF-8 text.
        where: named in the message, usually a path.
        non_finite: whether the words NaN and Infinity are let through.

    Raises:
        UserError: not UTF-8, not JSON, a repeated key, half of a surrogate pair (unless it stands for a byte
            of a file's name, as :func:`write_json` writes it), nested deeper than ``MAX_JSON_DEPTH``, or a number that
            is not finite.
    """

    def number(text: str) -> float:
        value = float(text)
        if not non_finite and not math.isfinite(value):
            raise ValueError(f"{text if len(text) <= 40 else text[:37] + '...'} is not a finite number")
        return value

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("a key is there twice")
        return result

    try:
        obj = json.loads(data.decode(), parse_float=number, parse_constant=number, object_pairs_hook=unique)
        if depth(obj) > MAX_JSON_DEPTH:
            raise ValueError(f"nested deeper than {MAX_JSON_DEPTH}")
        json.dumps(obj, ensure_ascii=False).encode(errors="surrogateescape")
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise UserError(f"{where} is not valid JSON: {reason}") from None
    return obj


def plain(obj: Any, *, non_finite: bool = False) -> Any:
    """Return ``obj`` made of dict, list, str, int, float, bool and None only, as JSON would bring it back.

    Numpy scalars and arrays become numbers and lists, tuples become lists, paths become strings; numbers that are not
    finite become None unless ``non_finite``.

    Raises:
        TypeError: anything else, and keys that are not strings.
    """
    if isinstance(obj, np.generic | np.ndarray):
        obj = obj.tolist()
    if isinstance(obj, float):
        return float(obj) if non_finite or math.isfinite(obj) else None
    if obj is None or isinstance(obj, str | int):
        return obj
    if isinstance(obj, os.PathLike):
        return os.fspath(obj)
    if isinstance(obj, list | tuple):
        return [plain(item, non_finite=non_finite) for item in obj]
    if isinstance(obj, dict):
        for key in obj:
            if not isinstance(key, str):
                raise TypeError(f"key {key!r} is not a string and would not survive JSON")
        return {key: plain(value, non_finite=non_finite) for key, value in obj.items()}
    raise TypeError(f"{type(obj).__name__} has no JSON form")


@contextlib.contextmanager
def open_regular(path: str | os.PathLike[str]) -> Iterator[tuple[BinaryIO, int]]:
    """Open an ordinary file for reading; give it and its size in bytes.

    Raises:
        UserError: missing, unreadable, or a folder, pipe or device (which might never end).
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UserError(f"{path} is not a file")
        with open(path, "rb") as file:
            yield file, os.fstat(file.fileno()).st_size
    except OSError as error:
        raise UserError(f"cannot read {error.filename or path}: {_reason(error)}") from error


@contextlib.contextmanager
def writing(path: str | os.PathLike[str], *aliases: os.PathLike[str]) -> Iterator[None]:
    """Turn the system's errors into a UserError saying that ``path`` (in the message also for ``aliases``) failed."""
    try:
        yield
    except OSError as error:
        own = error.filename is None or os.fspath(error.filename) in {os.fspath(name) for name in (path, *aliases)}
        raise UserError(f"cannot write {path if own else error.filename}: {_reason(error)}") from error


_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and run again (what was saved before is untouched)",
    errno.EFBIG: "the file would be larger than this system allows; raise the limit or choose another disk",
    errno.EACCES: "permission denied; choose a folder that you may use",
    errno.EPERM: "the system does not allow it; choose a folder that you may use",
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.ENOENT: "there is no such file or folder; check the name",
    errno.ENOTDIR: "part of the path is a file, not a folder; check the name",
    errno.EISDIR: "it is a folder; name a file",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EIO: "the disk reports an error; choose another disk",
}
if hasattr(errno, "EDQUOT"):
    _REASONS[errno.EDQUOT] = "your disk quota is used up; free some space and run again"


def free_file(folder: Path, stem: str, suffix: str) -> Path:
    """The first of stem.suffix, stem-2.suffix, ... that does not exist in ``folder``."""
    path, number = folder / f"{stem}{suffix}", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    return path


def slug(text: object) -> str:
    """What of ``text`` is fit for a file's name."""
    return re.sub(r"[^\w.-]+", "-", str(text))[:60].strip("-.") or "scene"


def _reason(error: OSError) -> str:
    return _REASONS.get(error.errno or 0, error.strerror or str(error))


def _utf8(text: str) -> bytes:
    """JSON ``text`` as UTF-8. Bytes of a file's name that are no UTF-8, which Python carries as halves of surrogate
    pairs, are written as JSON's escape of that half, and so come back."""
    return text.encode(errors="backslashreplace")


def depth(obj: Any) -> int:
    """Levels of lists and dicts, counted without recursion."""
    depth, layer = 0, [obj]
    while layer := [item for item in layer if isinstance(item, dict | list)]:
        depth += 1
        layer = [child for item in layer for child in (item.values() if isinstance(item, dict) else item)]
    return depth


def _remove_stale(target: Path) -> None:
    """Remove what earlier, killed writers of ``target`` left beside it."""
    prefix = f".{target.name}."
    with contextlib.suppress(OSError):
        for entry in os.scandir(target.parent):
            if entry.name.startswith(prefix) and entry.name.endswith(_PARTIAL):
                with contextlib.suppress(OSError):
                    if time.time() - entry.stat().st_mtime > _STALE_SECONDS:
                        os.unlink(entry.path)


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
