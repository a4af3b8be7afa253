"""The results of slimming.py as a table and as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from taichi_rf.core.files import read_json
from taichi_rf.evaluation.axes import Axis, Plot
from taichi_rf.evaluation.plot import Labels, Page, along

RANKS = (1, 2, 4, 8, 12, 16)


def collected(out: Path) -> list[dict[str, Any]]:
    """What there is, the oldest first."""
    return [read_json(path) for path in sorted(out.glob("*/*/result.json"), key=lambda p: p.stat().st_mtime)]


def table(results: Sequence[dict[str, Any]]) -> str:
    """A row a way: decibels at each rank, the spread of seeds, and what is missing to models of that rank alone."""
    head = f"{'scene':16} {'way':28} {'seeds':>5} {'steps':>6} " + " ".join(f"{f'rank {r}':>12}" for r in RANKS)
    lines = [head]
    for scene in dict.fromkeys(result["work"]["scene"] for result in results):
        alone = {r: mean(psnr(results, scene, f"plain-{r}", r)) for r in RANKS if psnr(results, scene, f"plain-{r}", r)}
        for way in dict.fromkeys(result["work"]["way"] for result in results if result["work"]["scene"] == scene):
            own = of(results, scene, way)
            cells = [cell(psnr(results, scene, way, r)) for r in RANKS]
            steps = round(mean([result["iterations"] for result in own]))
            lines.append(f"{scene:16} {way:28} {len(own):5} {steps:6} {' '.join(f'{text:>12}' for text in cells)}")
            if not way.startswith("plain-") and alone:
                found = {r: psnr(results, scene, way, r) for r in RANKS}
                less = [f"{mean(found[r]) - alone[r]:+.2f}" if r in alone and found[r] else "" for r in RANKS]
                lines.append(f"{'':58} {' '.join(f'{text:>12}' for text in less)}")
    return "\n".join(lines)


def of(results: Sequence[dict[str, Any]], scene: str, way: str) -> list[dict[str, Any]]:
    return [result for result in results if (result["work"]["scene"], result["work"]["way"]) == (scene, way)]


def psnr(results: Sequence[dict[str, Any]], scene: str, way: str, rank: int) -> list[float]:
    """Of every seed."""
    levels = [result["levels"] for result in of(results, scene, way)]
    return [level[str(rank)]["psnr"] for level in levels if str(rank) in level]


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def cell(values: Sequence[float]) -> str:
    """A mean, and half the range of what it is of."""
    spread = f"+-{(max(values) - min(values)) / 2:.2f}" if len(values) > 1 else ""
    return f"{mean(values):.2f}{spread}" if values else ""


ALONE = "alone"


def legend(name: str) -> str:
    """A way in the words of the command line."""
    base, _, precision = name.partition("+")
    words = {ALONE: "models of one rank alone", "plain-16": "--ranks plain, cut", "paper": "TRaIn as in the paper"}
    words |= {"train": "TRaIn with deadlines", "prefix": "--ranks prefix"}
    return words.get(base, base) + (f", slim --precision {precision}" if precision else "")


def picture(results: Sequence[dict[str, Any]], scene: str, path: Path) -> None:
    """PSNR against bytes of the files: ways as curves, models of one rank alone as single dots."""
    page = Page(980, 560)
    colours = (page.theme.first, page.theme.second, "#1a8a5a", "#8a4fbf", "#b8860b")
    ways = list(dict.fromkeys(result["work"]["way"] for result in results if result["work"]["scene"] == scene))
    curves: dict[str, list[tuple[int, float, float]]] = {ALONE: []}
    for way in ways:
        first = of(results, scene, way)[0]["levels"]
        points = [(int(r), first[r]["bytes"] / 1e6, mean(psnr(results, scene, way, int(r)))) for r in first]
        if way.startswith("plain-"):
            curves[ALONE].append(points[-1])
            if way == "plain-16":
                curves["plain-16"] = points
        else:
            curves[way] = points
    curves = {name: points for name, points in curves.items() if points}
    everything = [point for points in curves.values() for point in points]
    x = Axis.around([size for _, size, _ in everything], logarithmic=True)
    y = Axis(14.0, max(value for *_, value in everything) + 1)
    chart = Plot(page, (80, 50, 950, 490), x, y, "file size (MB)", "PSNR (dB)")
    paint = {name: colours[row % len(colours)] for row, name in enumerate(list(curves)[1:])} | {ALONE: page.theme.ink}
    places, occupied = {}, []
    for name, points in curves.items():
        shown = sorted((point for point in points if point[2] >= y.low), key=lambda point: point[1])
        places[name] = [(rank, chart.at(size, value)) for rank, size, value in shown]
        occupied += along([at for _, at in places[name]], 1.0) if name != ALONE else []
        occupied += [(u - 6, v - 6, u + 6, v + 6) for _, (u, v) in places[name]]
        if name != ALONE:
            chart.curve([point[1:] for point in shown], paint[name], 2.0)
    labels = Labels(page, (80, 40, 960, 490), occupied)
    for name, points in places.items():
        for _, at in points:
            page.dot(at, 5.5 if name == ALONE else 3.5, paint[name])
    for name, points in places.items():
        for rank, at in points:
            if rank in (1, 2, 4, 8, 16) and name != ALONE:
                labels.put(at, str(rank), 12, paint[name], gap=10.0)
    for row, name in enumerate(curves):
        height = 480 - 24 * (len(curves) - row)
        page.dot((440, height), 5.0, paint[name])
        page.text((454, height), legend(name), 13, anchor="lm")
    page.finish().save(path)
