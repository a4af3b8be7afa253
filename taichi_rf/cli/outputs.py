"""Standard output and error whose faults end no run: their reader may go away, and they may know few characters."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import math
import os
import select
import shutil
import sys
import time
from typing import Any, TextIO

NARROWEST = 40
"""Columns. Help that is laid out in fewer never ends: tyro loops where a column has no room for a letter."""

LAST_WORDS = 1.0
"""Seconds that an ending program waits, in all, for a reader that lives but does not read."""

_ERRORS = "taichi_rf.legible"
_POLL = 0.2  # seconds between two looks at whether the program is to end
_PIECE = getattr(select, "PIPE_BUF", 512)  # bytes that a pipe which can take any takes at once
_waits_until = math.inf
_STAND_INS = {"·": "-", "…": "...", "–": "-", "—": "-", "×": "x", "±": "+-", "²": "2", "³": "3", "│": "|", "─": "-"}


def prepare() -> None:
    """Make the standard streams of a command line safe to write to. Call it once, before anything is printed.

    A stream that is closed becomes the null device, so that no file of ours gets its number. A reader that goes away,
    a closed terminal and a full disk lose what is printed, and nothing else. A character that the encoding
    lacks is written as one like it, or escaped. Streams that someone has replaced (a test, a notebook) stay.
    """
    codecs.register_error(_ERRORS, _legible)
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        try:
            os.fstat(number)
        except OSError:
            with contextlib.suppress(OSError):
                _onto(number, os.O_RDONLY if number == 0 else os.O_WRONLY)
        if number > 0:
            stream = getattr(sys, name)
            if stream is None or stream is getattr(sys, f"__{name}__"):
                with contextlib.suppress(OSError, ValueError):
                    safe = _lasting(stream, number)
                    setattr(sys, name, safe)
                    setattr(sys, f"__{name}__", safe)  # where they differ, Taichi says that it is in a graphical shell
    columns = shutil.get_terminal_size().columns
    if columns < NARROWEST:
        os.environ["COLUMNS"] = str(NARROWEST)


def hurry() -> None:
    """From now on wait no longer than ``LAST_WORDS`` for those who read what is printed: the program is to end."""
    global _waits_until
    _waits_until = min(_waits_until, time.monotonic() + LAST_WORDS)


class _Raw(io.FileIO):
    """The bytes of a standard stream. What cannot be written is dropped."""

    def write(self, data: Any) -> int:
        data = memoryview(data).cast("B")
        length = data.nbytes
        try:
            if os.name != "nt":  # where only sockets can be waited for
                while not select.select([], [self], [], _POLL)[1]:
                    if time.monotonic() >= _waits_until:
                        return length
                data = data[:_PIECE]
            return super().write(data) or 0
        except BlockingIOError:
            return length
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.EIO, errno.EBADF):  # for good: the reader or the terminal is gone
                with contextlib.suppress(OSError):
                    _onto(self.fileno(), os.O_WRONLY)
            return length


def _lasting(stream: TextIO | None, number: int) -> TextIO:
    """A text stream to file ``number`` in the encoding of ``stream`` that never raises."""
    if stream is not None and os.name == "nt" and stream.isatty():  # a console of its own kind, which takes any text
        stream.reconfigure(errors=_ERRORS)  # type: ignore[attr-defined]
        return stream
    if stream is not None:
        with contextlib.suppress(OSError):
            stream.flush()
    encoding = stream.encoding if stream is not None else "utf-8"
    raw = _Raw(number, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors=_ERRORS, line_buffering=number == 2 or raw.isatty()
    )


def _onto(number: int, flags: int) -> None:
    """Open the null device as file ``number``."""
    null = os.open(os.devnull, flags)
    if null != number:
        os.dup2(null, number)
        os.close(null)


def _legible(error: UnicodeError) -> tuple[str, int]:
    """For :func:`codecs.register_error`: characters that an encoding lacks, as ASCII."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(_STAND_INS.get(c) or _escape(c) for c in text), error.end


def _escape(character: str) -> str:
    if "\u2800" <= character <= "\u28ff" or "\u2500" <= character <= "\u259f":  # spinners, boxes and bars
        return "#"
    return character.encode("ascii", "backslashreplace").decode()
