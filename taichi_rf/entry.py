"""How a command line ends: every way out is an exit code, and what the user can mend is one plain line.

0 done, 2 the user can mend it, 130 Ctrl-C (128 + the signal's number for others).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

from taichi_rf.errors import UserError

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Stopped(KeyboardInterrupt):
    """Someone wants the program to end: Ctrl-C, or a signal."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.number = number

    @property
    def name(self) -> str:
        return "Ctrl-C" if self.number == signal.SIGINT else signal.Signals(self.number).name


class Stopper:
    """Turns Ctrl-C, SIGTERM and SIGHUP into :class:`Stopped`, and never in the middle of a :meth:`step`.

    What comes during a step is raised at its end, and at that of the outermost where steps are nested; a second one is
    raised at once.
    """

    def __init__(self) -> None:
        self._inside, self._pending = 0, 0

    def install(self) -> None:
        """Take over the signals. One that was being ignored (nohup) stays so, except Ctrl-C."""
        for number in SIGNALS:
            if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._signalled)

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """A block that is not to be torn apart."""
        self._inside += 1
        try:
            yield
        finally:
            self._inside = max(self._inside - 1, 0)
        if self._pending and not self._inside:
            number, self._pending = self._pending, 0
            raise Stopped(number)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if self._inside and not self._pending:
            self._pending = number
            return
        self._inside, self._pending = 0, 0
        raise Stopped(number)


def run(program: str, work: Callable[[Stopper], Any]) -> NoReturn:
    """Do ``work`` and exit; errors of the user's making are printed as ``program: message`` without a traceback."""
    stopper = Stopper()
    stopper.install()
    code = 0
    try:
        work(stopper)
        sys.stdout.flush()
    except Stopped as stopped:
        if str(stopped):
            _complain(program, str(stopped))
        code = 128 + stopped.number
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (UserError, FloatingPointError) as error:
        _complain(program, str(error))
        code = 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _complain(program, f"{where}{error.strerror or error}")
        code = 2
    except MemoryError as error:
        _complain(
            program, f"the memory does not suffice{f' ({error})' if str(error) else ''}: try --downscale or --views"
        )
        code = 2
    sys.exit(code)


def _complain(program: str, message: str) -> None:
    sys.stderr.write(f"{program}: {message}\n")
