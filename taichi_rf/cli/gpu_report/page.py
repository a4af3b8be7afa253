"""The report as one page that needs no other file: figures, curves and pictures, and what went wrong."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from taichi_rf.cli.gpu_report.drawing import bars, curve, number

STYLE = """
:root { color-scheme: light dark; --ink: #1a1d23; --muted: #667085; --rule: #e4e7ec; --ground: #f7f8fa; --card: #fff;
  --blue: #2158d6; --pale: #c3d3f7; --orange: #c4560b; --good: #1b7f4b; --bad: #c0291f; }
@media (prefers-color-scheme: dark) { :root { --ink: #eceef2; --muted: #98a1b3; --rule: #2c323d; --ground: #12151a;
  --card: #1b1f27; --blue: #7ea6ff; --pale: #2b3c66; --orange: #f0995a; --good: #5fcf96; --bad: #ff8a80; } }
* { box-sizing: border-box; margin: 0; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: var(--ink);
  background: var(--ground); padding: 40px 20px 64px; }
main { max-width: 1080px; margin: auto; display: grid; gap: 20px; }
h1 { font-size: 30px; line-height: 1.2; letter-spacing: -0.01em; }
h2 { font-size: 18px; margin-bottom: 14px; display: flex; gap: 10px; align-items: baseline; }
.muted, h2 small { color: var(--muted); font-size: 14px; font-weight: 400; }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 12px; padding: 22px 24px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); gap: 12px; }
.tile { background: var(--card); border: 1px solid var(--rule); border-radius: 12px; padding: 16px 18px; }
.tile b { display: block; font-size: 26px; line-height: 1.25; color: var(--blue); font-weight: 650; }
.tile.good b { color: var(--good); } .tile.bad b { color: var(--bad); } .tile.none b { color: var(--muted); }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 24px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 5px 0 5px 16px; border-bottom: 1px solid var(--rule); }
th { color: var(--muted); font-weight: 500; } th:first-child, td:first-child { text-align: left; padding-left: 0; }
.text td { text-align: left; vertical-align: top; }
.text td:first-child { color: var(--muted); white-space: nowrap; width: 1%; }
tr:last-child td { border-bottom: 0; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: 14px; margin-top: 16px; }
figure img { width: 100%; border-radius: 8px; display: block; border: 1px solid var(--rule); }
figcaption { color: var(--muted); font-size: 13px; margin-top: 4px; }
pre { font: 12.5px/1.45 ui-monospace, Menlo, Consolas, monospace; background: var(--ground); border-radius: 8px;
  padding: 12px 14px; overflow-x: auto; margin-top: 8px; white-space: pre-wrap; overflow-wrap: anywhere; }
.state { font-weight: 600; } .done { color: var(--good); } .failed, .cut { color: var(--bad); }
.running { color: var(--blue); } .waiting, .skipped { color: var(--muted); }
svg + table, svg + .pictures, .pair + table { margin-top: 14px; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--muted); font: 12px system-ui, sans-serif; }
svg .ink { fill: var(--ink); } details summary { cursor: pointer; color: var(--muted); }
"""


def page(report: Mapping[str, Any], pictures: Path) -> str:
    """The page of a report.

    Args:
        report: what ``report.json`` holds. Whatever is missing in it is left out.
        pictures: the folder of JPEGs that parts have left.
    """
    parts = {part["name"]: part for part in report["parts"]}
    found = {name: part["result"] for name, part in parts.items()}
    body = [
        _heading(report, found["machine"]),
        _tiles(found, parts),
        _section("Trainings", _trainings(found, pictures)),
        _section("Pictures a second", _speed(found["speed"], pictures), "800 x 800 pixels, copied to the host"),
        _section("Stages of a training step", _stages(found["bench"]), found["bench"].get("scene", "")),
        _section("Kernels against the CPU's", _agreement(found["agreement"])),
        _section("Machine", _machine(found["machine"])),
        _section("Parts of this report", _parts(report)),
    ]
    refresh = '<meta http-equiv="refresh" content="5">' if report["state"] == "running" else ""
    device = escape(_device(found["machine"]))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{refresh}<meta name="viewport" '
        f'content="width=device-width"><title>Taichi RF on {device}</title><style>{STYLE}</style></head><body><main>'
        f"{''.join(body)}</main></body></html>\n"
    )


def _device(machine: Mapping[str, Any]) -> str:
    return str(machine.get("device") or machine.get("arch") or "this machine")


def _heading(report: Mapping[str, Any], machine: Mapping[str, Any]) -> str:
    what = [
        f"Taichi RF {machine.get('version', '')}", str(machine.get("arch", "")), str(report["started"]),
        f"scene {report['scene']}", f"{report['minutes']:g} minutes",
    ]  # fmt: skip
    if machine.get("software"):
        what.append("a software driver: nothing here is the speed of a GPU")
    line = escape(" · ".join(filter(None, what)))
    return f'<header><h1>{escape(_device(machine))}</h1><p class="muted">{line}</p></header>'


def _tiles(found: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    rows = found["agreement"].get("rows", [])
    wrong = [row for row in rows if not row["agrees"]]
    whole = parts["reference"]["state"] == parts["agreement"]["state"] == "done"
    if wrong:
        tiles = [("bad", f"{len(wrong)} of {len(rows)}", "comparisons with the CPU disagree")]
    elif rows:
        tiles = [
            ("good" if whole else "", f"{len(rows)}", f"comparisons with the CPU agree{'' if whole else ', so far'}")
        ]
    else:
        tiles = [("none", "-", "not compared with the CPU")]
    measured = found["bench"].get("training", {})
    for decoder, label in (("sh", "rays/s in training, harmonics"), ("mlp", "rays/s in training, MLP")):
        tiles.append(_tile(measured.get(decoder, {}).get("rays_per_second"), _count, label))
    for preset in ("balanced", "paper"):
        psnr = found[preset].get("psnr")
        views, seconds = found[preset].get("test_views", 0), found[preset].get("trained_seconds", 0.0)
        label = (
            f"{preset}: {views} test view{'s' * (views != 1)} after {seconds:.0f} s" if psnr else f"{preset}: no PSNR"
        )
        tiles.append(_tile(psnr[-1] if psnr else None, lambda value: f"{value:.2f} dB", label))
    levels = found["speed"].get("levels", [])
    label = f"pictures a second at rank {levels[0]['level']}" if levels else "pictures a second"
    tiles.append(_tile(levels[0]["frames_per_second"] if levels else None, number, label))
    cells = (f'<div class="tile {kind}"><b>{escape(value)}</b>{escape(label)}</div>' for kind, value, label in tiles)
    return f'<div class="tiles">{"".join(cells)}</div>'


def _tile(value: Any, shown: Callable[[float], str], label: str) -> tuple[str, str, str]:
    known = isinstance(value, int | float) and math.isfinite(value)
    return ("", shown(value), label) if known else ("none", "-", label)


def _count(value: float) -> str:
    return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value:,.0f}"


def _section(title: str, content: str, note: str = "") -> str:
    small = f"<small>{escape(note)}</small>" if note else ""
    return f"<section><h2>{escape(title)}{small}</h2>{content}</section>" if content else ""


def _trainings(found: Mapping[str, Any], pictures: Path) -> str:
    trained = {preset: found[preset] for preset in ("balanced", "paper") if found[preset].get("curve")}
    if not trained:
        return ""
    lines = {name: [(p["seconds"], p["psnr"]) for p in its["curve"]] for name, its in trained.items()}
    rates = {name: [(p["seconds"], p["rate"] / 1e3) for p in its["curve"]] for name, its in trained.items()}
    rows = []
    for name, its in trained.items():
        psnr = its.get("psnr") or []
        tested = ", ".join(f"{psnr[r - 1]:.2f}" for r in (16, 8, 4, 2) if r <= len(psnr)) or "-"
        rows.append(
            (name, f"{its.get('iterations', 0):,}", f"{its.get('trained_seconds', 0):.0f} s",
             _count(its.get("rays_per_second", 0)), " x ".join(map(str, its.get("resolution", []))) or "-", tested,
             f"{its.get('compiling_seconds', 0):.0f} s")
        )  # fmt: skip
    heads = ("preset", "iterations", "trained", "rays/s", "grid", "test PSNR at 16, 8, 4, 2", "compiling")
    images = [
        (name, text.format(preset))
        for preset in trained
        for name, text in ((f"{preset}-photograph", "test view, {}"), (preset, "rendered, {}"))
    ]
    return (
        f'<div class="pair"><div><p class="muted">PSNR of training batches, dB, by seconds</p>{curve(lines)}</div><div>'
        f'<p class="muted">Thousand rays a second, by seconds</p>{curve(rates, from_zero=True)}</div></div>'
        f"{_table(heads, rows)}{_figures(images, pictures)}"
    )


def _speed(result: Mapping[str, Any], pictures: Path) -> str:
    levels = result.get("levels", [])
    if not levels:
        return ""
    drawn = bars([(f"rank {e['level']}", e["frames_per_second"], number(e["frames_per_second"])) for e in levels])
    heads = ("rank", "frames", "a second", "median", "slowest", "first, with compiling")
    rows = [
        (str(e["level"]), str(e["frames"]), number(e["frames_per_second"]), f"{e['median_seconds'] * 1e3:.1f} ms",
         f"{e['slowest_seconds'] * 1e3:.1f} ms", f"{e['first_seconds']:.1f} s")
        for e in levels
    ]  # fmt: skip
    images = [(f"{result['model']}-{entry['level']}", f"rank {entry['level']}") for entry in levels]
    return f"{drawn}{_table(heads, rows)}{_figures(images, pictures)}"


def _stages(result: Mapping[str, Any]) -> str:
    stages = result.get("stages", {})
    if not stages:
        return ""
    drawn = bars([(name, s["seconds"] * 1e3, f"{s['seconds'] * 1e3:.2f} ms") for name, s in stages.items()])
    facts = []
    for name, training in result.get("training", {}).items():
        facts.append(
            (f"step, {name} decoder", f"{training['step_seconds'] * 1e3:.1f} ms, "
             f"{training['rays_per_second']:,.0f} rays/s, {training['samples_per_ray']:.0f} samples and "
             f"{training['shaded_per_ray']:.1f} shaded a ray")
        )  # fmt: skip
    if "copy_gigabytes_per_second" in result:
        facts.append(("copy", f"{result['copy_gigabytes_per_second']:.0f} GB/s read and written"))
    if products := result.get("products"):
        facts.append(
            ("MLP", f"{products['mlp_forward_gflops']:,.0f} GFLOP/s forward, "
             f"{products['mlp_adjoint_gflops']:,.0f} back (BLAS on the CPU {products['blas_gflops']:,.0f})")
        )  # fmt: skip
    if cold := result.get("cold_start"):
        facts.append(
            ("first step", f"{cold['empty_cache_seconds']:.1f} s, {cold['warm_cache_seconds']:.1f} s once compiled")
        )
    return f"{drawn}{_facts(facts)}"


def _agreement(result: Mapping[str, Any]) -> str:
    rows = result.get("rows", [])
    worst: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        key = (row["case"], row["what"].split(",")[0].rstrip(" 0123456789"))
        if key not in worst or _over(row) > _over(worst[key]):
            worst[key] = row
    shown = [
        (f"{case}: {what}", row["what"] if row["what"] != what else "", _small(row["difference"]),
         f"{row['allowed']:g}", "agrees" if row["agrees"] else "DIFFERS")
        for (case, what), row in worst.items()
    ]  # fmt: skip
    return _table(("the worst of each kind", "", "difference", "allowed", ""), shown) if shown else ""


def _over(row: Mapping[str, Any]) -> float:
    return float("inf") if row["difference"] is None else row["difference"] / row["allowed"]


def _small(value: float | None) -> str:
    return "no number" if value is None else f"{value:.1e}"


def _machine(machine: Mapping[str, Any]) -> str:
    facts = [(key, str(machine[key])) for key in ("system", "processor", "cores", "python", "taichi") if key in machine]
    for card in machine.get("cards", ()):
        facts.append(("card", ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in card.items())))
    for entry in machine.get("vulkan", ()):
        adds = "adds floats in hardware" if entry["atomic_add"] else "adds floats by trying again"
        facts.append(
            ("Vulkan device", f"{entry['index']}: {entry['name']}, {entry['type']}, version {entry['api']}, {adds}, "
             f"buffers of {entry['storage'] / 2**20:,.0f} MiB")
        )  # fmt: skip
    return _facts(facts)


def _parts(report: Mapping[str, Any]) -> str:
    rows = []
    for part in report["parts"]:
        why = escape(part["why"])
        if part["last_lines"]:
            lines = escape("\n".join(part["last_lines"]))
            why += f"<details open><summary>its last lines</summary><pre>{lines}</pre></details>"
        took = f"{part['seconds']:.0f} s" if part["seconds"] else ""
        state = "cut off" if part["state"] == "cut" else part["state"]
        rows.append(
            f"<tr><td>{escape(part['title'])}</td><td class='state {part['state']}'>{state}</td>"
            f"<td>{took}</td><td>{why}</td></tr>"
        )
    return f"<table class='text'>{''.join(rows)}</table>"


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _facts(facts: list[tuple[str, str]]) -> str:
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>" for name, text in facts)
    return f"<table class='text'>{rows}</table>" if facts else ""


def _figures(images: list[tuple[str, str]], folder: Path) -> str:
    figures = []
    for name, text in images:
        path = folder / f"{name}.jpg"
        if path.is_file():
            data = base64.b64encode(path.read_bytes()).decode()
            figures.append(
                f"<figure><img alt='{escape(text)}' src='data:image/jpeg;base64,{data}'><figcaption>{escape(text)}"
                "</figcaption></figure>"
            )
    return f"<div class='pictures'>{''.join(figures)}</div>" if figures else ""
