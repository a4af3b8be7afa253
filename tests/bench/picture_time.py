"""What a full picture takes at several levels of a model, and where the time goes. Not a test: it prints a table.

    python tests/bench/picture_time.py MODEL [LEVEL ...]     levels 16, 8, 4 and 2 by default; 800x800 pixels

MODEL is a .trf file or a run's folder, such as one of lego. The levels are rendered in turn, seven times each, from the
model's own first view, and the median counts; the parts of the best are timed apart, which costs a little in itself.
Nothing else should run meanwhile.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from taichi_rf.core import backend  # noqa: E402
from taichi_rf.motion.free_view import render_from_anywhere  # noqa: E402
from taichi_rf.motion.orbit import Orbit  # noqa: E402
from taichi_rf.storage.model_file import load_model, model_path  # noqa: E402

SIDE, ROUNDS = 800, 7


def main(model_file: str, levels: list[int]) -> None:
    backend.init("auto")
    model = load_model(str(model_path(model_file)))
    levels = [level for level in levels if level <= model.field.num_levels]
    camera = Orbit.from_state(model.metadata.get("view"), model.world_box).camera(SIDE, SIDE)
    took: dict[int, list[float]] = {level: [] for level in levels}
    for level in levels:
        render_from_anywhere(model, camera, level=level, mode="colour")  # compiles
    for _ in range(ROUNDS):
        for level in levels:
            start = time.perf_counter()
            render_from_anywhere(model, camera, level=level, mode="colour")
            took[level].append(1000 * (time.perf_counter() - start))
    most = statistics.median(took[levels[0]])
    print(f"{'level':>6} {'ms, median':>11} {'least':>7} {'of the first':>13}")
    for level in levels:
        median = statistics.median(took[level])
        print(f"{level:>6} {median:>11.0f} {min(took[level]):>7.0f} {100 * median / most:>11.0f} %")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1], [int(level) for level in sys.argv[2:]] or [16, 8, 4, 2])
    else:
        print(__doc__)
