"""Activations that turn what a field sums up into a density."""

from taichi_rf.core.backend import ti


@ti.func
def softplus(x):
    """log(1 + e^x) without overflow."""
    return ti.max(x, 0.0) + ti.log(1.0 + ti.exp(-ti.abs(x)))
