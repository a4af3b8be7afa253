"""What ``python -m taichi_rf bench`` measures: every stage of a training step, beside what the machine can do.

Products are put beside numpy's BLAS and memory-bound stages beside a plain copy, because only ratios within one run
mean anything on a shared machine. Times are the best of several repetitions; a whole step is the median of many.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK
from taichi_rf.fields.base import GridField, Stage
from taichi_rf.rendering.decoders.perceptrons import MLP
from taichi_rf.rendering.pictures import render
from taichi_rf.rendering.volume_renderer import VolumeRenderer
from taichi_rf.training.samplers.pixels import PixelSampler
from taichi_rf.training.strategies.vm import VMStrategy
from taichi_rf.training.trainer import Trainer

ROWS = 1 << 15
SIDE = 800  # pixels of the picture that is rendered
TIMED_STEPS = 21
REPEATS = 7


def adopt(ours: Trainer, theirs: Trainer) -> None:
    """Take over another training's geometry: factors, box, occupancy and chosen rays, not decoder or optimiser."""
    strategy, sampler = cast(VMStrategy, ours.strategy), cast(PixelSampler, ours.sampler)
    strategy.adopt(cast(VMStrategy, theirs.strategy), ours.level)
    ours.milestones.done = theirs.milestones.done
    sampler.keep(cast(PixelSampler, theirs.sampler).pixels)


def next_batch(trainer: Trainer) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of the configuration's size; see :meth:`PixelSampler.next_batch`."""
    sampler = cast(PixelSampler, trainer.sampler)
    return sampler.next_batch(sampler.batch_size(None), trainer.iteration)[:4]


def best_of(run: Callable[[], Any], repeats: int | None = None) -> float:
    """Seconds of the fastest of several runs, after one that compiles."""
    run()
    ti.sync()
    best = float("inf")
    for _ in range(repeats or REPEATS):
        started = time.perf_counter()
        run()
        ti.sync()
        best = min(best, time.perf_counter() - started)
    return best


def products() -> dict[str, float]:
    """The two hidden layers of the paper's decoder against numpy on the same shapes, interleaved in time."""
    rng = np.random.default_rng(0)
    mlp = MLP(rows=ROWS)
    x = rng.standard_normal((ROWS, 150), dtype=np.float32)
    h = rng.standard_normal((ROWS, 128), dtype=np.float32)
    w1, w2 = (rng.standard_normal((k, 128), dtype=np.float32) for k in (150, 128))
    for name, values in (("x", np.pad(x, ((0, 0), (0, 10)))), ("h1", h), ("d_h1", h), ("d_h2", h)):
        getattr(mlp, name).from_numpy(values.reshape(ROWS, -1, BLOCK))

    def forward() -> None:
        mlp.first.forward(ROWS, mlp.x, mlp.h1, relu=True)
        mlp.second.forward(ROWS, mlp.h1, mlp.h2, relu=True)

    def adjoint() -> None:
        mlp.second.adjoint(ROWS, mlp.h1, mlp.d_h2, mlp.d_h1, mlp.gradient, relu=True)
        mlp.first.adjoint(ROWS, mlp.x, mlp.d_h1, mlp.d_x, mlp.gradient)

    flops = 2 * ROWS * (150 + 128) * 128 / 1e9
    times: dict[str, float] = {}
    runs: dict[str, Callable[[], Any]] = {
        "blas": lambda: (x @ w1, h @ w2),
        "mlp_forward": forward,
        "mlp_adjoint": adjoint,
        "blas_adjoint": lambda: (h @ w2.T, h.T @ h, h @ w1.T, x.T @ h),
    }
    for _ in range(3):
        for name, run in runs.items():
            times[name] = min(times.get(name, float("inf")), best_of(run, 3))
    return {f"{n}_gflops": flops * (2 if "adjoint" in n else 1) / seconds for n, seconds in times.items()}


@ti.kernel
def _copy(source: ti.template(), target: ti.template()):
    for i in source:
        target[i] = source[i]


def copy_rate() -> float:
    """Gigabytes a second that a kernel reads and writes, added up."""
    texels = 1 << 20
    source, target = (ti.Vector.field(BLOCK, ti.f32, texels) for _ in range(2))
    return 2 * texels * BLOCK * 4 / best_of(lambda: _copy(source, target)) / 1e9


def _stage(seconds: float, items: int, unit: str, *, flops: float = 0, size: float = 0) -> dict[str, Any]:
    entry: dict[str, Any] = {"seconds": seconds, "items": items, "unit": unit, "rate": items / seconds}
    if flops:
        entry["gflops"] = flops / seconds / 1e9
    if size:
        entry["gigabytes_per_second"] = size / seconds / 1e9
    return entry


def renderer_of(trainer: Trainer) -> VolumeRenderer:
    """That of the model in training, which is a radiance field here."""
    renderer = trainer.model.renderer
    assert isinstance(renderer, VolumeRenderer)
    return renderer


def field_stages(trainer: Trainer) -> dict[str, Any]:
    """Each stage alone, repeated on one batch of the settled model."""
    model, field = trainer.model, trainer.model.field
    origins, directions, _, background = next_batch(trainer)
    level, renderer = trainer.level, renderer_of(trainer)
    settings, compositor = model.settings(level), renderer.compositor
    batch = renderer.forward(origins, directions, settings, background=background, seed=0)
    samples, shaded = batch.samples, batch.shaded
    n, m = samples.count, min(shaded.count, field.rows)
    gradient = model.scratch.get("bench gradient", ti.f32, n)
    weigh = best_of(lambda: compositor.weigh(samples, batch.density, model.distance_scale, settings.weight_threshold))
    march = best_of(lambda: model.march(origins, directions, settings, seed=0))
    stages = {"march": _stage(march, samples.rays, "rays")}
    stages |= _measured(field.forward_stages(n, samples.positions, batch.density, m, shaded.positions, level))
    along = best_of(lambda: field.density_along(samples, model.distance_scale, batch.density, level))
    stages["density until opaque"] = _stage(along, n, "samples")  # what a step does; "density" is all of them
    stages["volume"] = _stage(weigh, n, "samples")
    stages |= decoder_stages(trainer)

    def volume_adjoint() -> Any:
        return compositor.adjoint(samples, shaded, batch.density, batch.colours, batch.background, batch.pixels)[0]

    stages["volume adjoint"] = _stage(best_of(volume_adjoint), n, "samples")
    d_features = model.decoder.adjoint(
        m, 0, field.features(m, level), shaded.rays, samples.directions, batch.colours, volume_adjoint()
    )
    stages |= _measured(
        field.backward_stages(n, samples.positions, batch.density, gradient, m, shaded.positions, d_features, level)
    )
    if isinstance(field, GridField):
        refresh = best_of(lambda: trainer.strategy.refresh(level))
        stages["occupancy"] = _stage(refresh, int(np.prod(field.resolution)), "nodes")
        texels = sum(p.active for p in field.parameters(level)[:1])
        update = best_of(lambda: trainer.optimiser.adam.step(model.parameters(level), 0.0))
        stages["Adam"] = _stage(update, texels * BLOCK, "numbers", size=8.0 * texels * BLOCK * 4)
    for parameters in model.parameters():
        parameters.clear()
    return stages


def _measured(stages: list[Stage]) -> dict[str, Any]:
    """What the field says its stages are, with the times they take."""
    found = {}
    for stage in stages:
        seconds = best_of(stage.run)
        if stage.apart is not None:
            seconds = max(seconds - best_of(stage.apart), 1e-9)
        found[stage.name] = _stage(seconds, stage.items, stage.unit, flops=stage.operations, size=stage.size)
    return found


PRODUCTS = {"sh": 27, "mlp": 150 * 128 + 128 * 128 + 128 * 3, "small": 24 * 64 + 64 * 64 + 64 * 3}
"""Multiplications of a decoder for one sample."""


def decoder_stages(trainer: Trainer) -> dict[str, Any]:
    """The decoder of ``trainer`` alone, forward and adjoint, on one batch of the settled model."""
    model, field, name = trainer.model, trainer.model.field, trainer.config.decoder
    origins, directions, _, background = next_batch(trainer)
    renderer = renderer_of(trainer)
    batch = renderer.forward(origins, directions, model.settings(trainer.level), background=background, seed=0)
    samples, shaded = batch.samples, batch.shaded
    m = min(shaded.count, field.rows)
    features = field.features(m, trainer.level)
    d_colours, _ = renderer.compositor.adjoint(
        samples, shaded, batch.density, batch.colours, batch.background, batch.pixels
    )
    arguments = (m, 0, features, shaded.rays, samples.directions, batch.colours)
    forward = best_of(lambda: model.decoder.forward(*arguments))
    adjoint = best_of(lambda: model.decoder.adjoint(*arguments, d_colours))
    return {
        f"decoder {name}": _stage(forward, m, "samples", flops=2.0 * PRODUCTS[name] * m),
        f"decoder {name} adjoint": _stage(adjoint, m, "samples", flops=4.0 * PRODUCTS[name] * m),
    }


def training(trainer: Trainer, log: Callable[[str], None]) -> dict[str, float]:
    """Whole training steps: the median of ``TIMED_STEPS``, in seconds and rays a second."""
    trainer.step()
    steps = [trainer.step() for _ in range(TIMED_STEPS)]
    seconds = statistics.median(s.seconds for s in steps)
    origins, directions, _, background = next_batch(trainer)
    settings = trainer.model.settings(trainer.level)
    batch = renderer_of(trainer).forward(origins, directions, settings, background=background, seed=0)
    rate = steps[0].rays / seconds
    log(f"training with the {trainer.config.decoder} decoder: {rate:,.0f} rays/s")
    return {
        "step_seconds": seconds,
        "rays_per_second": rate,
        "samples_per_ray": batch.samples.count / batch.samples.rays,
        "shaded_per_ray": batch.shaded.count / batch.samples.rays,
    }


def rendering(trainer: Trainer, log: Callable[[str], None]) -> dict[str, float]:
    """One picture of ``SIDE`` x ``SIDE`` pixels: seconds, and rays a second."""
    camera = trainer.scene.train.cameras[0].resized(SIDE, SIDE)
    seconds = best_of(lambda: render(trainer.model, camera), 3)
    log(f"rendering: {SIDE * SIDE / seconds:,.0f} rays/s")
    return {"seconds_800x800": seconds, "rays_per_second": SIDE * SIDE / seconds}


_COLD = """
import time; started = time.perf_counter()
from taichi_rf.core import backend; backend.init({arch!r})
from taichi_rf.cli.measure.coldstart import first_step
first_step({method!r})
print(time.perf_counter() - started)
"""


def cold_start(arch: str, method: str) -> dict[str, float]:
    """Seconds from starting Python to the end of the first training step: with nothing compiled yet, and after that."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TI_OFFLINE_CACHE_FILE_PATH": folder}
        times = []
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-c", _COLD.format(arch=arch, method=method)],
                env=environment,
                cwd=Path(__file__).parents[2],
                capture_output=True,
                text=True,
                check=True,
            )
            times.append(float(done.stdout.split()[-1]))
    return {"empty_cache_seconds": times[0], "warm_cache_seconds": times[1]}
