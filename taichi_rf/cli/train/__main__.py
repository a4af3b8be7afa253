"""``python -m taichi_rf.cli.train``: what ``train.py`` does, as a process that another one started and watches over.

Suites start their runs so. It stops as by Ctrl-C, saved, when its standard input ends: because whoever started it wants
that, or is gone. So no run is left behind, on any system, by a suite or a worker that was killed: not even one that
hangs, for after ``LAST`` seconds it ends as it is.
"""

from __future__ import annotations

from taichi_rf.cli import entry

if __name__ == "__main__":
    entry.interruptible()

import _thread
import os
import signal
import threading
import time

from taichi_rf.cli.train import options as train_options
from taichi_rf.core.errors import UserError

LAST = 100.0
"""Seconds from the end of the input to that of the process, if it does not end by itself: a step, or compiling a
kernel, is not torn apart, and then it saves. Whoever goes on with the run waits a little longer for it."""


def stop_with_input() -> None:
    """Have the main thread stopped as by Ctrl-C when standard input ends, and ``LAST`` seconds later the process."""
    threading.Thread(target=_watch, name="standard input", daemon=True).start()


def _watch() -> None:
    try:
        while os.read(0, 4096):
            pass
    except OSError:  # closed from the beginning: nobody watches over it
        return
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()  # does not wake a thread that sleeps or waits
    time.sleep(LAST)
    entry.complain("train.py", f"it was to stop and did not within {LAST:g} s: the last checkpoint is what is there")
    os._exit(130)


def work(options: train_options.TrainOptions, stopper: entry.Stopper) -> None:
    """Train as ``options`` ask, see ``train.py``."""
    train_options.check(options)
    if options.view:
        raise UserError("--view does not go with a run that another process watches over")
    from taichi_rf.cli.train import run as train_run

    train_run.train(options, stopper)


if __name__ == "__main__":
    stop_with_input()
    entry.run("train.py", train_options.parse, work)
