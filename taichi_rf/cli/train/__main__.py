"""``python -m taichi_rf.cli.train``: what ``train.py`` does, as a process that another one started and watches over.

Suites start their runs so. It stops as by Ctrl-C, saved, when its standard input ends: because whoever started it wants
that, or is gone. So no run is left behind, on any system, by a suite or a worker that was killed.
"""

from __future__ import annotations

from taichi_rf.cli import entry

if __name__ == "__main__":
    entry.interruptible()

import _thread
import os
import threading

from taichi_rf.cli.train import options as train_options
from taichi_rf.core.errors import UserError


def stop_with_input() -> None:
    """Have the main thread stopped as by Ctrl-C when standard input ends."""
    threading.Thread(target=_watch, name="standard input", daemon=True).start()


def _watch() -> None:
    try:
        while os.read(0, 4096):
            pass
    except OSError:  # closed from the beginning: nobody watches over it
        return
    _thread.interrupt_main()


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
