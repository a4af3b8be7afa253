"""A model's file in a bucket, read through fsspec, an optional extra."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

from taichi_rf.core.errors import UserError
from taichi_rf.streaming.source import Broken, Identity, Opened, Refused

BUCKETS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
"""Schemes that fsspec is asked for, and the package that it needs for them."""

_PORTION = 1 << 16  # bytes asked of a bucket at first; each request costs a round trip, so that later ones are larger
_LARGEST_PORTION = 1 << 20


class Bucket:
    """A file in a bucket, by fsspec and the package that it has for this kind."""

    def __init__(self, address: str, scheme: str) -> None:
        self.address, self.name, self._package = address, address.split("/")[2], BUCKETS[scheme]
        try:
            self._core: Any = importlib.import_module("fsspec.core")
        except ImportError:
            raise UserError(f"{address} needs fsspec: pip install 'taichi-rf[remote]' {self._package}") from None

    def open(self, offset: int, known: Identity | None) -> Opened:
        """Open the file at byte ``offset``."""
        try:
            files, path = self._core.url_to_fs(self.address)
            files.invalidate_cache()  # or it would not see that the file was changed
            info = files.info(path)
            file = files.open(path, "rb", cache_type="none")
            file.seek(offset)
        except ImportError as error:
            raise UserError(f"{self.address} needs {self._package}: pip install {self._package} ({error})") from None
        except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
            raise Refused(f"{type(error).__name__}: {error}") from None
        except Exception as error:  # each kind has errors of its own
            raise Broken(f"{type(error).__name__}: {error}") from None
        tag = next(
            (str(info[key]) for key in ("ETag", "etag", "generation", "LastModified", "mtime") if info.get(key)), None
        )
        size = info.get("size")
        return _OpenedBucket(file, Identity(size if isinstance(size, int) else None, tag), offset)

    def close(self) -> None:
        """Nothing is kept open."""


class _OpenedBucket:
    def __init__(self, file: Any, identity: Identity, begin: int) -> None:
        self._file, self.identity, self.begin = file, identity, begin
        self._ready, self._portion = b"", _PORTION

    def read(self, count: int) -> bytes:
        if not self._ready:
            try:
                self._ready = bytes(self._file.read(self._portion))
            except Exception as error:  # each kind has errors of its own
                raise Broken(f"{type(error).__name__}: {error}") from None
            self._portion = min(2 * self._portion, _LARGEST_PORTION)
        data, self._ready = self._ready[:count], self._ready[count:]
        return data

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._file.close()
