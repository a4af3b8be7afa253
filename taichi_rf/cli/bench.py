"""How fast is it here: every stage of a training step, beside what the machine can do, measured in one run.

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
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from taichi_rf.core import backend
from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK
from taichi_rf.fields.base import GridField, Stage
from taichi_rf.rendering.decoders import MLP
from taichi_rf.rendering.pictures import render
from taichi_rf.training.presets import QUICK, VQAD_QUICK, Config
from taichi_rf.training.trainer import Trainer

SETTLE_STEPS = 600
"""Steps after which the occupancy of a scene at 128^3 hardly changes any more."""

ROWS = 1 << 15
SIDE = 800  # pixels of the picture that is rendered
TIMED_STEPS = 21
REPEATS = 7


def bench(
    scene: Any,
    *,
    method: str = "slimmerf",
    settle_steps: int = SETTLE_STEPS,
    log: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measure everything on ``scene`` (a ``scenes.Scene``) by one of :data:`METHODS`; returns what the JSON file holds.

    Times are in seconds, rates per second. ``stages`` has an entry a stage with "seconds", "items", "unit", and what
    bounds it: "gflops" or "gigabytes_per_second".
    """
    current = backend.current()
    result: dict[str, Any] = {
        "arch": current.arch,
        "threads": current.threads,
        "scene": scene.name,
        "image": [scene.train.cameras.width, scene.train.cameras.height],
    }
    log("matrix products and BLAS")
    result["products"] = _products()
    log("memory copy")
    result["copy_gigabytes_per_second"] = _copy_rate()
    config = METHODS[method](settle_steps)
    log(f"training {settle_steps} steps until the occupancy settles")
    trainer = Trainer(scene, config)
    for _ in range(settle_steps):
        trainer.step()
    result["method"] = method
    result["resolution"] = list(trainer.model.field.resolution)
    result["occupied"] = float(trainer.model.occupancy.to_numpy().mean())
    log("stages of a step")
    result["stages"] = _stages(trainer)
    result["training"] = {config.decoder: _training(trainer, log)}
    result["rendering"] = _rendering(trainer, log)
    if method == "slimmerf":
        log("the paper's decoder")
        other = Trainer(scene, replace(config, decoder="mlp"))
        other.adopt(trainer)
        result["stages"] |= _decoder_stages(other)
        result["training"]["mlp"] = _training(other, log)
    log("cold start")
    result["cold_start"] = _cold_start(current.arch, method)
    stages = result["stages"]
    result["ratios"] = {
        "mlp_over_blas": result["products"]["mlp_forward_gflops"] / result["products"]["blas_gflops"],
        "scatter_over_lookup": stages["scatter features"]["seconds"] / stages["lookup features"]["seconds"],
        "scatter_over_lookup_density": stages["scatter density"]["seconds"] / stages["density"]["seconds"],
    }
    return result


def _slimmerf(settle_steps: int) -> Config:
    """All ranks, over the box that is left after a quarter of ``settle_steps``."""
    iterations = settle_steps + 10_000
    shrink = 0.25 * settle_steps / iterations
    return replace(
        QUICK,
        ranks="plain",
        resolutions=(128, 128),  # the second time over the box that is left
        upsample_at=(shrink,),
        iterations=iterations,
        occupancy_from=0.8 * shrink,
        shrink_at=shrink,
        filter_at=shrink,
    )


def _vqad(settle_steps: int) -> Config:
    """All levels of detail, and codes learnt for the last quarter of ``settle_steps``."""
    iterations = settle_steps + 10_000
    share = settle_steps / iterations
    return replace(
        VQAD_QUICK,
        iterations=iterations,
        grow_at=tuple(part * share for part in (0.15, 0.3, 0.45, 0.6)),
        filter_at=0.65 * share,
        quantise_at=0.7 * share,
    )


METHODS: dict[str, Callable[[int], Config]] = {"slimmerf": _slimmerf, "vqad": _vqad}
"""What is trained before anything is measured, by the number of steps that takes."""


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


def _products() -> dict[str, float]:
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


def _copy_rate() -> float:
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


def _stages(trainer: Trainer) -> dict[str, Any]:
    """Each stage alone, repeated on one batch of the settled model."""
    model, field = trainer.model, trainer.model.field
    origins, directions, _, background = trainer.next_batch()
    batch = model.forward(origins, directions, background=background, seed=0)
    samples, shaded = batch.samples, batch.shaded
    n, m = samples.count, min(shaded.count, field.rows)
    gradient = model.scratch.get("bench gradient", ti.f32, n)
    weigh = best_of(lambda: model.compositor.weigh(samples, batch.density, model.distance_scale))
    stages = {"march": _stage(best_of(lambda: model.march(origins, directions, seed=0)), samples.rays, "rays")}
    stages |= _measured(field.forward_stages(n, samples.positions, batch.density, m, shaded.positions))
    along = best_of(lambda: field.density_along(samples, model.distance_scale, batch.density))
    stages["density until opaque"] = _stage(along, n, "samples")  # what a step does; "density" is all of them
    stages["volume"] = _stage(weigh, n, "samples")
    stages |= _decoder_stages(trainer)

    def volume_adjoint() -> Any:
        return model.compositor.adjoint(samples, shaded, batch.density, batch.colours, batch.background, batch.pixels)[
            0
        ]

    stages["volume adjoint"] = _stage(best_of(volume_adjoint), n, "samples")
    d_features = model.decoder.adjoint(
        m, 0, field.features(m), shaded.rays, samples.directions, batch.colours, volume_adjoint()
    )
    stages |= _measured(
        field.backward_stages(n, samples.positions, batch.density, gradient, m, shaded.positions, d_features)
    )
    if isinstance(field, GridField):
        refresh = best_of(lambda: model.refresh_occupancy(trainer.config.occupancy_threshold, grow=True))
        stages["occupancy"] = _stage(refresh, int(np.prod(field.resolution)), "nodes")
        texels = sum(p.active for p in field.parameters()[:1])
        update = best_of(lambda: trainer.adam.step(model.parameters(), 0.0))
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


def _decoder_stages(trainer: Trainer) -> dict[str, Any]:
    model, field, name = trainer.model, trainer.model.field, trainer.config.decoder
    origins, directions, _, background = trainer.next_batch()
    batch = model.forward(origins, directions, background=background, seed=0)
    samples, shaded = batch.samples, batch.shaded
    m = min(shaded.count, field.rows)
    features = field.features(m)
    d_colours, _ = model.compositor.adjoint(
        samples, shaded, batch.density, batch.colours, batch.background, batch.pixels
    )
    arguments = (m, 0, features, shaded.rays, samples.directions, batch.colours)
    forward = best_of(lambda: model.decoder.forward(*arguments))
    adjoint = best_of(lambda: model.decoder.adjoint(*arguments, d_colours))
    return {
        f"decoder {name}": _stage(forward, m, "samples", flops=2.0 * PRODUCTS[name] * m),
        f"decoder {name} adjoint": _stage(adjoint, m, "samples", flops=4.0 * PRODUCTS[name] * m),
    }


def _training(trainer: Trainer, log: Callable[[str], None]) -> dict[str, float]:
    trainer.step()
    steps = [trainer.step() for _ in range(TIMED_STEPS)]
    seconds = statistics.median(s.seconds for s in steps)
    origins, directions, _, background = trainer.next_batch()
    batch = trainer.model.forward(origins, directions, background=background, seed=0)
    rate = steps[0].rays / seconds
    log(f"training with the {trainer.config.decoder} decoder: {rate:,.0f} rays/s")
    return {
        "step_seconds": seconds,
        "rays_per_second": rate,
        "samples_per_ray": batch.samples.count / batch.samples.rays,
        "shaded_per_ray": batch.shaded.count / batch.samples.rays,
    }


def _rendering(trainer: Trainer, log: Callable[[str], None]) -> dict[str, float]:
    camera = trainer.scene.train.cameras[0].resized(SIDE, SIDE)
    seconds = best_of(lambda: render(trainer.model, camera), 3)
    log(f"rendering: {SIDE * SIDE / seconds:,.0f} rays/s")
    return {"seconds_800x800": seconds, "rays_per_second": SIDE * SIDE / seconds}


_COLD = """
import time; started = time.perf_counter()
from taichi_rf.core import backend; backend.init({arch!r})
from taichi_rf.cli.coldstart import first_step
first_step({method!r})
print(time.perf_counter() - started)
"""


def _cold_start(arch: str, method: str) -> dict[str, float]:
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


def rows(result: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """The stages as a table for people: stage, time, rate, and what it is measured against."""
    copy, blas = result["copy_gigabytes_per_second"], result["products"]["blas_gflops"]
    table = []
    for name, stage in result["stages"].items():
        beside = ""
        if "gigabytes_per_second" in stage:
            beside = f"{stage['gigabytes_per_second']:.1f} GB/s, {stage['gigabytes_per_second'] / copy:.0%} of a copy"
        elif "gflops" in stage:
            beside = f"{stage['gflops']:.0f} GFLOP/s, {stage['gflops'] / blas:.0%} of BLAS"
        table.append(
            (name, f"{stage['seconds'] * 1e3:.2f} ms", f"{stage['rate'] / 1e6:.2f} M {stage['unit']}/s", beside)
        )
    return table


def summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures that matter, each with its name."""
    products, ratios, cold = result["products"], result["ratios"], result["cold_start"]
    lines = [
        ("machine", f"{result['arch']}, {result['threads']} threads"),
        ("scene", f"{result['scene']} {result['image'][0]}x{result['image'][1]}, grid {result['resolution']}"),
        ("method", result["method"]),
        (
            "MLP forward / BLAS",
            f"{products['mlp_forward_gflops']:.0f} / {products['blas_gflops']:.0f} GFLOP/s, "
            f"{ratios['mlp_over_blas']:.0%}",
        ),
        (
            "MLP adjoint / BLAS",
            f"{products['mlp_adjoint_gflops']:.0f} / {products['blas_adjoint_gflops']:.0f} GFLOP/s",
        ),
        ("memory copy", f"{result['copy_gigabytes_per_second']:.1f} GB/s read and written"),
        (
            "scatter / lookup",
            f"features {ratios['scatter_over_lookup']:.2f}x, density {ratios['scatter_over_lookup_density']:.2f}x",
        ),
    ]
    for name, training in result["training"].items():
        lines.append(
            (
                f"training, {name} decoder",
                f"{training['rays_per_second']:,.0f} rays/s ({training['step_seconds'] * 1e3:.0f} ms a step, "
                f"{training['samples_per_ray']:.0f} samples and {training['shaded_per_ray']:.0f} shaded a ray)",
            )
        )
    lines.append(
        (
            f"rendering, {next(iter(result['training']))} decoder",
            f"{result['rendering']['rays_per_second']:,.0f} rays/s at 800x800",
        )
    )
    lines.append(
        ("cold start", f"{cold['empty_cache_seconds']:.1f} s, {cold['warm_cache_seconds']:.1f} s once compiled")
    )
    return lines


def default_scene() -> str:
    """The lego of NeRF-synthetic where the data lies beside the checkout or at $TAICHI_RF_DATA, else a built-in
    scene."""
    data = os.environ.get("TAICHI_RF_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data"
    lego = Path(data) / "nerf_synthetic" / "lego"
    return str(lego) if lego.is_dir() else "lantern"


def main(scene: str | None = None, json_file: Path | None = None, *, method: str = "slimmerf") -> None:
    """Run the benchmark and print its tables; used by ``python -m taichi_rf bench``."""
    from rich.console import Console
    from rich.table import Table

    import scenes
    from taichi_rf.core.files import write_json

    console = Console()
    source = scene or default_scene()
    console.print(f"loading {source}")
    loaded = scenes.load(
        source, downscale=1 if source in scenes.builtin_names() else 2, max_test_views=0, depth=method == "vqad"
    )
    for warning in loaded.warnings:
        console.print(f"warning: {warning}", markup=False)
    result = bench(loaded, method=method, log=lambda text: console.print(f"[dim]{text}[/dim]"))
    if json_file is not None:
        write_json(json_file, result)
    table = Table("stage", "time", "rate", "beside", title=f"{result['arch']}, {result['threads']} threads")
    for row in rows(result):
        table.add_row(*row)
    console.print(table)
    for name, text in summary(result):
        console.print(f"[bold]{name:>24}[/bold]  {text}")


__all__ = ["bench", "best_of", "default_scene", "main", "rows", "summary"]
