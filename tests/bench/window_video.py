"""How long the video of a turntable takes in the window while nobody touches it. Not a test.

    python tests/bench/window_video.py MODEL     six seconds, 30 frames a second, 1280x720, as the key t begins it

MODEL is a .trf file or a run's folder, such as one of lego. Prints the seconds from the key to the whole video, and how
far the time left that the window tells was off on the way. Nothing else should run meanwhile.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from taichi_rf.storage.model_file import model_path  # noqa: E402
from tests.bench import window  # noqa: E402

LONGEST = 1800.0  # seconds
TOLD_FROM, TOLD_UNTIL = 3.0, 5.0  # seconds after the beginning and before the end


def main(model: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(model_path(model), Path(folder) / "model.trf"))
        with window.watched(ROOT / "run_viewer.py", copy) as viewer:
            viewer.wait(lambda state: state["complete"])
            begun = viewer.hand("key", "t")
            window.PATIENCE = LONGEST
            viewer.wait(lambda state: state["recording"], begun)
            time.sleep(1.0)
            over = viewer.wait(lambda state: not state["recording"], viewer.look()["seconds"])["seconds"]
            told = [
                (state["seconds"], state["recording"]["seconds_left"])
                for state in viewer.states
                if state["seconds"] > begun and state["recording"]
            ]
            print(viewer.look()["said"])
    print(f"{over - begun:.0f} s in the window")
    wrong = [
        (abs(left / (over - at) - 1) if left is not None else 1.0, at - begun)
        for at, left in told
        if TOLD_FROM <= at - begun and at <= over - TOLD_UNTIL
    ]
    within = sum(error <= 0.2 for error, _ in wrong) / max(len(wrong), 1)
    worst, at = max(wrong, default=(0.0, 0.0))
    print(
        f"time left from second {TOLD_FROM:.0f} on: within 20 % in {100 * within:.0f} % of the pictures, "
        f"{100 * worst:.0f} % off at worst, after {at:.0f} s"
    )


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        print(__doc__)
