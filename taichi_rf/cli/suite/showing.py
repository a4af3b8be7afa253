"""Shows what came of a suite: its table in a terminal or a file, its picture, and how two suites differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich import box
from rich.markup import escape
from rich.table import Table

from taichi_rf.cli.console import console, say
from taichi_rf.cli.options import Suite as Options
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import atomic_write
from taichi_rf.core.plain_text import visible
from taichi_rf.motion.screenshot import save_picture
from taichi_rf.suite import chart, tables
from taichi_rf.suite.plan import Plan, read_plan
from taichi_rf.suite.results import Row, averages_over_others, changes, measured, notes, rows
from taichi_rf.training.run import short

WIDE = 100
"""Columns of a terminal below which SSIM is left out."""


def show(folder: Path, plan: Plan, options: Options) -> None:
    """Print or write a suite's table, and its picture where that is asked for.

    Raises:
        UserError: a file cannot be written, or there is nothing to draw.
    """
    found, without = measured(folder, plan)
    lines = rows(plan, found, options.levels)
    if options.plot is not None:
        every = rows(plan, found, range(1, 1 + max((m.level for m in found), default=1)))
        save_picture(options.plot, np.asarray(chart.draw(tables.head(plan, lines, without=len(without)), every)))
        say(f"  {short(options.plot)}")
    text = _text(plan, lines, len(without), options)
    if options.output is not None:
        with atomic_write(options.output) as file:
            file.write(text.encode())
        say(f"  {short(options.output)}")
    elif options.format == "terminal":
        _print(plan, lines, len(without))
    else:
        console.file.write(text)
    for run in without:
        if (failure := plan.failures.get(run.name)) is not None and options.format == "terminal":
            last = failure.lines[-1] if failure.lines else "it said nothing"
            say(f"failed {run.name} ({failure.code}): {last}")


def compare(old: Path, new: Path, levels: Sequence[int] = ()) -> None:
    """Print what became better and worse from one suite's folder to another's.

    Raises:
        UserError: one is no suite's folder, or they have nothing in common.
    """
    tabled = []
    for folder in (old, new):
        plan = read_plan(folder)
        tabled.append(rows(plan, measured(folder, plan)[0], levels))
    found = changes(*tabled)
    if others := averages_over_others(*tabled):
        say(f"averages over other scenes than before are not compared: {', '.join(others)}")
    if not found:
        raise UserError(f"{old} and {new} have no scene, variant and level in common")
    table = _table("scene", "variant", "level", "before", "now", "change", "size")
    for change in found:
        style = {"worse": "red", "better": "green", "same": ""}[change.verdict]
        size = (change.new.bytes or 0.0) / (change.old.bytes or 1.0) - 1
        table.add_row(
            *(escape(visible(text)) for text in (change.new.scene, change.new.variant, str(change.new.level))),
            _plus(change.old), _plus(change.new), f"{change.decibels:+.2f} dB {change.verdict}", f"{size:+.1%}",
            style=style,
        )  # fmt: skip
    console.print(table)
    counts = {verdict: sum(c.verdict == verdict for c in found) for verdict in ("worse", "better", "same")}
    say(
        f"{counts['worse']} worse, {counts['better']} better, {counts['same']} the same (by more than the spreads of "
        "the seeds; of single seeds, by more than 0.1 dB)"
    )


def _text(plan: Plan, lines: Sequence[Row], without: int, options: Options) -> str:
    kind = options.format
    if kind == "terminal":  # a file's name says what it is
        kinds = {".md": "markdown", ".csv": "csv", ".tex": "latex", ".json": "json"}
        kind = kinds.get(options.output.suffix.lower(), "markdown") if options.output else "markdown"  # type: ignore[assignment]
    if kind == "csv":
        return tables.comma_separated(lines)
    if kind == "latex":
        return tables.latex(plan, lines, without=without)
    if kind == "json":
        return tables.as_json(plan, lines, without=without)
    return tables.markdown(plan, lines, without=without)


def _print(plan: Plan, lines: Sequence[Row], without: int) -> None:
    for text in tables.head(plan, lines, without=without):
        say(text)
    same = len({line.seeds for line in lines if line.ours}) < 2
    narrow = console.width < WIDE
    left_out = ["source", *(["seeds"] if same else []), *(["SSIM"] if narrow else [])]
    headings, *body = tables.cells(lines, without=left_out)
    table = _table(*headings)
    for index, (line, row) in enumerate(zip(lines, body)):
        last = index + 1 == len(lines) or lines[index + 1].scene != line.scene
        table.add_row(*(escape(visible(cell)) for cell in row), style="" if line.ours else "dim", end_section=last)
    console.print(table)
    for note in notes(lines):
        say(note)


def _table(*headings: str) -> Table:
    """Names are broken up where a terminal is narrow, figures hardly ever."""
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in headings:
        words = heading in ("scene", "variant", "source")
        table.add_column(escape(heading), justify="left" if words else "right", overflow="fold", min_width=5)
    return table


def _plus(line: Row) -> str:
    if line.psnr is None:
        return "-"
    return f"{line.psnr:.2f}" + ("" if line.spread is None else f" ± {line.spread:.2f}")
