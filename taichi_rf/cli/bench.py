"""``python -m taichi_rf bench``: how fast training and rendering are here, stage by stage."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

import scenes
from taichi_rf.cli import stages
from taichi_rf.cli.options import Bench
from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import write_json
from taichi_rf.training.presets import QUICK, VQAD_QUICK, Config
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
    console.print(f"loading {source}")
    loaded = scenes.load(
        source,
        downscale=1 if source in scenes.builtin_names() else 2,
        max_test_views=0,
        depth=METHODS[command.method].config(SETTLE_STEPS).wants_depth,
    )
    for warning in loaded.warnings:
        console.print(f"warning: {warning}", markup=False)
    result = bench(loaded, method=command.method, log=lambda text: console.print(f"[dim]{text}[/dim]"))
    if command.json is not None:
        write_json(command.json, result)
    table = Table("stage", "time", "rate", "beside", title=f"{result['arch']}, {result['threads']} threads")
    for row in rows(result):
        table.add_row(*row)
    console.print(table)
    for name, text in summary(result):
        console.print(f"[bold]{name:>24}[/bold]  {text}")


def bench(
    scene: Any,
    *,
    method: str = "slimmerf",
    settle_steps: int = SETTLE_STEPS,
    log: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measure everything on ``scene`` (a ``scenes.Scene``) by one of :data:`METHODS`; return what the JSON file holds.

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
    result["products"] = stages.products()
    log("memory copy")
    result["copy_gigabytes_per_second"] = stages.copy_rate()
    config = METHODS[method].config(settle_steps)
    log(f"training {settle_steps} steps until the occupancy settles")
    trainer = Trainer(scene, config)
    for _ in range(settle_steps):
        trainer.step()
    result["method"] = method
    result["resolution"] = list(trainer.model.field.resolution)
    result["occupied"] = float(trainer.model.occupancy.to_numpy().mean())
    log("stages of a step")
    result["stages"] = stages.field_stages(trainer)
    result["training"] = {config.decoder: stages.training(trainer, log)}
    result["rendering"] = stages.rendering(trainer, log)
    for decoder in METHODS[method].other_decoders:
        log(f"the {decoder} decoder")
        other = Trainer(scene, replace(config, decoder=decoder))
        other.adopt(trainer)
        result["stages"] |= stages.decoder_stages(other)
        result["training"][decoder] = stages.training(other, log)
    log("cold start")
    result["cold_start"] = stages.cold_start(current.arch, method)
    found = result["stages"]
    result["ratios"] = {
        "mlp_over_blas": result["products"]["mlp_forward_gflops"] / result["products"]["blas_gflops"],
        "scatter_over_lookup": found["scatter features"]["seconds"] / found["lookup features"]["seconds"],
        "scatter_over_lookup_density": found["scatter density"]["seconds"] / found["density"]["seconds"],
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


@dataclass(frozen=True)
class Benched:
    """A method that can be measured: ``config`` makes what is trained before anything is measured from the number of
    steps that takes; ``other_decoders`` are measured besides its own."""

    config: Callable[[int], Config]
    other_decoders: tuple[Literal["sh", "mlp", "small"], ...] = ()


METHODS = {"slimmerf": Benched(_slimmerf, ("mlp",)), "vqad": Benched(_vqad)}


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
