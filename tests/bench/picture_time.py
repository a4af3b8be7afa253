"""What a full picture takes at several levels of a model, and where the time goes. Not a test: it prints a table.

    python tests/bench/picture_time.py MODEL [LEVEL ...]     levels 16, 8, 4 and 2 by default; 800x800 pixels

MODEL is a .trf file or a run's folder, such as one of lego. The levels are rendered in turn, seven times each, from the
model's own first view, and the median counts. Then the stages of a picture of a radiance field are timed apart, in
seconds of all cores together; waiting for each costs a little in itself. Nothing else should run meanwhile.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from taichi_rf.core import backend  # noqa: E402
from taichi_rf.core.backend import ti  # noqa: E402
from taichi_rf.core.device import Vec3  # noqa: E402
from taichi_rf.kernels.pixel_rays import camera_rays  # noqa: E402
from taichi_rf.kernels.rays import Camera  # noqa: E402
from taichi_rf.motion.free_view import render_from_anywhere  # noqa: E402
from taichi_rf.motion.orbit import Orbit  # noqa: E402
from taichi_rf.rendering.pictures import CHUNK  # noqa: E402
from taichi_rf.rendering.ray_parts import bands  # noqa: E402
from taichi_rf.rendering.volume_renderer import VolumeRenderer  # noqa: E402
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
        print(f"{level:>6} {median:>11.0f} {min(took[level]):>7.0f} {100 * median / most:>11.0f} %", flush=True)
    if isinstance(model.renderer, VolumeRenderer):
        for level in levels:
            spent, samples, shaded = stages(model, camera, level)
            parts = ", ".join(f"{name} {1000 * seconds:.0f}" for name, seconds in spent.items())
            print(f"{level:>6} {parts} ms of cores; {samples / 1e6:.2f} M samples, {shaded / 1e6:.2f} M of them shaded")


def stages(model: Any, camera: Camera, level: int) -> tuple[dict[str, float], int, int]:
    """Seconds of each stage, samples, and those that are shaded; as :meth:`VolumeRenderer.forward` does them."""
    spent: dict[str, float] = {}

    def timed(name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        start = time.process_time()
        made = work(*arguments)
        ti.sync()
        spent[name] = spent.get(name, 0.0) + time.process_time() - start
        return made

    near, far = model.space.depth_range(model.box, camera.position)
    settings, renderer, get = model.settings(level, near=near, far=far), model.renderer, model.scratch.get
    scale, samples, shaded = model.distance_scale, 0, 0
    origins, directions = timed("rays", camera_rays, camera)
    for part in bands(len(origins), CHUNK):
        met = timed("march", model.march, origins[part], directions[part], settings)
        density = get("density", ti.f32, met.count)
        timed("density", model.field.density_along, met, scale, density, level)
        worth, _, _ = timed("weights", renderer.compositor.weigh, met, density, scale, settings.weight_threshold)
        colours = get("colours", Vec3, worth.count)
        for first, n in renderer._chunks(worth.count):
            timed("shading", renderer._shade, first, n, worth, met, colours, level)
        samples, shaded = samples + met.count, shaded + worth.count
    return spent, samples, shaded


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1], [int(level) for level in sys.argv[2:]] or [16, 8, 4, 2])
    else:
        print(__doc__)
