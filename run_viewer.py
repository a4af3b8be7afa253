"""Look at a trained model in a window, or make a picture or a video of it without one.

python run_viewer.py                                       choose a scene and train it
python run_viewer.py runs/lego
python run_viewer.py runs/lego/model.trf --rank 4
python run_viewer.py runs/lego/model.trf --size 1MB        the highest rank that fits
python run_viewer.py runs/lego --headless --screenshot out.png --level 4
python run_viewer.py runs/lego --headless --turntable turn.mp4 --sweep
python run_viewer.py runs/lego --headless --path camera_path.json --output flight.mp4
python run_viewer.py https://host/model.trf                shown as soon as its first level has come
python run_viewer.py runs/lego/model.trf --bandwidth 1M    as it would be over a link of 1 Mbit/s
"""

from __future__ import annotations

from taichi_rf.cli import entry

if __name__ == "__main__" or entry.started_as("taichi-rf-viewer"):
    entry.interruptible()

from taichi_rf.cli import command_line
from taichi_rf.core.errors import UserError
from viewer.app.options import Options

# What needs Taichi is imported inside functions, so that --help and wrong options are answered at once.

PROGRAM = "run_viewer.py"


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every way out is an exit code."""

    def parse() -> Options:
        options: Options = command_line.parse(Options, PROGRAM, arguments)
        return options

    entry.run(PROGRAM, parse, view)


def view(options: Options, stopper: entry.Stopper) -> None:
    """Open the window or the server, or write the picture or the video.

    Raises:
        UserError: the model cannot be read, the options ask for what it does not have, or no window can open.
        entry.Stopped: someone wanted to stop; what has been trained is saved.
    """
    options.check()
    if options.without_window:
        from taichi_rf.cli.pictures import write

        write(options.pictures(), PROGRAM)
        return
    if options.web:
        from viewer.web.front_end import show as front_end
    else:
        from viewer.desktop.display import why_no_window

        if reason := why_no_window():  # before a model is read, which may take long
            raise UserError(reason)
        from viewer.desktop.front_end import show as front_end
    from viewer.app.showing import show

    show(options, stopper, front_end)


if __name__ == "__main__":
    main()
