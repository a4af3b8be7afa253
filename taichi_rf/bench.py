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

from taichi_rf import backend
from taichi_rf.backend import ti
from taichi_rf.decoders import MLP
from taichi_rf.device import BLOCK
from taichi_rf.fields.vm import VMField
from taichi_rf.presets import QUICK
from taichi_rf.render import render
from taichi_rf.trainer import Trainer

SETTLE_STEPS = 600
"""Steps after which the occupancy of a scene at 128^3 hardly changes any more."""

ROWS = 1 << 15
TIMED_STEPS = 21
REPEATS = 7


def bench(
    scene: Any, *, settle_steps: int = SETTLE_STEPS, log: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Measure everything on ``scene`` (a ``scenes.Scene``); returns what the JSON file holds.

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
    iterations = settle_steps + 10_000
    shrink = 0.25 * settle_steps / iterations
    config = replace(
        QUICK,
        ranks="plain",
        resolutions=(128, 128),  # the second time over the box that is left
        upsample_at=(shrink,),
        iterations=iterations,
        occupancy_from=0.8 * shrink,
        shrink_at=shrink,
        filter_at=shrink,
    )
    log(f"training {settle_steps} steps until the occupancy settles")
    trainer = Trainer(scene, config)
    for _ in range(settle_steps):
        trainer.step()
    result["resolution"] = list(trainer.model.field.resolution)
    result["occupied"] = float(trainer.model.occupancy.to_numpy().mean())
    log("stages of a step")
    result["stages"] = _stages(trainer)
    result["training"] = {"sh": _training(trainer, log)}
    result["rendering"] = _rendering(trainer, log)
    log("the paper's decoder")
    other = Trainer(scene, replace(config, decoder="mlp"))
    other.adopt(trainer)
    result["stages"] |= _decoder_stages(other, "mlp")
    result["training"]["mlp"] = _training(other, log)
    log("cold start")
    result["cold_start"] = _cold_start(current.arch)
    scatter = result["stages"]
    result["ratios"] = {
        "mlp_over_blas": result["products"]["mlp_forward_gflops"] / result["products"]["blas_gflops"],
        "scatter_over_lookup": scatter["scatter features"]["seconds"] / scatter["lookup features"]["seconds"],
        "scatter_over_lookup_density": scatter["scatter density"]["seconds"] / scatter["density"]["seconds"],
    }
    return result


def best_of(run: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Seconds of the fastest of several runs, after one that compiles."""
    run()
    ti.sync()
    best = float("inf")
    for _ in range(repeats):
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
    assert isinstance(field, VMField)
    origins, directions, _, background = trainer.next_batch()
    batch = model.forward(origins, directions, background=background, seed=0)
    samples, shaded = batch.samples, batch.shaded
    n, m = samples.count, min(shaded.count, field.rows)
    rays = samples.rays
    gradient = model.scratch.get("bench gradient", ti.f32, n)

    def scatter_density() -> None:
        gradient.fill(1.0)  # no sample may be skipped here
        field.density_adjoint(n, samples.positions, batch.density, gradient)

    fill = best_of(lambda: gradient.fill(1.0))
    texel = BLOCK * 4
    density_bytes = 18 * texel * n  # four texels of a plane and two of a line, three modes
    lookup_bytes = (18 + 3) * texel * 3 * m  # 48 components are three blocks; and products are written
    stages = {
        "march": _stage(best_of(lambda: model.march(origins, directions, seed=0)), rays, "rays"),
        "density": _stage(
            best_of(lambda: field.density(n, samples.positions, batch.density)), n, "samples", size=density_bytes
        ),
        "volume": _stage(
            best_of(lambda: model.compositor.weigh(samples, batch.density, model.distance_scale)), n, "samples"
        ),
        "lookup features": _stage(
            best_of(lambda: field.lookup(m, 0, shaded.positions)), m, "samples", size=lookup_bytes
        ),
        "basis": _stage(best_of(lambda: field.features(m)), m, "samples", flops=2.0 * 144 * 27 * m),
    }
    stages |= _decoder_stages(trainer, "sh")
    d_colours, _ = model.compositor.adjoint(
        samples, shaded, batch.density, batch.colours, batch.background, batch.pixels
    )
    d_features = model.decoder.adjoint(
        m, 0, field.features(m), shaded.rays, samples.directions, batch.colours, d_colours
    )
    whole = best_of(lambda: field.features_adjoint(m, 0, shaded.positions, d_features))
    scatter = best_of(lambda: field.scatter_products(m, 0, shaded.positions))
    texels = sum(p.active for p in field.parameters()[:1])
    stages |= {
        "volume adjoint": _stage(
            best_of(
                lambda: model.compositor.adjoint(
                    samples, shaded, batch.density, batch.colours, batch.background, batch.pixels
                )
            ),
            n,
            "samples",
        ),
        "basis adjoint": _stage(whole - scatter, m, "samples", flops=4.0 * 144 * 27 * m),
        "scatter features": _stage(scatter, m, "samples", size=(18 + 18 + 18) * texel * 3 * m),
        "scatter density": _stage(best_of(scatter_density) - fill, n, "samples", size=(18 + 18 + 18) * texel * n),
        "occupancy": _stage(
            best_of(lambda: model.refresh_occupancy(trainer.config.occupancy_threshold, grow=True)),
            int(np.prod(field.resolution)),
            "nodes",
        ),
        "Adam": _stage(
            best_of(lambda: trainer.adam.step(model.parameters(), 0.0)), texels * BLOCK, "numbers",
            size=8.0 * texels * texel,
        ),
    }  # fmt: skip
    return stages


def _decoder_stages(trainer: Trainer, name: str) -> dict[str, Any]:
    model, field = trainer.model, trainer.model.field
    origins, directions, _, background = trainer.next_batch()
    batch = model.forward(origins, directions, background=background, seed=0)
    samples, shaded = batch.samples, batch.shaded
    m = min(shaded.count, field.rows)
    features = field.features(m)
    d_colours, _ = model.compositor.adjoint(
        samples, shaded, batch.density, batch.colours, batch.background, batch.pixels
    )
    arguments = (m, 0, features, shaded.rays, samples.directions, batch.colours)
    products = 150 * 128 + 128 * 128 + 128 * 3 if name == "mlp" else 27
    return {
        f"decoder {name}": _stage(
            best_of(lambda: model.decoder.forward(*arguments)), m, "samples", flops=2.0 * products * m
        ),
        f"decoder {name} adjoint": _stage(
            best_of(lambda: model.decoder.adjoint(*arguments, d_colours)), m, "samples", flops=4.0 * products * m
        ),
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
    camera = trainer.scene.train.cameras[0].resized(800, 800)
    seconds = best_of(lambda: render(trainer.model, camera), 3)
    log(f"rendering: {800 * 800 / seconds:,.0f} rays/s")
    return {"seconds_800x800": seconds, "rays_per_second": 800 * 800 / seconds}


_COLD = """
import time; started = time.perf_counter()
from taichi_rf import backend; backend.init({arch!r})
from taichi_rf.coldstart import first_step
first_step()
print(time.perf_counter() - started)
"""


def _cold_start(arch: str) -> dict[str, float]:
    """Seconds from starting Python to the end of the first training step: with nothing compiled yet, and after that."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TI_OFFLINE_CACHE_FILE_PATH": folder}
        times = []
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-c", _COLD.format(arch=arch)],
                env=environment,
                cwd=Path(__file__).parents[1],
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
    lines.append(("rendering, sh decoder", f"{result['rendering']['rays_per_second']:,.0f} rays/s at 800x800"))
    lines.append(
        ("cold start", f"{cold['empty_cache_seconds']:.1f} s, {cold['warm_cache_seconds']:.1f} s once compiled")
    )
    return lines


def default_scene() -> str:
    """The lego of NeRF-synthetic where the data lies beside the checkout or at $TAICHI_RF_DATA, else a built-in
    scene."""
    data = os.environ.get("TAICHI_RF_DATA") or Path(__file__).parents[1] / ".." / "shared" / "data"
    lego = Path(data) / "nerf_synthetic" / "lego"
    return str(lego) if lego.is_dir() else "lantern"


def main(scene: str | None = None, json_file: Path | None = None) -> None:
    """Run the benchmark and print its tables; used by ``python -m taichi_rf bench``."""
    from rich.console import Console
    from rich.table import Table

    import scenes
    from taichi_rf.files import write_json

    console = Console()
    source = scene or default_scene()
    console.print(f"loading {source}")
    loaded = scenes.load(source, downscale=1 if source in scenes.builtin_names() else 2, max_test_views=0)
    result = bench(loaded, log=lambda text: console.print(f"[dim]{text}[/dim]"))
    if json_file is not None:
        write_json(json_file, result)
    table = Table("stage", "time", "rate", "beside", title=f"{result['arch']}, {result['threads']} threads")
    for row in rows(result):
        table.add_row(*row)
    console.print(table)
    for name, text in summary(result):
        console.print(f"[bold]{name:>24}[/bold]  {text}")


__all__ = ["bench", "best_of", "default_scene", "main", "rows", "summary"]
