"""Colours as spherical harmonics, whose coefficients are the features."""

from typing import Any

from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK, I32, Vec3s
from taichi_rf.rendering.decoders.base import Decoder, sigmoid

FEATURES = 27


@ti.func
def harmonics(d):
    """The nine real spherical harmonics of degree 0..2 at a unit direction."""
    x, y, z = d[0], d[1], d[2]
    return ti.Vector(
        [
            0.28209479177387814,
            -0.4886025119029199 * y,
            0.4886025119029199 * z,
            -0.4886025119029199 * x,
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (2.0 * z * z - x * x - y * y),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (x * x - y * y),
        ]
    )


@ti.data_oriented
class SphericalHarmonics(Decoder):
    """colour_c = sigmoid(sum_k f_{9c + k} Y_k(direction)): no parameters of its own (Plenoxels' colour model)."""

    kind = "sh"
    features = FEATURES

    def __init__(self, *, rows: int = 1 << 16, rate: float = 1e-3, seed: int = 0) -> None:
        self.d_features = ti.Vector.field(BLOCK, ti.f32, (rows, 2))

    def forward(self, n: int, first: int, features: Any, rays: Any, directions: Any, colours: Any) -> None:
        if n > 0:
            self._forward(n, first, features, rays, directions, colours)

    @ti.kernel
    def _forward(self, n: int, first: int, features: ti.template(), rays: I32, directions: Vec3s, colours: Vec3s):
        for i in range(n):
            y = harmonics(directions[rays[first + i]])
            total = ti.Vector.zero(ti.f32, 3)
            for c in ti.static(range(3)):
                for k in ti.static(range(9)):
                    total[c] += features[i, (9 * c + k) // BLOCK][(9 * c + k) % BLOCK] * y[k]
            colours[first + i] = sigmoid(total)

    def adjoint(
        self, n: int, first: int, features: Any, rays: Any, directions: Any, colours: Any, d_colours: Any
    ) -> Any:
        if n > 0:
            self._adjoint(n, first, rays, directions, colours, d_colours)
        return self.d_features

    @ti.kernel
    def _adjoint(self, n: int, first: int, rays: I32, directions: Vec3s, colours: Vec3s, d_colours: Vec3s):
        # d f_{9c+k} = d colour_c * s (1 - s) * Y_k
        for i in range(n):
            y = harmonics(directions[rays[first + i]])
            s = colours[first + i]
            d = d_colours[first + i] * s * (1.0 - s)
            a = ti.Vector.zero(ti.f32, BLOCK)
            b = ti.Vector.zero(ti.f32, BLOCK)
            for c in ti.static(range(3)):
                for k in ti.static(range(9)):
                    if ti.static(9 * c + k < BLOCK):
                        a[9 * c + k] = d[c] * y[k]
                    else:
                        b[9 * c + k - BLOCK] = d[c] * y[k]
            self.d_features[i, 0] = a
            self.d_features[i, 1] = b
