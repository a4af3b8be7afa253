"""Videos on disk: MP4 and animated WebP and AVIF through the ffmpeg that imageio brings along, GIF through pillow, a
frame at a time.

A video is whole or not there: it grows under a hidden name and takes its own when it is closed. Neither kind is ever
held in memory, however long it is.

imageio's own writers are not used. At its end that of MP4 waits for ffmpeg or kills it, where a window has to look in
again, and it does not give ffmpeg's exit code, which tells a full disk from a fault; that of GIF leaves the writing to
pillow, which takes all frames at once.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from taichi_rf.core.errors import UserError
from taichi_rf.core.files import replacing

KINDS = (".mp4", ".gif", ".webp", ".avif")
LARGEST_SIDE = 4096
"""Pixels a side: what players and browsers decode."""
SLOWEST, FASTEST = 1.0, 120.0
"""Frames a second."""
FASTEST_GIF = 50.0
"""Frames a second: browsers slow down a GIF whose frames last less than two hundredths of a second."""
_QUALITY = 18  # libx264's constant rate factor: 18 is told from the original by few
_FASTEST_OF = {".gif": FASTEST_GIF}
_INSTALL = (
    "{kind} is written by ffmpeg, which is not here: pip install 'taichi-rf[video]', or name a file that ends in .gif"
)
# BT.709, and said so: without being told, ffmpeg converts by BT.601 while players assume BT.709.
_BT709 = (
    "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,"
    "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709"
)
_OPTIONS: dict[str, tuple[str, ...]] = {
    ".mp4": (
        "-vf", _BT709, "-c:v", "libx264", "-crf", str(_QUALITY), "-preset", "medium", "-movflags", "+faststart",
        "-f", "mp4",
    ),
    ".webp": ("-c:v", "libwebp_anim", "-q:v", "85", "-compression_level", "4", "-loop", "0", "-f", "webp"),
    ".avif": ("-vf", _BT709, "-c:v", "libaom-av1", "-crf", "24", "-cpu-used", "6", "-loop", "0", "-f", "avif"),
}  # fmt: skip
"""What ffmpeg is told, by the ending of the file. WebP and AVIF play for ever in browsers, as GIF does."""


def check_video(path: Path, width: int, height: int, fps: float) -> None:
    """Raise what :class:`VideoWriter` would for these arguments, before any work is done; nothing is written.

    Raises:
        UserError: the name, the size or the frame rate is none that a video can have, or ffmpeg is missing.
    """
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise UserError(
            f"{path}: videos are MP4, GIF, WebP or AVIF: name a file that ends in {', '.join(KINDS[:-1])} or "
            f"{KINDS[-1]}"
        )
    for name, side in (("wide", width), ("high", height)):
        if not 1 <= side <= LARGEST_SIDE:
            raise UserError(f"{path}: a video is 1 to {LARGEST_SIDE} pixels {name}, not {side}")
    fastest = _FASTEST_OF.get(kind, FASTEST)
    if not SLOWEST <= fps <= fastest:
        raise UserError(f"{path}: {kind[1:].upper()} plays {SLOWEST:g} to {fastest:g} frames a second, not {fps:g}")
    if kind in _OPTIONS:
        _ffmpeg(kind)


class VideoWriter:
    """A video in the making. Use it as a context, or end it with :meth:`close` or :meth:`abort`.

    Args:
        path: ends in ``.mp4`` (H.264, as every player and browser takes it), ``.gif``, ``.webp`` or ``.avif`` (AV1),
            which loop for ever.
        width, height: pixels. MP4 and AVIF have even sides only: an odd one grows by a copy of its last row or column.
        fps: frames a second. GIF counts in hundredths of a second; its frames are as long as that allows on average.

    Raises:
        UserError: as :func:`check_video`, or the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], width: int, height: int, fps: float) -> None:
        self.path, self.width, self.height, self.fps = Path(path), width, height, fps
        self.frames = 0
        check_video(self.path, width, height, fps)
        self._stack = contextlib.ExitStack()
        self._encoder: _Encoder | None = None
        partial = self._stack.enter_context(replacing(path))
        with self._whole_or_nothing():
            kind = self.path.suffix.lower()
            if kind == ".gif":
                self._encoder = _Gif(partial, width, height, fps)
            else:
                self._encoder = _Ffmpeg(partial, width, height, fps, kind)

    def write(self, frame: npt.NDArray[np.uint8]) -> None:
        """Add ``frame``, (height, width, 3), row 0 the top.

        Raises:
            UserError: the disk is full, or whatever else keeps it from being written; the video is aborted.
            ValueError: the frame has another size, or the video has ended.
        """
        if frame.shape != (self.height, self.width, 3) or frame.dtype != np.uint8:
            raise ValueError(f"a frame is ({self.height}, {self.width}, 3) uint8; got {frame.shape} {frame.dtype}")
        with self._whole_or_nothing():
            self._open.write(frame)
            self.frames += 1

    def close(self, wait: float | None = None) -> bool:
        """End the video and give it its name; say whether that is done, after at most ``wait`` seconds.

        An encoder works a few frames behind. Without ``wait`` this waits for it however long it takes; otherwise call
        again until it returns True.

        Raises:
            UserError: as :meth:`write`.
            ValueError: there is no frame, or the video has ended.
        """
        if not self.frames:
            raise ValueError("a video needs a frame at least")
        with self._whole_or_nothing():
            if not self._open.finish(wait):
                return False
            self._encoder = None
            self._stack.close()
        return True

    def abort(self) -> None:
        """Leave nothing of the video; an earlier file of that name stays. Does nothing to one that has ended."""
        if self._encoder is not None:
            with contextlib.suppress(_Abort), self._whole_or_nothing():
                raise _Abort

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            self.abort()
        elif self._encoder is not None:
            self.close()

    @property
    def _open(self) -> _Encoder:
        if self._encoder is None:
            raise ValueError(f"{self.path} has ended")
        return self._encoder

    @contextlib.contextmanager
    def _whole_or_nothing(self) -> Iterator[None]:
        """A block whose failure ends the video and leaves nothing of it."""
        try:
            yield
        except BaseException:
            if self._encoder is not None:
                self._encoder.kill()
                self._encoder = None
            self._stack.__exit__(*sys.exc_info())  # removes the file, and makes a UserError of the system's errors
            raise


class _Abort(Exception):
    pass


class _Encoder(Protocol):
    """Writes a file of one kind. Every system error is an OSError with its number."""

    def write(self, frame: npt.NDArray[np.uint8]) -> None: ...
    def finish(self, wait: float | None) -> bool: ...
    def kill(self) -> None: ...


# MP4, WebP, AVIF


class _Ffmpeg:
    """ffmpeg, fed with raw frames; ``kind`` is one of ``_OPTIONS``."""

    def __init__(self, partial: Path, width: int, height: int, fps: float, kind: str) -> None:
        self._partial, self._odd = partial, (0, 0) if kind == ".webp" else (height % 2, width % 2)
        open(partial, "wb").close()  # a folder that is not there is known now, not when ffmpeg gets to it
        size = f"{width + self._odd[1]}x{height + self._odd[0]}"
        command = (
            _ffmpeg(kind), "-hide_banner", "-nostdin", "-v", "error", "-y",
            "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", repr(float(fps)), "-i", "-",
            "-an", *_OPTIONS[kind], str(partial),
        )  # fmt: skip
        self._said = tempfile.TemporaryFile()  # a file: a pipe that nobody reads would stop ffmpeg when it is full
        # A session of its own: Ctrl-C in the terminal is ours to answer, not ffmpeg's.
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._said,
                start_new_session=True, creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )  # fmt: skip
        except OSError as error:
            self._said.close()
            raise UserError(f"ffmpeg does not start: {command[0]}: {error.strerror}") from None

    @property
    def _input(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def write(self, frame: npt.NDArray[np.uint8]) -> None:
        if any(self._odd):
            frame = np.pad(frame, ((0, self._odd[0]), (0, self._odd[1]), (0, 0)), mode="edge")
        try:
            self._input.write(np.ascontiguousarray(frame).data)
        except OSError:  # it has gone, and says why
            self._close_input()
            self._process.wait()
            raise self._reason() from None

    def finish(self, wait: float | None) -> bool:
        self._close_input()
        try:
            failed = self._process.wait(wait) != 0
        except subprocess.TimeoutExpired:
            return False
        if failed:
            raise self._reason()
        self._said.close()
        with open(self._partial, "rb+") as file:
            os.fsync(file.fileno())
        return True

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._close_input()
        self._said.close()

    def _close_input(self) -> None:
        with contextlib.suppress(OSError):
            self._input.close()

    def _reason(self) -> Exception:
        """Why ffmpeg has ended: its exit code is 256 less the system's error, its last words name it."""
        self._said.seek(0)
        said = self._said.read(1 << 16).decode(errors="replace").strip()
        code = self._process.returncode
        for number in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EACCES, errno.EIO):
            if code == 256 - number or os.strerror(number) in said:
                return OSError(number, os.strerror(number), str(self._partial))
        if code < 0 and -code == _too_large():
            return OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(self._partial))
        words = said.splitlines()[-1] if said else f"it ended with {code}"
        return UserError(f"ffmpeg could not write the video: {words}")


def _too_large() -> int | None:
    """The signal that ends a program whose file grows beyond what it is allowed."""
    import signal

    return getattr(signal, "SIGXFSZ", None)


def _ffmpeg(kind: str) -> str:
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        raise UserError(_INSTALL.format(kind=kind[1:].upper())) from None


# GIF


class _Gif:
    """A GIF written frame by frame, each with a palette of its own.

    Pillow writes animations too, but from all frames at once; here it compresses single pictures, whose parts are put
    behind each other (https://www.w3.org/Graphics/GIF/spec-gif89a.txt).
    """

    def __init__(self, partial: Path, width: int, height: int, fps: float) -> None:
        self._fps, self._frames = fps, 0
        self._sides = width.to_bytes(2, "little") + height.to_bytes(2, "little")
        self._file: Any = open(partial, "wb")
        screen = self._sides + bytes((0x70, 0, 0))  # no palette for all frames
        for_ever = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"
        self._file.write(b"GIF89a" + screen + for_ever)

    def write(self, frame: npt.NDArray[np.uint8]) -> None:
        palette, size, data = _compressed(frame)
        lasts = round((self._frames + 1) * 100 / self._fps) - round(self._frames * 100 / self._fps)  # 1/100 s
        self._file.write(b"\x21\xf9\x04\x04" + lasts.to_bytes(2, "little") + b"\x00\x00")
        self._file.write(b"\x2c\x00\x00\x00\x00" + self._sides + bytes((0x80 | size,)) + palette + data)
        self._frames += 1

    def finish(self, wait: float | None) -> bool:
        self._file.write(b"\x3b")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return True

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()


def _compressed(frame: npt.NDArray[np.uint8]) -> tuple[bytes, int, bytes]:
    """The palette of ``frame``, its size as GIF writes it (2^(size + 1) colours), and the compressed pixels."""
    few = Image.fromarray(frame).quantize(256, method=Image.Quantize.FASTOCTREE)
    # The octree sorts pixels quickly and well, but gives them the colour of their corner of the cube: white would be
    # 254. The mean of the pixels is the best colour they can share.
    members = np.asarray(few).ravel()
    counts = np.maximum(np.bincount(members, minlength=256), 1)
    means = [np.bincount(members, frame[..., channel].ravel(), minlength=256) / counts for channel in range(3)]
    few.putpalette(np.rint(np.stack(means, axis=1)).astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    few.save(buffer, format="GIF", interlace=0)
    whole = buffer.getvalue()
    size = whole[10] & 7
    at = 13 + 3 * 2 ** (size + 1)
    palette = whole[13:at]
    while whole[at] == 0x21:  # extensions: two bytes and blocks, each after its length, the last of length 0
        at += 2
        while whole[at]:
            at += 1 + whole[at]
        at += 1
    return palette, size, whole[at + 10 : -1]
