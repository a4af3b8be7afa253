"""``python -m taichi_rf bench``: how fast training and rendering are here, stage by stage."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import scenes
from taichi_rf.cli.console import bar
from taichi_rf.cli.measure import stages
from taichi_rf.cli.options import Bench
from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import write_json
from taichi_rf.training.methods import registry
from taichi_rf.training.trainer import Trainer

SETTLE_STEPS = 600
"""Steps after which the occupancy of a scene at 128^3 hardly changes any more."""


def run(command: Bench) -> None:
    """Run the benchmark and print its tables. UserError for what the user can mend."""
    if command.json is not None and not command.json.absolute().parent.is_dir():
        raise UserError(f"--json {command.json}: there is no folder {command.json.parent}")
    backend.init(command.arch)
    console = Console()
    source = command.scene or default_scene()
    started = time.perf_counter()
    with bar(f"loading {source}") as show:
        loaded = scenes.load(
            source,
            downscale=1 if source in scenes.builtin_names() else 2,
            max_test_views=0,
            depth=registry.find_preset(command.method, "quick").wants_depth,
            world=command.world,
            progress=show.counted,
            stage=show.begin,
        )
    for warning in loaded.warnings:
        console.print(f"warning: {warning}", markup=False)
    loading = time.perf_counter() - started
    result = bench(loaded, method=command.method, loading=loading, log=lambda text: console.print(f"[dim]{text}[/dim]"))
    if command.json is not None:
        write_json(command.json, result)
    table = Table("stage", "time", "rate", "beside", title=_machine(result))
    for row in rows(result):
        table.add_row(*row)
    console.print(table)
    for name, text in summary(result):
        console.print(f"[bold]{name:>24}[/bold]  {text}")


def bench(
    scene: Any,
    *,
    method: str = registry.METHODS[0].name,
    settle_steps: int = SETTLE_STEPS,
    loading: float = 0.0,
    log: Callable[[str], None] = lambda text: None,
    keep: Callable[[dict[str, Any]], None] = lambda result: None,
) -> dict[str, Any]:
    """Measure everything on ``scene`` (a ``scenes.Scene``) by a method of the registry; return what the JSON file has.

    Times are in seconds, rates per second. ``stages`` has an entry a stage with "seconds", "items", "unit", and what
    bounds it: "gflops" or "gigabytes_per_second". ``loading``: seconds that loading the scene took.
    ``keep`` is called with what has been measured so far, for whoever may be cut off.
    """
    current = backend.current()
    result: dict[str, Any] = {
        "arch": current.arch,
        "device": current.device,
        "threads": current.threads,
        "processor": current.processor,
        "scene": scene.name,
        "image": [scene.train.cameras[0].width, scene.train.cameras[0].height],
    }
    log("matrix products and BLAS")
    result["products"] = stages.products()
    keep(result)
    log("memory copy")
    result["copy_gigabytes_per_second"] = stages.copy_rate()
    keep(result)
    known = registry.find(method)
    if known.settled is None:
        raise UserError(f"--method {method} has nothing to be measured")
    config = known.settled(settle_steps)
    log(f"training {settle_steps} steps until the occupancy settles")
    started = time.perf_counter()
    trainer = Trainer(scene, config)
    prepared = time.perf_counter() - started
    trainer.step()
    first = time.perf_counter() - started - prepared
    result["start"] = {"loading_seconds": loading, "preparing_seconds": prepared, "first_step_seconds": first}
    for _ in range(settle_steps - 1):
        trainer.step()
    result["method"] = method
    result["resolution"] = list(trainer.model.field.resolution)
    result["occupied"] = float(trainer.model.occupancy.to_numpy().mean())
    log("stages of a step")
    result["stages"] = stages.field_stages(trainer)
    keep(result)
    result["training"] = {config.decoder: stages.training(trainer, log)}
    keep(result)
    result["rendering"] = stages.rendering(trainer, log)
    keep(result)
    for decoder in known.decoders:
        if decoder != config.decoder:
            log(f"the {decoder} decoder")
            other = Trainer(scene, config.changed(decoder=decoder))
            stages.adopt(other, trainer)
            result["stages"] |= stages.decoder_stages(other)
            result["training"][decoder] = stages.training(other, log)
            keep(result)
    log("cold start")
    result["cold_start"] = stages.cold_start(current.arch, method)
    found = result["stages"]
    result["ratios"] = {
        "mlp_over_blas": result["products"]["mlp_forward_gflops"] / result["products"]["blas_gflops"],
        "scatter_over_lookup": found["scatter features"]["seconds"] / found["lookup features"]["seconds"],
        "scatter_over_lookup_density": found["scatter density"]["seconds"] / found["density"]["seconds"],
    }
    keep(result)
    return result


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
        ("machine", _machine(result)),
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
    start = result["start"]
    lines.append(
        (
            "start to first step",
            f"{sum(start.values()):.1f} s: {start['loading_seconds']:.1f} s to load the scene, "
            f"{start['preparing_seconds']:.1f} s to choose rays, {start['first_step_seconds']:.1f} s for the step",
        )
    )
    lines.append(
        ("cold start", f"{cold['empty_cache_seconds']:.1f} s, {cold['warm_cache_seconds']:.1f} s once compiled")
    )
    return lines


def _machine(result: dict[str, Any]) -> str:
    named = f", for LLVM a {result['processor']}" if result.get("processor") else ""
    return f"{result['arch']}, {result['device'] or str(result['threads']) + ' threads'}{named}"


def default_scene() -> str:
    """The lego of NeRF-synthetic where the data lies beside the checkout or at $TAICHI_RF_DATA, else a built-in
    scene."""
    data = os.environ.get("TAICHI_RF_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data"
    lego = Path(data) / "nerf_synthetic" / "lego"
    return str(lego) if lego.is_dir() else "lantern"
