"""Tables of a suite as text: Markdown, CSV, LaTeX, JSON, and the cells that a terminal's table is made of."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from taichi_rf.core.sizes import megabytes
from taichi_rf.suite.definition import AVERAGE
from taichi_rf.suite.plan import Plan
from taichi_rf.suite.results import Row, notes

_LATEX = str.maketrans(
    {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
     "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)  # fmt: skip


def head(plan: Plan, lines: Sequence[Row], *, without: int = 0) -> list[str]:
    """What is to be known of a table before it is read: what it shows, at what size, and what is missing."""
    seeds = sorted({run.seed for run in plan.runs})
    said = [f"{plan.name}: {plan.about}" if plan.about else plan.name]
    if plan.reduced:
        said.append(
            f"Not the suite as it is written, but with {' '.join(plan.reduced)}: smaller or shorter than what the "
            "published figures were measured with."
        )
    spread = "mean ± sample standard deviation over" if len(seeds) > 1 else "of"
    said.append(f"PSNR in dB, {spread} seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}.")
    if any(row.scene == AVERAGE for row in plan.published):
        said.append("Published averages are over the paper's scenes, ours over those of this table.")
    if plan.absent:
        said.append(f"Scenes that were not there: {', '.join(plan.absent)}.")
    if without:
        said.append(f"{without} of {len(plan.runs)} runs have no results yet.")
    return said


def cells(lines: Sequence[Row], *, without: Sequence[str] = ()) -> list[list[str]]:
    """A table's cells, headings first; columns that would be empty are left out, and those called ``without``."""
    columns: list[tuple[str, Callable[[Row], str]]] = [
        ("scene", _scene),
        ("variant", lambda l: l.variant),
        ("level", lambda l: "" if l.level is None else str(l.level)),
        ("PSNR", lambda l: _plus(l.psnr, l.spread)),
        ("SSIM", lambda l: _figure(l.ssim, 4)),
        ("chamfer", lambda l: _figure(l.chamfer, 6)),
        ("size", lambda l: "" if l.bytes is None else megabytes(l.bytes)),
        ("time", lambda l: "" if l.seconds is None else f"{l.seconds:.0f} s"),
        ("seeds", lambda l: str(l.seeds) if l.seeds else ""),
        ("published", lambda l: _figure(l.published, 2)),
        ("published size", lambda l: "" if l.published_bytes is None else megabytes(l.published_bytes)),
        ("source", lambda l: l.source),
    ]
    table = [[heading, *map(cell, lines)] for heading, cell in columns]
    kept = [column for column in table if any(column[1:]) or column[0] in ("scene", "variant", "level", "PSNR")]
    return [list(row) for row in zip(*(column for column in kept if column[0] not in without))]


def _scene(line: Row) -> str:
    if not line.ours or line.scene != AVERAGE:
        return line.scene
    count = len(line.scenes)
    return f"{AVERAGE} of {count}" + (f" of {count + len(line.lacks)} scenes" if line.lacks else "")


def markdown(plan: Plan, lines: Sequence[Row], *, without: int = 0) -> str:
    """A heading, what is to be known, a table, and notes."""
    table = [[_markdown(cell) for cell in row] for row in cells(lines)]
    rule = ["---" if heading in ("scene", "variant", "source") else "---:" for heading in table[0]]
    body = "\n".join("| " + " | ".join(row) + " |" for row in (table[0], rule, *table[1:]))
    about = "\n".join(map(_markdown, head(plan, lines, without=without)))
    after = "".join(f"\n- {_markdown(note)}" for note in notes(lines))
    return f"{about}\n\n{body}\n" + (f"{after}\n" if after else "")


def latex(plan: Plan, lines: Sequence[Row], *, without: int = 0) -> str:
    """A ``tabular`` that needs no package, with what is to be known as comments."""
    table = cells(lines)
    about = "".join(f"% {text}\n" for text in (*head(plan, lines, without=without), *notes(lines)))
    rows = [" & ".join(_latex(cell) for cell in row) + r" \\" for row in table]
    columns = "".join("l" if heading in ("scene", "variant", "source") else "r" for heading in table[0])
    body = "\n".join((rows[0], r"\hline", *rows[1:]))
    return f"{about}\\begin{{tabular}}{{{columns}}}\n\\hline\n{body}\n\\hline\n\\end{{tabular}}\n"


def comma_separated(lines: Sequence[Row]) -> str:
    """Every number as it is, one line a row."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Row.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow({key: _csv(value) for key, value in asdict(line).items()})
    return text.getvalue()


def as_json(plan: Plan, lines: Sequence[Row], *, without: int = 0) -> str:
    """Rows, what is to be known, and notes."""
    values = {
        "suite": plan.name,
        "about": head(plan, lines, without=without),
        "reduced": list(plan.reduced),
        "rows": [asdict(line) for line in lines],
        "notes": notes(lines),
    }
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _csv(value: Any) -> Any:
    """A formula to a spreadsheet is no longer one behind an apostrophe: names come from files."""
    if isinstance(value, tuple):
        value = " ".join(value)
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def _markdown(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _latex(text: str) -> str:
    return text.replace("\n", " ").translate(_LATEX).replace("±", r"$\pm$")


def _plus(value: float | None, spread: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" + ("" if spread is None else f" ± {spread:.2f}")


def _figure(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
