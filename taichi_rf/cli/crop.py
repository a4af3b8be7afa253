"""``python -m taichi_rf crop``: a model cut to a box, without training."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from taichi_rf.cli.console import say, waiting, warn
from taichi_rf.cli.options import Crop
from taichi_rf.core.errors import UserError
from taichi_rf.core.sizes import megabytes
from taichi_rf.storage.cropping import crop
from taichi_rf.storage.model_file import model_path, read_stored
from taichi_rf.storage.trf import write_trf
from taichi_rf.storage.world import World


def run(command: Crop) -> None:
    """Write what of the model lies in the box, at every level. UserError for what the user can mend."""
    World(box=command.box).check()
    source = model_path(command.model)
    check_output(command.output, source, overwrite=command.overwrite)
    with waiting("cropping"):
        stored = read_stored(source, command.level, lambda text: warn([text]))
        warn(stored.warnings)
        cropped = crop(stored, np.array(command.box))
        after = write_trf(command.output, cropped.stored.header, cropped.stored.chunks())[-1]
    before = stored.prefix_bytes[-1]
    low, high = (" ".join(f"{value:.4g}" for value in corner) for corner in cropped.box)
    say(f"kept {cropped.kept:,} of {cropped.occupied:,} occupied cells, from {low} to {high}")
    if "level_psnr" in stored.header["metadata"]:
        say("its PSNR was measured on the whole and is left out: evaluate measures it anew")
    say(f"{command.output}: {megabytes(after)} of {megabytes(before)} ({after / before:.0%})")


def check_output(output: Path, source: Path, *, overwrite: bool) -> None:
    """UserError where ``output`` is the model itself, or is there already and may not be replaced."""
    if output.exists():
        if os.path.samefile(source, output):
            raise UserError(f"{output} is the model itself: choose another --output")
        if not overwrite:
            raise UserError(f"{output} is there already: choose another --output, or give --overwrite")
