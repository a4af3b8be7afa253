"""The optimiser of a training: Adam, and the mean of the parameters over the last stretch."""

from __future__ import annotations

from typing import Any

import numpy as np

from taichi_rf.kernels.optim import Adam, PolyakAverage
from taichi_rf.rendering.model import Model
from taichi_rf.training.restoring import shape_of, values_for, without_tail
from taichi_rf.training.state import MOST, Arrays, Entries, Owner


class Optimiser(Owner):
    """Updates the parameters of ``model``.

    Args:
        mean_from: fraction of the training from which the mean of the parameters is kept, to end with; None for never.
    """

    def __init__(self, model: Model, mean_from: float | None) -> None:
        self.model, self.mean_from = model, mean_from
        self.adam = Adam()
        self.mean = PolyakAverage([] if mean_from is None else model.parameters())

    def step(self, level: int, factor: float, above: int | None = None) -> None:
        """Update each parameter that ``level`` has by its rate times ``factor``; with ``above`` only the field's levels
        from there on move, see :meth:`Field.parameters`."""
        self.adam.step(self.model.parameters(level, above), factor)

    def average(self, progress: float, iteration: int, level: int) -> None:
        """Let the parameters that ``level`` has count for the mean, if it is time; called once a step."""
        if self.mean_from is None or progress < self.mean_from:
            self.mean.drop()  # a resumed training may end later than it was to
        elif iteration % PolyakAverage.EVERY == 0:
            self.mean.add(self.model.parameters(level))

    def end(self) -> None:
        """Put the mean in the parameters' place, if there is one."""
        self.mean.take(self.model.parameters())

    def restart(self) -> None:
        """Forget where the parameters went: they are others now, on another grid."""
        self.adam.restart(self.model.parameters())
        self.mean.drop()

    def drop_gradients(self) -> None:
        """Forget the gradients of a step that was broken off, or the next one would add to them."""
        for parameters in self.model.parameters():
            parameters.clear()

    def warm(self, level: int) -> None:
        """Run the kernels that the mean needs."""
        for _ in range(2):  # the first is a copy
            self.mean.add(self.model.parameters(level))
        self.end()

    # State

    def arrays(self) -> Arrays:
        return {name: without_tail(values) for name, values in self.mean.state().items()}

    def state(self) -> dict[str, Any]:
        return {"adam_steps": self.adam.steps, "mean_count": self.mean.count}

    def most_bytes(self) -> int:
        return sum(4 * int(np.prod(shape_of(array))) for array in self.mean.values.values())

    def check(self, its: Entries) -> None:
        its.whole("adam_steps")
        its.whole("mean_count", MOST if self.mean.values else 0)

    def restore(self, arrays: Arrays, state: dict[str, Any]) -> None:
        count = state["mean_count"]
        means = {name: values_for(arrays, name, array) for name, array in self.mean.values.items()} if count else {}
        self.mean.restore(count, means)
        self.adam.steps = state["adam_steps"]
