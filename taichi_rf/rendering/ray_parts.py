"""Split a batch of rays so that no part has more samples than memory is meant for, whatever is in the box.

Where the samples of a batch fit, which is nearly always, it is made in one part, and this costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from taichi_rf.kernels.march import TooManySamples
from taichi_rf.rendering.settings import RenderSettings

MOST_SAMPLES = 1 << 22
"""Of rays that are rendered together: some 70 bytes each. Clear models have a tenth of that in a whole chunk."""

Rays = NDArray[np.float32]


def in_parts(
    make: Callable[[Rays, Rays, RenderSettings], NDArray[np.float32]],
    origins: Rays,
    directions: Rays,
    settings: RenderSettings,
    *,
    most: int = MOST_SAMPLES,
) -> list[NDArray[np.float32]]:
    """What ``make(origins, directions, settings)`` makes of rays (n, 3), (n, 3), in the order of the rays.

    Args:
        make: pixels of rays, each by its own ray alone. It marches with the settings that it is given.
        most: samples that are made together; a single ray may have more.
    """
    settings = replace(settings, most_samples=most)
    try:
        return [make(origins, directions, settings)]
    except TooManySamples as error:
        ends = cuts(error.counts, most)
        return [make(origins[first:end], directions[first:end], settings) for first, end in pairwise(ends)]


def bands(count: int, size: int) -> Iterator[slice]:
    """Slices of ``size`` rays each, the last of what is left, that together are ``count`` rays in order."""
    for first in range(0, count, size):
        yield slice(first, min(first + size, count))


def cuts(counts: NDArray[np.int32], most: int) -> list[int]:
    """Where to cut a row of ``counts`` (n,) so that no part has more than ``most`` in all, or is of one: 0, ..., n."""
    sums = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    ends = [0]
    while ends[-1] < len(counts):
        end = int(np.searchsorted(sums, sums[ends[-1]] + most, side="right")) - 1
        ends.append(min(max(end, ends[-1] + 1), len(counts)))
    return ends
