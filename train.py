"""Train a slimmable radiance field: a scene in, a model and a report out.

python train.py lantern                                          a built-in scene, a few minutes on two CPU cores
python train.py data/lego --downscale 2 --max-seconds 300 --out runs/lego
python train.py data/lego --preset paper --arch cuda
python train.py data/lego --method vqad --bits 4                 levels of detail in place of ranks, in kilobytes
python train.py --resume runs/lego                               go on after an interruption
python train.py --resume runs/lego --more 2500                   make a finished run longer
python train.py --from runs/lego --preset balanced               begin a run with a model
"""

from __future__ import annotations

from taichi_rf.cli import entry

if __name__ == "__main__" or entry.started_as("taichi-rf-train"):
    entry.interruptible()

import functools

from taichi_rf.cli.train import options as train_options
from taichi_rf.core.errors import UserError

# What needs Taichi is imported inside functions, so that --help and wrong options are answered at once.


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every way out is an exit code."""
    entry.run("train.py", functools.partial(train_options.parse, arguments), train)


def train(options: train_options.TrainOptions, stopper: entry.Stopper) -> None:
    """Train, evaluate and report, as ``options`` ask.

    Raises:
        UserError: something is wrong with the options, the scene, the folder or the machine.
        FloatingPointError: the loss is no longer a number.
        entry.Stopped: someone wanted to stop; what has been trained is saved.
    """
    train_options.check(options)
    watch = None
    if options.view:
        from viewer.desktop.display import why_no_window

        if reason := why_no_window():
            raise UserError(reason)
        from viewer.desktop import train_window

        watch = functools.partial(train_window.watch, arch=options.arch or "auto", stopper=stopper)
    from taichi_rf.cli.train import run as train_run

    train_run.train(options, stopper, watch)


if __name__ == "__main__":
    main()
