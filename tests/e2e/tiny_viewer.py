"""``run_viewer.py`` with a quick preset of a tiny model.

TINY_ITERATIONS: how many steps it trains; seconds' worth by default. TINY_SAVE_SECONDS: training time between two
checkpoints.
"""

from __future__ import annotations

import os

import run_viewer
from taichi_rf.training import run
from taichi_rf.training.configs import slimmerf, vqad
from tests.tiny import TINY, TINY_OCTREE

if __name__ == "__main__":
    iterations = int(os.environ.get("TINY_ITERATIONS", 100_000))
    slimmerf.PRESETS["quick"] = TINY.changed(preset="quick", iterations=iterations)
    vqad.PRESETS["quick"] = TINY_OCTREE.changed(iterations=iterations)
    run.SAVE_SECONDS = float(os.environ.get("TINY_SAVE_SECONDS", run.SAVE_SECONDS))
    run_viewer.main()
