"""A gain and an offset a photograph and channel, learnt beside the field: phones change exposure and white balance from
one picture to the next, and what a field cannot explain otherwise becomes fog.

Only the training knows them: a model's own pictures have gain 1 and offset 0, to which the mean over photographs is
held (as the per-image codes of NeRF in the Wild, Martin-Brualla et al. 2021, by two numbers a channel).
"""

from typing import Any

from taichi_rf.core.backend import ti
from taichi_rf.core.device import I32, Scratch, Vec3, Vec3s
from taichi_rf.kernels.optim import Adam, Parameters

NUMBERS = 6
"""Of a photograph: gain less 1 of red, green and blue, then their offsets."""


class Exposure:
    """Of ``views`` photographs, learnt by an Adam of its own at a learning rate of ``rate``."""

    def __init__(self, views: int, rate: float) -> None:
        self.views, self.scratch, self.adam = views, Scratch(), Adam()
        self.value, self.gradient = (ti.field(ti.f32, views * NUMBERS) for _ in range(2))
        self.parameters = Parameters("exposure", self.value, self.gradient, rate, views * NUMBERS)

    def forward(self, n: int, pixels: Any, view: Any) -> Any:
        """What the photographs ``view`` (n,) would show where the field has ``pixels`` (n, 3): gain pixel + offset.
        Valid until the next call."""
        exposed = self.scratch.get("exposed", Vec3, n)
        _expose(n, pixels, view, self.value, exposed)
        return exposed

    def adjoint(self, n: int, pixels: Any, view: Any, d_exposed: Any) -> None:
        """Make dL/d pixels of dL/d exposed (n, 3) in its place, and add to the gradient."""
        _expose_adjoint(self.views, n, pixels, view, d_exposed, self.gradient)
        _through(n, view, self.value, d_exposed)

    def step(self, weight: float, factor: float) -> None:
        """One update at the learning rate times ``factor``, of what was gathered and of a regulariser's ``weight``."""
        self.regularise(weight)
        self.adam.step([self.parameters], factor)

    def regularise(self, weight: float) -> None:
        """Add the gradient of ``weight`` times the mean over photographs of the sum of squares of all their numbers."""
        _shrink(self.views * NUMBERS, 2 * weight / self.views, self.value, self.gradient)


@ti.kernel
def _expose(n: int, pixels: Vec3s, view: I32, value: ti.template(), exposed: Vec3s):
    for i in range(n):
        first = view[i] * NUMBERS
        p = pixels[i]
        for c in ti.static(range(3)):
            exposed[i][c] = (1.0 + value[first + c]) * p[c] + value[first + 3 + c]


@ti.kernel
def _expose_adjoint(
    views: int, n: int, pixels: Vec3s, view: I32, d_exposed: Vec3s, gradient: ti.template()
):  # fmt: skip
    # a task a photograph, which looks at all rays: the same sum at every run
    for v in range(views):
        gain = ti.Vector.zero(ti.f32, 3)
        offset = ti.Vector.zero(ti.f32, 3)
        for i in range(n):
            if view[i] == v:
                gain += d_exposed[i] * pixels[i]
                offset += d_exposed[i]
        for c in ti.static(range(3)):
            gradient[v * NUMBERS + c] = gradient[v * NUMBERS + c] + gain[c]
            gradient[v * NUMBERS + 3 + c] = gradient[v * NUMBERS + 3 + c] + offset[c]


@ti.kernel
def _through(n: int, view: I32, value: ti.template(), d_exposed: Vec3s):
    for i in range(n):
        for c in ti.static(range(3)):
            d_exposed[i][c] = d_exposed[i][c] * (1.0 + value[view[i] * NUMBERS + c])


@ti.kernel
def _shrink(n: int, factor: float, value: ti.template(), gradient: ti.template()):
    for i in range(n):
        gradient[i] = gradient[i] + factor * value[i]
