"""What a training keeps of its time in the window, and how soon the window answers meanwhile. Not a test.

    python tests/bench/window_share.py RUN [SECONDS]

RUN is a run that is not done and trains at least two levels; it is copied, and the copies go on: alone for SECONDS (25
by default), and as long in windows of three sizes with the slider at 85 %. Then the level slider is pressed twenty
times while the training goes on, until a picture of that level is on the screen. Nothing else should run meanwhile.
"""

from __future__ import annotations

import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.window import Watched, watched  # noqa: E402

SIZES = ((640, 360), (1280, 720), (1920, 1080))
PRESSES = 20
SETTLED = 3.0  # seconds after the first step


def main(run: Path, seconds: float) -> None:
    alone = float(output("alone", run, seconds))
    print(f"alone: {alone:.0f} steps in {seconds:.0f} s", flush=True)
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(shutil.copytree(run, Path(folder) / "run"))
            with watched(ROOT / "run_viewer.py", copy, size=size) as viewer:
                steps, pictures = trained(viewer, seconds)
                answers = pressed(viewer)
        print(
            f"{size[0]}x{size[1]}: {steps:.1f} steps, {100 * steps / alone:.0f} % of those alone; {pictures:.1f} "
            f"pictures a second; a press on the slider is answered after {statistics.median(answers):.0f} ms (median), "
            f"{max(answers):.0f} ms at most",
            flush=True,
        )


def trained(viewer: Watched, seconds: float) -> tuple[float, float]:
    """Steps in so many seconds, between two steps' ends and scaled, and pictures a second."""
    begun = viewer.wait(lambda state: state["training"] and state["training"]["loss"] is not None)
    viewer.wait(lambda state: state["seconds"] > begun["seconds"] + SETTLED)
    here = viewer.look()["training"]["iteration"]
    first = viewer.wait(lambda state: state["training"]["iteration"] > here, begun["seconds"] + SETTLED)
    viewer.wait(lambda state: state["seconds"] > first["seconds"] + seconds)
    states = [s for s in viewer.states if first["seconds"] <= s["seconds"] <= first["seconds"] + seconds]
    last = next(s for s in states if s["training"]["iteration"] == states[-1]["training"]["iteration"])
    steps = last["training"]["iteration"] - first["training"]["iteration"]
    spent = max(last["seconds"] - first["seconds"], 1e-6)
    return steps * seconds / spent, (states[-1]["frame"] - states[0]["frame"]) / seconds


def pressed(viewer: Watched) -> list[float]:
    """Milliseconds from each press to the picture on the screen."""
    order, took = random.Random(0), []
    for _ in range(PRESSES):
        state = viewer.look()
        highest, now = state["training"]["level"], state["level"]
        if highest < 2:
            raise SystemExit("the run trains one level: there is nothing to slide to")
        level = order.choice([n for n in range(1, highest + 1) if n != now])
        viewer.hand("mousemove", *viewer.place(level))
        time.sleep(order.uniform(0.5, 1.0))
        at = viewer.press()
        state = viewer.wait(lambda state, level=level: state["shown"] == level, at)
        took.append(1000 * (state["shown_at"] - at))
        viewer.release()
        time.sleep(order.uniform(0.5, 1.0))
    return took


def output(*arguments: object) -> str:
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]


def alone(run: Path, seconds: float) -> None:
    """Print how many steps the run's own training takes in so many seconds."""
    import scenes
    from taichi_rf.core import backend
    from taichi_rf.training.run import RunFolder
    from taichi_rf.training.trainer import Trainer

    recipe = RunFolder(run).recipe()
    backend.init(recipe.arch)
    scene = scenes.load(recipe.source, downscale=recipe.downscale, views=recipe.views, background=recipe.background)
    trainer = Trainer.resume(run, scene, recipe.config)
    trainer.warm_up()
    for _ in range(3):
        trainer.step()
    first, start = trainer.iteration, time.perf_counter()
    while time.perf_counter() < start + seconds:
        trainer.step()
    print((trainer.iteration - first) * seconds / (time.perf_counter() - start))


if __name__ == "__main__":
    if sys.argv[1:2] == ["alone"]:
        alone(Path(sys.argv[2]), float(sys.argv[3]))
    elif len(sys.argv) in (2, 3):
        main(Path(sys.argv[1]).resolve(), float(sys.argv[2]) if len(sys.argv) == 3 else 25.0)
    else:
        print(__doc__)
