"""Adam (Kingma and Ba 2015) over the parameters of fields and decoders."""

from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from taichi_rf.coding.checks import not_negative
from taichi_rf.core.backend import ti


@dataclass(frozen=True)
class Moments:
    """What one step of Adam has in common for all parameters: decay and bias correction of both moments."""

    beta1: float
    beta2: float
    epsilon: float
    correction1: float
    correction2: float


@dataclass
class Parameters:
    """One device array of numbers that train together, its gradient and Adam's moments, all of one shape.

    ``active`` elements from the front take part: what lies behind belongs to levels that are not there yet.
    """

    name: str
    value: Any
    gradient: Any
    rate: float
    """Learning rate before the schedule's factor."""
    active: int
    trains: bool = True
    """Whether there are moments, each of which takes as much memory as the value."""
    first: Any = field(init=False, default=None)
    second: Any = field(init=False, default=None)
    moving: Any = field(init=False, default=None)
    """1 for what moves in a step and 0 for what rests: one element, of as many components as the value's, for each
    ``stride`` elements of the value. None where all move."""
    stride: int = field(init=False, default=1)

    def __post_init__(self) -> None:
        if self.trains:
            self.first, self.second = (zeros_like(self.value) for _ in range(2))

    def update(self, rate: float, moments: Moments) -> None:
        """One step of Adam; the gradient is zero afterwards, and what rests is as it was, to the bit."""
        arrays = (self.active, self.value, self.gradient, self.first, self.second)
        numbers = (
            rate, moments.beta1, moments.beta2, moments.correction1, moments.correction2, moments.epsilon
        )  # fmt: skip
        if self.moving is None:
            _adam(*arrays, *numbers)
        else:
            _adam_of_moving(*arrays, self.moving, self.stride, *numbers)

    def limited(self, active: int) -> "Parameters":
        """The same arrays, of which only ``active`` elements take part."""
        view = copy(self)
        view.active = active
        return view

    def resting(self, moving: Any, stride: int) -> "Parameters":
        """The same arrays, of which only some move; see :attr:`moving`."""
        view = copy(self)
        view.moving, view.stride = moving, stride
        return view

    def clear(self) -> None:
        """Drop the gradient."""
        self.gradient.fill(0)

    def arrays(self) -> dict[str, Any]:
        """What decides the next step: the value, and the moments there are."""
        arrays = {"value": self.value, "first": self.first, "second": self.second}
        return {key: array for key, array in arrays.items() if array is not None}

    def reset(self) -> None:
        """Forget Adam's moments, as a new optimiser would."""
        for key, array in self.arrays().items():
            if key != "value":
                array.fill(0)

    def state(self) -> dict[str, np.ndarray]:
        """Copies of value and moments, for the checkpoint."""
        return {f"{self.name}.{key}": array.to_numpy() for key, array in self.arrays().items()}

    def check(self, key: str, values: np.ndarray) -> None:
        """UserError where ``values``, of the right shape and type and finite, cannot be what :meth:`arrays` has under
        ``key``."""
        if key == "second":
            not_negative(values, f"'{self.name}.{key}'")  # its root is taken

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """The inverse of :meth:`state`; each array has passed :meth:`check`."""
        for key, array in self.arrays().items():
            array.from_numpy(np.ascontiguousarray(arrays[f"{self.name}.{key}"]))
        self.restored()

    def restored(self) -> None:
        """Called after the arrays were put back."""


def zeros_like(value: Any) -> Any:
    """A zeroed field of the same element type and shape."""
    if isinstance(value, ti.MatrixField):
        return ti.Vector.field(value.n, ti.f32, value.shape)
    return ti.field(ti.f32, value.shape)


@ti.kernel
def _adam(
    n: int,
    value: ti.template(),
    gradient: ti.template(),
    first: ti.template(),
    second: ti.template(),
    rate: float,
    beta1: float,
    beta2: float,
    correction1: float,
    correction2: float,
    epsilon: float,
):
    # m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, x -= rate m' / (sqrt(v') + eps); clears g for the next step
    for i in range(n):
        g = gradient[i]
        m = beta1 * first[i] + (1 - beta1) * g
        v = beta2 * second[i] + (1 - beta2) * g * g
        first[i] = m
        second[i] = v
        value[i] = value[i] - rate * (m * correction1) / (ti.sqrt(v * correction2) + epsilon)
        gradient[i] = ti.zero(g)


@ti.kernel
def _adam_of_moving(
    n: int,
    value: ti.template(),
    gradient: ti.template(),
    first: ti.template(),
    second: ti.template(),
    moving: ti.template(),
    stride: int,
    rate: float,
    beta1: float,
    beta2: float,
    correction1: float,
    correction2: float,
    epsilon: float,
):
    # as above where ``moving`` is 1; where it is 0 every change is a product with 0, and the gradient alone is cleared
    for i in range(n):
        g = gradient[i]
        moves = moving[i // stride]
        m = first[i] + moves * (1 - beta1) * (g - first[i])
        v = second[i] + moves * (1 - beta2) * (g * g - second[i])
        first[i] = m
        second[i] = v
        value[i] = value[i] - moves * rate * (m * correction1) / (ti.sqrt(v * correction2) + epsilon)
        gradient[i] = ti.zero(g)


@ti.kernel
def _towards(n: int, value: ti.template(), mean: ti.template(), share: float):
    for i in range(n):
        mean[i] = mean[i] + (value[i] - mean[i]) * share


class PolyakAverage:
    """The mean of parameters over the last stretch of a training, to end with (Polyak and Juditsky 1992).

    Steps that pull in different directions leave the parameters on a walk around what they agree on; its mean is closer
    to that than its end is, at a learning rate that still moves.
    """

    EVERY = 4
    """Steps between two that count: they hardly differ."""

    def __init__(self, parameters: list[Parameters]) -> None:
        self.values = {f"{p.name}.mean": zeros_like(p.value) for p in parameters}
        self.count = 0

    def add(self, parameters: list[Parameters]) -> None:
        """Let the parameters count as they are."""
        self.count += 1 if self.values else 0
        for p, mean in self._of(parameters):
            if self.count == 1:
                mean.copy_from(p.value)
            else:
                _towards(p.active, p.value, mean, 1 / self.count)

    def take(self, parameters: list[Parameters]) -> None:
        """Put the mean in the parameters' place, and begin another; with nothing to take it from, leave them."""
        for p, mean in self._of(parameters) if self.count else ():
            p.value.copy_from(mean)
        self.drop()

    def drop(self) -> None:
        """Begin another."""
        self.count = 0

    def _of(self, parameters: list[Parameters]) -> list[tuple[Parameters, Any]]:
        return [(p, self.values[f"{p.name}.mean"]) for p in parameters if f"{p.name}.mean" in self.values]

    def state(self) -> dict[str, np.ndarray]:
        """Copies of what there is, for the checkpoint."""
        return {name: values.to_numpy() for name, values in self.values.items()} if self.count else {}

    def restore(self, count: int, arrays: dict[str, np.ndarray]) -> None:
        """The inverse of :meth:`state`."""
        self.count = count
        for name, values in arrays.items():
            self.values[name].from_numpy(np.ascontiguousarray(values))


class Adam:
    """Adam with the paper's constants: betas (0.9, 0.99), epsilon 1e-8 (TensoRF and SlimmeRF, code)."""

    def __init__(self, beta1: float = 0.9, beta2: float = 0.99, epsilon: float = 1e-8) -> None:
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.steps = 0

    def step(self, parameters: list[Parameters], factor: float) -> None:
        """One update of each by its rate times ``factor``; gradients are zero afterwards."""
        self.steps += 1
        correction1 = 1 / (1 - self.beta1**self.steps)
        correction2 = 1 / (1 - self.beta2**self.steps)
        moments = Moments(self.beta1, self.beta2, self.epsilon, correction1, correction2)
        for p in parameters:
            p.update(p.rate * factor, moments)

    def restart(self, parameters: list[Parameters]) -> None:
        """As a new optimiser: moments and step count at zero (after each upsampling, as the paper's code does)."""
        self.steps = 0
        for p in parameters:
            p.reset()
