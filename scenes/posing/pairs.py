"""Which photographs are compared with which."""

from __future__ import annotations

from collections.abc import Iterable

MOST_EXHAUSTIVE = 200
"""Photographs of which every one is compared with every other; beyond, the time would be that of 20,000 comparisons."""
OVERLAP = 10
"""Neighbours on either side with which a frame of a video is compared, as COLMAP's sequential matching has it; beyond
them those at 16, 32, 64 and so on, as its "quadratic" neighbours."""
EVERY = 6
"""Every so many-th frame is also compared with every other such: where a camera comes back to what it saw."""

MOST_MORE = 20_000
"""Pairs of a second try."""


def pairs_to_match(count: int, *, in_order: bool) -> list[tuple[int, int]]:
    """Pairs (i, j) with i < j of ``count`` photographs.

    Args:
        in_order: neighbours were taken one after the other; else that is believed of many photographs only, by their
            names.
    """
    if not in_order and count <= MOST_EXHAUSTIVE:
        return [(i, j) for i in range(count) for j in range(i + 1, count)]
    steps = [*range(1, OVERLAP + 1)]
    far = 1
    while far < count:
        if far > OVERLAP:
            steps.append(far)
        far *= 2
    found = {(i, i + step) for i in range(count) for step in steps if i + step < count}
    found |= {(i, j) for i in range(0, count, EVERY) for j in range(i + EVERY, count, EVERY)}
    return sorted(found)


def pairs_with(some: Iterable[int], count: int, done: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Pairs of the photographs ``some`` with any of ``count`` that have not been ``done``: for a second try with what
    could not be placed. None where that would take too long."""
    found = {(min(i, j), max(i, j)) for i in some for j in range(count) if i != j} - set(done)
    return sorted(found) if len(found) <= MOST_MORE else []
