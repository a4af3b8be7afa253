"""Render a built-in scene into the cache: ``python -m scenes lantern --downscale 2``.

Writes a line "images done, images in all" for each image. The viewer has it done in a process of its own, so that its
window goes on meanwhile.
"""

from __future__ import annotations

import argparse
import sys

from scenes.builtin import registry as builtin
from taichi_rf.core.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m scenes", description="Render a built-in scene into the cache.")
    parser.add_argument("name", help=", ".join(builtin.NAMES))
    parser.add_argument("--downscale", type=int, default=1, help="average this many pixels a side into one")
    parser.add_argument("--views", type=int, help="training views")
    parser.add_argument("--test-views", type=int, help="test views")
    options = parser.parse_args(arguments)
    try:
        builtin.load(
            options.name,
            downscale=options.downscale,
            views=options.views,
            max_test_views=options.test_views,
            progress=_show,
        )
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except (BrokenPipeError, KeyboardInterrupt):  # whoever wanted it has gone
        return 130
    return 0


def _show(done: int, total: int) -> None:
    sys.stdout.write(f"{done} {total}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
