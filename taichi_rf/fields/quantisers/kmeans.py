"""Weighted k-means (Lloyd 1982, from the seeds of Arthur and Vassilvitskii 2007): a codebook from given features."""

import numpy as np

SAMPLE = 1 << 16
"""Points that the means are found on; all are then assigned."""
ROUNDS = 20
CHUNK = 1 << 15


def kmeans(points: np.ndarray, weights: np.ndarray, k: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Means (k, d) float32 of ``points`` (n, d) by ``weights`` (n,), and the nearest mean of each point, (n,) int32.

    With fewer points than k, means repeat.
    """
    total = weights.sum()
    p = weights / total if total > 0 else np.full(len(points), 1 / len(points))
    chosen = rng.choice(len(points), min(SAMPLE, 4 * len(points)), p=p)  # by weight, so that all weigh the same
    sample = points[chosen].astype(np.float32)
    means = _seeds(sample, k, rng)
    for _ in range(ROUNDS):
        nearest = assign(sample, means)
        counts = np.bincount(nearest, minlength=k)
        sums = np.stack([np.bincount(nearest, sample[:, c], minlength=k) for c in range(sample.shape[1])], axis=1)
        found = counts > 0
        means[found] = (sums[found] / counts[found, None]).astype(np.float32)
        means[~found] = sample[rng.integers(0, len(sample), int((~found).sum()))]
    return means, assign(points, means)


def distances(points: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Squared distances (n, k)."""
    d = (points**2).sum(1)[:, None] - 2 * points @ means.T + (means**2).sum(1)
    found: np.ndarray = np.maximum(d, 0)
    return found


def assign(points: np.ndarray, means: np.ndarray) -> np.ndarray:
    """The nearest mean of each point, (n,) int32."""
    nearest = np.empty(len(points), np.int32)
    for first in range(0, len(points), CHUNK):
        part = slice(first, first + CHUNK)
        nearest[part] = ((means**2).sum(1) - 2 * points[part].astype(np.float32) @ means.T).argmin(1)
    return nearest


def _seeds(sample: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """k-means++: every next seed by its squared distance from those there are."""
    seeds = np.empty((k, sample.shape[1]), np.float32)
    seeds[0] = sample[rng.integers(len(sample))]
    nearest = ((sample - seeds[0]) ** 2).sum(1)
    for i in range(1, k):
        total = nearest.sum(dtype=np.float64)
        chosen = rng.choice(len(sample), p=nearest / total) if total > 0 else rng.integers(len(sample))
        seeds[i] = sample[chosen]
        nearest = np.minimum(nearest, ((sample - seeds[i]) ** 2).sum(1))
    return seeds
