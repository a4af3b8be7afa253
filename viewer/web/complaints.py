"""Prints a line on stderr for the first fault of each kind with a page, and nothing for those that follow.

Whoever can reach the server can cause faults as often as they like, and must not fill a disk with lines about them.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading

_MOST_KINDS = 20
_LONGEST = 300  # characters of a line


class Complaints:
    """Prints each kind of fault once."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, what: str, error: BaseException | None = None) -> None:
        """Say ``what`` went wrong, and why, unless a line of this kind has been said. Any thread may call this."""
        kind = f"{what} ({type(error).__name__})" if error is not None else what
        with self._lock:
            if kind in self._said or len(self._said) >= _MOST_KINDS:
                return
            self._said.add(kind)
            last = len(self._said) == _MOST_KINDS
        line = f"{kind}: {error}" if error is not None and str(error) else kind
        # What an error says may come from a page: it must not move a terminal's cursor or make lines of its own.
        line = line[:_LONGEST].encode("unicode_escape").decode("ascii")
        more = "no more troubles with pages are told" if last else "more of this kind is not told"
        with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody reads stderr any more, or there is none
            sys.stderr.write(f"warning: {line} ({more})\n")
            sys.stderr.flush()


class Handler(logging.Handler):
    """Passes what libraries log on to ``complain``."""

    def __init__(self, complain: Complaints) -> None:
        super().__init__(logging.WARNING)
        self._complain = complain

    def emit(self, record: logging.LogRecord) -> None:
        """Complain of what ``record`` reports."""
        error = record.exc_info[1] if record.exc_info else None
        if record.msg != "opening handshake failed":  # somebody knocked and left
            self._complain(f"a page's connection: {record.msg}", error)


class Once(logging.Filter):
    """Lets the first record of each kind through."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether ``record`` is the first of its kind."""
        new = record.msg not in self._seen and len(self._seen) < _MOST_KINDS
        if new:
            self._seen.add(record.msg)
        return new
