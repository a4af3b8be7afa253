"""The numbers beside the picture as markdown."""

from __future__ import annotations

from taichi_rf.cli.console import duration
from taichi_rf.core.sizes import amount_and_unit
from viewer.overlay.plots import finite
from viewer.overlay.stats import SceneView, Stats, TrainingStats


def figures(stats: Stats) -> str:
    """The lines above the level slider: always as many, none so long that it is broken, so that the slider stays where
    it is under a hand while the picture becomes sharp."""
    psnr = "PSNR not known" if stats.decibels is None else f"{stats.decibels.text()} dB"
    lines = [
        f"### {plain(stats.level_name)} {stats.level} of {stats.num_levels}",
        f"**{' '.join(amount_and_unit(1e6 * (stats.megabytes or 0.0)))}** &nbsp; **{psnr}**",
        "no full picture yet" if stats.picture is None else f"{stats.picture.text} for a full picture",
        "full resolution" if stats.divisor <= 1 else f"1/{stats.divisor} resolution",
    ]
    return "\n\n".join(lines)


def whereabouts(view: SceneView | None, visitors: int) -> str:
    """The lines below the controls of the view, which come and go.

    Args:
        view: the photograph where one stands, if any.
        visitors: browsers that look at the same.
    """
    lines = []
    if view is not None:
        lines.append(f"{view.split} view {view.index + 1} of {view.count}: {plain(view.name)}")
    if visitors > 1:
        lines.append(f"{visitors} visitors, each with a camera of their own")
    return "\n\n".join(lines)


def training_figures(training: TrainingStats, level_name: str) -> str:
    """The lines of the training."""
    lines = [f"**{training.state}**, iteration {training.iteration:,}, {plain(level_name)} {training.level}"]
    measured = [f"loss {training.loss:.5f}"] if finite(training.loss) else []
    measured += [f"{training.psnr:.1f} dB on batches"] if finite(training.psnr) else []
    if measured:
        lines.append(", ".join(measured))
    if finite(training.rays_per_second):
        lines.append(f"{training.rays_per_second:,.0f} rays a second")
    if training.seconds_left is not None and finite(training.seconds_left) and training.state == "running":
        lines.append(f"{duration(training.seconds_left)} of training left")
    if training.failure is not None:
        lines.append(f"**{plain(training.failure)}**")
    return "\n\n".join(lines)


def percent(share: float) -> float:
    """``share``, 0..1, as a progress bar has it; one that is no number is none."""
    return round(100 * min(max(share, 0.0), 1.0), 1) if finite(share) else 0.0


def plain(text: object) -> str:
    """``text`` such that markdown shows it as it is: names come from files, and files may say anything."""
    return "".join(f"&#{ord(letter)};" if letter in "\\`*_{}[]<>()#+-.!|&~\"'$:" else letter for letter in str(text))
