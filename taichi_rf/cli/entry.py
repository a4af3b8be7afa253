"""Runs a command line: every way out is an exit code, and what the user can mend is printed as one plain line.

0 done, 2 the user can mend it, 130 Ctrl-C (128 + the signal's number for others). A reader of the output that goes away
(``| head``) changes nothing: the work goes on and ends with its own code.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn, TypeVar

from taichi_rf.cli import outputs
from taichi_rf.core.errors import UserError
from taichi_rf.core.memory import MORE_MEMORY, lacks_memory
from taichi_rf.core.plain_text import visible

Options = TypeVar("Options")


SAME_WISH = 1.0
"""Seconds within which a second signal means the same as the first."""

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Stopped(KeyboardInterrupt):
    """Someone wants the program to end: Ctrl-C, or a signal."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.number = number

    @property
    def name(self) -> str:
        """What a person calls the signal."""
        return "Ctrl-C" if self.number == signal.SIGINT else signal.Signals(self.number).name


class Stopper:
    """Turns Ctrl-C, SIGTERM and SIGHUP into :class:`Stopped`, and never in the middle of a :meth:`step`.

    What comes during a step is raised at its end, and at that of the outermost where steps are nested. Another one
    within ``SAME_WISH`` seconds changes nothing: a closing terminal sends SIGHUP twice, and a wrapper passes on the
    Ctrl-C that its child had as well. A later one is raised at once.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._inside, self._pending = 0, 0
        self._asked_at = -math.inf

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
        repeated = self._clock() - self._asked_at < SAME_WISH
        if repeated:
            return
        self._asked_at = self._clock()
        outputs.hurry()
        if self._inside and not self._pending:
            self._pending = number
            return
        self._inside, self._pending = 0, 0
        raise Stopped(number)


def started_as(command: str) -> bool:
    """Whether this process is the installed ``command``, whose script imports a module rather than running it."""
    return os.path.splitext(os.path.basename(sys.argv[0]))[0] == command


def interruptible() -> None:
    """Have Ctrl-C end the process at once and without a traceback, until :func:`run` takes over.

    For the first lines of a script: the imports below them take longer than somebody takes to change their mind.
    """
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(130))


def run(program: str, parse: Callable[[], Options], work: Callable[[Options, Stopper], Any]) -> NoReturn:
    """Do ``work`` with the options that ``parse`` reads, and exit.

    Errors of the user's making are printed as ``program: message`` without a traceback.
    """
    outputs.prepare()
    atexit.register(_ignore_signals)  # the last thing that is done, as it is the first that is registered
    _warn_plainly(program)
    stopper = Stopper()
    stopper.install()
    try:
        code = _outcome(program, parse, work, stopper)
    except KeyboardInterrupt as stopped:  # one more, while the outcome was being said
        code = 128 + getattr(stopped, "number", signal.SIGINT)
    for number in SIGNALS:  # everything is done but for what Python does at its end: that may be cut short
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, frame: os._exit(code))
    sys.exit(code)


def _outcome(
    program: str, parse: Callable[[], Options], work: Callable[[Options, Stopper], Any], stopper: Stopper
) -> int:
    """Do ``work``; the exit code."""
    try:
        work(parse(), stopper)
    except Stopped as stopped:
        if str(stopped):
            complain(program, str(stopped))
        return 128 + stopped.number
    except KeyboardInterrupt:
        return 130
    except SystemExit as left:  # --help, and options that do not exist
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    except (UserError, FloatingPointError) as error:
        complain(program, str(error))
        return 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        complain(program, f"{where}{error.strerror or error}")
        return 2
    except (MemoryError, RuntimeError, ImportError) as error:
        if not lacks_memory(error):
            raise
        complain(program, f"the memory does not suffice ({_first_line(error)}): {MORE_MEMORY}")
        return 2
    return 0


def _ignore_signals() -> None:
    """Python gives signals back their first meaning before Taichi takes itself down, which takes a moment: one that
    comes then would have a program that is done end as a killed one."""
    for number in SIGNALS:
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.signal(number, signal.SIG_IGN)


def _warn_plainly(program: str) -> None:
    """Have our own warnings printed as a line of the program rather than with a place in its source."""
    at_length = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if category is UserWarning:
            complain(program, f"warning: {message}")
        else:
            at_length(message, category, *where, **more)

    warnings.showwarning = show


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def complain(program: str, message: str) -> None:
    """Print one line to standard error."""
    with contextlib.suppress(OSError, ValueError):  # nobody is left to complain to
        sys.stderr.write(f"{program}: {visible(message)}\n")
