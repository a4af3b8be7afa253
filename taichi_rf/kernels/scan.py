"""The sum of all counts before each: where the packed parts of a batch begin."""

from typing import Any

from taichi_rf.core.backend import ti
from taichi_rf.core.device import I32

SCAN = 256
"""Counts summed by one task of the prefix sum."""


def prefix_sum(n: int, counts: Any, offsets: Any, sums: Any) -> int:
    """offsets[i] = counts[0] + ... + counts[i - 1] for i = 0..n; returns offsets[n]. ``sums`` lends n // 256 + 2
    numbers."""
    _scan(n, counts, offsets, sums)
    return int(offsets[n])


@ti.kernel
def _scan(n: int, counts: I32, offsets: I32, sums: I32):
    for c in range((n + SCAN - 1) // SCAN):
        total = 0
        for i in range(c * SCAN, ti.min(c * SCAN + SCAN, n)):
            total += counts[i]
        sums[c] = total
    ti.loop_config(serialize=True)
    for _ in range(1):
        running = 0
        for c in range((n + SCAN - 1) // SCAN):
            s = sums[c]
            sums[c] = running
            running += s
        offsets[n] = running
    for c in range((n + SCAN - 1) // SCAN):
        running = sums[c]
        for i in range(c * SCAN, ti.min(c * SCAN + SCAN, n)):
            offsets[i] = running
            running += counts[i]
