"""Bars and curves for the page, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 480, 230
LEFT, RIGHT, TOP, BOTTOM = 48, 84, 12, 26  # margins of a curve
ROW, NAME, VALUE = 24, 190, 90  # of bars: height, and room for what they are and for their numbers
COLOURS = ("var(--blue)", "var(--orange)")


def number(value: float) -> str:
    """Three figures."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def bars(entries: Sequence[tuple[str, float, str]], width: int = 1000) -> str:
    """Horizontal bars of (name, value, value in words), on one scale from zero."""
    most = max((value for _, value, _ in entries), default=0.0) or 1.0
    parts = []
    for index, (name, value, words) in enumerate(entries):
        y, length = index * ROW, max((width - NAME - VALUE) * value / most, 1.0)
        parts.append(
            f'<text x="{NAME - 10}" y="{y + 16}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{NAME}" y="{y + 5}" width="{length:.1f}" height="14" rx="3" fill="var(--blue)"/>'
            f'<text class="ink" x="{NAME + length + 8:.1f}" y="{y + 16}">{escape(words)}</text>'
        )
    return f'<svg viewBox="0 0 {width} {ROW * len(entries) + 8}">{"".join(parts)}</svg>'


def curve(lines: Mapping[str, Sequence[tuple[float, float]]], *, from_zero: bool = False) -> str:
    """Lines through points (x, y), each with its name at its end, over axes with a few numbers."""
    points = [p for line in lines.values() for p in line if all(map(math.isfinite, p))]
    if not points:
        return ""
    far = max(x for x, _ in points) or 1.0
    low, high = (0.0 if from_zero else min(y for _, y in points)), max(y for _, y in points)
    step = _step(high - low)
    low, high = math.floor(low / step) * step, max(math.ceil(high / step), math.floor(low / step) + 1) * step

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * x / far
        return across, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (y - low) / (high - low)

    parts = []
    for index in range(round((high - low) / step) + 1):
        value = low + index * step
        y = place(0, value)[1]
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--rule)"/>'
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:,.{0 if step >= 1 else 1}f}</text>'
        )
    stride = _step(0.6 * far)
    for index in range(int(far / stride) + 1):
        x = place(index * stride, low)[0]
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{index * stride:,.0f}</text>')
    ends: list[float] = []
    for colour, (name, line) in zip(COLOURS, lines.items()):
        placed = [place(x, y) for x, y in line if math.isfinite(x) and math.isfinite(y)]
        if not placed:
            continue
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x, y = placed[-1]
        while any(abs(y - other) < 14 for other in ends):  # names that would lie over each other
            y += 14
        ends.append(y)
        parts.append(f'<text x="{x + 6:.1f}" y="{y + 4:.1f}" style="fill:{colour}">{escape(name)}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(parts)}</svg>'


def _step(span: float) -> float:
    """A round number of which four or so make ``span``."""
    rough = max(span, 1e-6) / 4
    power = 10 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
