"""Perceptrons of two hidden layers: TensoRF's MLP, and a small one."""

from abc import abstractmethod
from typing import Any

import numpy as np

from taichi_rf.coding.weight_coding import rounded, values_of
from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK, I32, Vec3s
from taichi_rf.fields.base import Schema
from taichi_rf.kernels.linear import TILE, Linear, blocks_of
from taichi_rf.kernels.optim import Parameters
from taichi_rf.rendering.decoders.base import Decoder, sigmoid
from taichi_rf.rendering.decoders.spherical_harmonics import FEATURES, harmonics


@ti.data_oriented
class Perceptron(Decoder):
    """inputs -> hidden -> hidden -> 3, ReLU between, sigmoid at the end, with biases of which the last starts at zero.

    A subclass says what the inputs are: ``_encode`` fills :attr:`x` from features and directions, ``_encode_gradient``
    makes :attr:`d_features` of :attr:`d_x`. The flat parameters hold of each layer W row by row, then the bias.
    """

    inputs: int
    hidden: int

    def __init__(self, *, rows: int = 1 << 16, rate: float = 1e-3, seed: int = 0) -> None:
        self.first = Linear(self.inputs, self.hidden, bias=True, offset=0)
        self.second = Linear(self.hidden, self.hidden, bias=True, offset=self.first.size)
        self.last = Linear(self.hidden, 3, bias=True, offset=self.first.size + self.second.size)
        self.layers = (self.first, self.second, self.last)
        self.size = self._size()
        self.x, self.d_x = (self._rows(rows, self.inputs) for _ in range(2))
        self.h1, self.d_h1 = (self._rows(rows, self.hidden) for _ in range(2))
        self.h2, self.d_h2 = (self._rows(rows, self.hidden) for _ in range(2))
        self.d_out = ti.Vector.field(BLOCK, ti.f32, (rows, self.last.output_blocks))
        self.d_features = self._rows(rows, self.features)
        self.value = ti.field(ti.f32, self.size)
        self.gradient = ti.field(ti.f32, self.size)
        rng = np.random.default_rng(seed)
        values = np.concatenate([layer.initial(rng) for layer in self.layers])
        values[-3:] = 0
        self.value.from_numpy(values)
        self.published()
        self._parameters = [Parameters(self.kind, self.value, self.gradient, rate, self.size)]

    @staticmethod
    def _rows(rows: int, width: int) -> Any:
        return ti.Vector.field(BLOCK, ti.f32, (rows, blocks_of(width)))

    @classmethod
    def _size(cls) -> int:
        return (cls.inputs + 1) * cls.hidden + (cls.hidden + 1) * cls.hidden + (cls.hidden + 1) * 3

    @abstractmethod
    def _encode(self, n: int, first: int, features: Any, rays: Any, directions: Any) -> None:
        """Row i of ``x`` from row i of ``features`` and ``directions[rays[first + i]]``."""

    @abstractmethod
    def _encode_gradient(self, n: int) -> None:
        """The adjoint of :meth:`_encode` for the features."""

    def parameters(self) -> list[Parameters]:
        return self._parameters

    def published(self) -> None:
        for layer in self.layers:
            layer.publish(self.value)

    def forward(self, n: int, first: int, features: Any, rays: Any, directions: Any, colours: Any) -> None:
        if n > 0:
            self._encode(n, first, features, rays, directions)
            self.first.forward(n, self.x, self.h1, relu=True)
            self.second.forward(n, self.h1, self.h2, relu=True)
            self._output(n, first, colours)

    @ti.kernel
    def _output(self, n: int, first: int, colours: Vec3s):
        # three outputs: dot products of blocks, not a tile of 32 that would be nine tenths padding
        for i in range(n):
            total = ti.Vector([self.last.b[0][0], self.last.b[0][1], self.last.b[0][2]])
            for tile in range(self.hidden // TILE):
                h0 = self.h2[i, 2 * tile]
                h1 = self.h2[i, 2 * tile + 1]
                for c in ti.static(range(3)):
                    w = self.last.w_t[tile, c]
                    for k in ti.static(range(BLOCK)):
                        total[c] += h0[k] * w[k] + h1[k] * w[BLOCK + k]
            colours[first + i] = sigmoid(total)

    def adjoint(
        self, n: int, first: int, features: Any, rays: Any, directions: Any, colours: Any, d_colours: Any
    ) -> Any:
        if n > 0:
            self._output_gradient(n, first, colours, d_colours)
            self.last.adjoint(n, self.h2, self.d_out, self.d_h2, self.gradient, relu=True)
            self.second.adjoint(n, self.h1, self.d_h2, self.d_h1, self.gradient, relu=True)
            self.first.adjoint(n, self.x, self.d_h1, self.d_x, self.gradient)
            self._encode_gradient(n)
        return self.d_features

    @ti.kernel
    def _output_gradient(self, n: int, first: int, colours: Vec3s, d_colours: Vec3s):
        for i in range(n):
            s = colours[first + i]
            d = d_colours[first + i] * s * (1.0 - s)
            for c in ti.static(range(3)):
                self.d_out[i, 0][c] = d[c]

    @classmethod
    def schema(cls) -> Schema:
        return {cls.kind: ("f2", (cls._size(),))}

    def pack(self) -> dict[str, np.ndarray]:
        limit = np.finfo(np.float16).max
        return {self.kind: np.clip(self.value.to_numpy(), -limit, limit).astype(np.float16)}

    def unpack(self, arrays: dict[str, np.ndarray]) -> None:
        self.value.from_numpy(arrays[self.kind].astype(np.float32))
        self.published()

    @classmethod
    def _runs(cls) -> tuple[int, ...]:
        """How many weights, then how many biases, each layer has."""
        return (cls.inputs * cls.hidden, cls.hidden, cls.hidden * cls.hidden, cls.hidden, cls.hidden * 3, 3)

    def coded(self, noise: float, squares: list[np.ndarray]) -> tuple[dict[str, np.ndarray], float]:
        numbers, steps, error = rounded(self.value.to_numpy(), squares[0], self._runs(), noise)
        return {"decoder": numbers, "decoder_steps": steps}, error / 3  # summed over three channels

    @classmethod
    def coded_schema(cls) -> Schema:
        return {"decoder": ("u2", (cls._size(),)), "decoder_steps": ("f2", (len(cls._runs()),))}

    def unpack_coded(self, arrays: dict[str, np.ndarray]) -> None:
        self.value.from_numpy(values_of(arrays["decoder"], arrays["decoder_steps"], self._runs()))
        self.published()


@ti.data_oriented
class MLP(Perceptron):
    """TensoRF's MLP_Fea: 150 inputs (features, direction, two octaves of each), two hidden layers of 128, sigmoid.

    Input order: 27 features, 3 direction, sin then cos of the features at frequencies 1 and 2 (component-major),
    the same of the direction.
    """

    kind = "mlp"
    features = FEATURES
    inputs = 150
    hidden = 128

    @ti.kernel
    def _encode(self, n: int, first: int, features: ti.template(), rays: I32, directions: Vec3s):
        for i in range(n):
            direction = directions[rays[first + i]]
            for c in range(FEATURES + 3):
                v = 0.0
                at = 30 + 2 * c  # sines of this component at both frequencies; cosines follow all sines
                cosines = 2 * FEATURES
                if c < FEATURES:
                    v = features[i, c // BLOCK][c % BLOCK]
                else:
                    v = direction[c - FEATURES]
                    at = 30 + 4 * FEATURES + 2 * (c - FEATURES)
                    cosines = 6
                self.x[i, c // BLOCK][c % BLOCK] = v
                s, k = ti.sin(v), ti.cos(v)
                self.x[i, at // BLOCK][at % BLOCK] = s
                self.x[i, (at + 1) // BLOCK][(at + 1) % BLOCK] = 2.0 * s * k
                at += cosines
                self.x[i, at // BLOCK][at % BLOCK] = k
                self.x[i, (at + 1) // BLOCK][(at + 1) % BLOCK] = 1.0 - 2.0 * s * s

    @ti.kernel
    def _encode_gradient(self, n: int):
        # d v = d x_v + cos(v) d sin(v) - sin(v) d cos(v) + 2 (cos(2v) d sin(2v) - sin(2v) d cos(2v))
        for i in range(n):
            for c in range(FEATURES):
                s1 = 30 + 2 * c
                c1 = s1 + 2 * FEATURES
                total = self.d_x[i, c // BLOCK][c % BLOCK]
                total += self.x[i, c1 // BLOCK][c1 % BLOCK] * self.d_x[i, s1 // BLOCK][s1 % BLOCK]
                total -= self.x[i, s1 // BLOCK][s1 % BLOCK] * self.d_x[i, c1 // BLOCK][c1 % BLOCK]
                s2, c2 = s1 + 1, c1 + 1
                twice = self.x[i, c2 // BLOCK][c2 % BLOCK] * self.d_x[i, s2 // BLOCK][s2 % BLOCK]
                twice -= self.x[i, s2 // BLOCK][s2 % BLOCK] * self.d_x[i, c2 // BLOCK][c2 % BLOCK]
                self.d_features[i, c // BLOCK][c % BLOCK] = total + 2.0 * twice


@ti.data_oriented
class Small(Perceptron):
    """15 features and nine spherical harmonics of the direction, two hidden layers of 64: the decoder of VQAD's budget.

    It reads rows of 16 features, of which the first is the density's, and not a colour's. 5,955 parameters are 11.9 kB
    in half precision, the paper's "12 kB" (its layers are not published; Table 3, Takikawa et al. 2022). Input order:
    features 1..15, then the harmonics.
    """

    kind = "small"
    compressed = frozenset({"small"})
    features = BLOCK
    inputs = BLOCK - 1 + 9
    hidden = 64

    @ti.kernel
    def _encode(self, n: int, first: int, features: ti.template(), rays: I32, directions: Vec3s):
        for i in range(n):
            y = harmonics(directions[rays[first + i]])
            f = features[i, 0]
            a = ti.Vector.zero(ti.f32, BLOCK)
            b = ti.Vector.zero(ti.f32, BLOCK)
            for k in ti.static(range(BLOCK - 1)):
                a[k] = f[k + 1]
            a[BLOCK - 1] = y[0]
            for k in ti.static(range(8)):
                b[k] = y[k + 1]
            self.x[i, 0] = a
            self.x[i, 1] = b

    @ti.kernel
    def _encode_gradient(self, n: int):
        # d f_k = d x_{k-1}, and the density's feature has no part in the colour
        for i in range(n):
            d = self.d_x[i, 0]
            shifted = ti.Vector.zero(ti.f32, BLOCK)
            for k in ti.static(range(1, BLOCK)):
                shifted[k] = d[k - 1]
            self.d_features[i, 0] = shifted
