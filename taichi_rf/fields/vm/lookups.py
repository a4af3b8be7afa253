"""Lookups of a VM field: densities and features at positions.

The density feature is sum_m sum_r plane_mr(p) line_mr(p) over R density components of three modes, bilinear times
linear between nodes with corners aligned; appearance features are a basis matrix times the products of 3R appearance
components a mode (Eqs. 6 and 7, Chen et al. 2022).
"""

from typing import Any

from taichi_rf.core.backend import current, ti
from taichi_rf.core.device import BLOCK, F32, I32, Block, Scratch, Vec3s
from taichi_rf.fields.activations import softplus
from taichi_rf.fields.vm.layout import APPEARANCE_PER_LEVEL, Factors, VMLayout
from taichi_rf.kernels.linear import Linear, blocks_of
from taichi_rf.kernels.march import STOP, Samples
from taichi_rf.kernels.volume import attenuate

FEATURES = 27
NARROW = (4, 8)
"""Components a texel of the copies from which low levels are looked up on a CPU: a quarter and half of the bytes, so
that planes stay in the caches next to a core. (Two would be faster still, and not the same to the bit.)"""
WIDE = len(NARROW)
"""Where the arena's own texels stand behind them."""
Counts: Any = ti.types.vector(WIDE + 1, ti.i32)
NARROW_BYTES = 2 * 4 * sum(NARROW)
"""Of the copies, for each texel of a block."""


@ti.func
def locate(u, nodes):
    """Node below u in [0, 1] on a grid of ``nodes``, and the fraction of the way to the next."""
    g = ti.math.clamp(u, 0.0, 1.0) * (nodes - 1)
    i = ti.min(ti.cast(g, ti.i32), nodes - 2)
    return i, g - i


@ti.data_oriented
class VMLookups(VMLayout):
    """What is looked up in the arena.

    Args:
        activation: "softplus" (shifted by ``density_shift``) or "relu".
        rows: samples whose features can be computed at once.
    """

    feature_width = FEATURES

    def __init__(
        self, ranks: int, resolution: tuple[int, int, int], capacity_texels: int | None, activation: str,
        density_shift: float, rows: int,
    ) -> None:  # fmt: skip
        super().__init__(ranks, resolution, capacity_texels)
        self.relu = activation == "relu"
        self.activation = activation
        self.density_shift = density_shift if not self.relu else 0.0
        self.rows = rows
        self.owner = current().owner_computes
        self.narrow = [ti.Vector.field(width, ti.f32, 2 * self.capacity) for width in NARROW if self.owner]
        """The first components of the first density block and, behind it, of the first appearance block."""
        self._narrow_is_now = False
        self._scratch = Scratch()
        self.product_blocks, self.product_width = 3 * self.appearance_blocks, 3 * self.appearance_blocks * BLOCK
        # column after column: of a low level's few columns all is read, and a scatter reads one from front to back
        self.products = ti.Vector.field(BLOCK, ti.f32, (rows, self.product_blocks), order="ji")
        self.d_products = ti.Vector.field(BLOCK, ti.f32, (rows, self.product_blocks), order="ji")
        self.basis = Linear(self.product_width, FEATURES, bias=False, offset=0, segments=3)
        self.output = ti.Vector.field(BLOCK, ti.f32, (rows, self.basis.output_blocks))
        self.basis_value = ti.field(ti.f32, self.basis.size)
        self.basis_gradient = ti.field(ti.f32, self.basis.size)

    def set_factors(self, factors: Factors, resolution: tuple[int, int, int]) -> None:
        super().set_factors(factors, resolution)
        self.forget_narrow()

    def forget_narrow(self) -> None:
        """Call after factors changed: narrow copies are made anew when they are wanted."""
        self._narrow_is_now = False

    def _width(self, components: int) -> int:
        """Of the narrowest copy that holds so many components, which is then up to date; 16, the arena's own, where
        none does."""
        width = next((copy.n for copy in self.narrow if components <= copy.n), BLOCK)
        if width != BLOCK and not self._narrow_is_now:
            self._copy(self.unit, self.density_blocks)
            self._narrow_is_now = True
        return int(width)

    def _by_width(self, n: int, components: int) -> Any:
        """``n`` for what ``components`` are looked up in, 0 for all else: each narrow copy, and the arena itself."""
        width = self._width(components)
        return Counts(*[n if width == other else 0 for other in (*NARROW, BLOCK)])

    @ti.kernel
    def _copy(self, unit: int, density_blocks: int):
        for t in range(2 * unit):
            whole = self.value[t]
            if t >= unit:
                whole = self.value[t + (density_blocks - 1) * unit]
            for copy in ti.static(self.narrow):
                for c in ti.static(range(copy.n)):
                    copy[t][c] = whole[c]

    @ti.func
    def plane_value(self, values: ti.template(), base, i, j, fi, fj, ni):
        """Bilinear at node (i, j) plus fractions of the plane that starts at texel ``base``, i fastest."""
        t = base + j * ni + i
        return (values[t] * (1 - fi) + values[t + 1] * fi) * (1 - fj) + (
            values[t + ni] * (1 - fi) + values[t + ni + 1] * fi
        ) * fj

    @ti.func
    def line_value(self, values: ti.template(), base, k, fk):
        """Linear at node k plus a fraction of the line that starts at texel ``base``."""
        return values[base + k] * (1 - fk) + values[base + k + 1] * fk

    @ti.func
    def mode_products(self, values: ti.template(), block, unit, nx, ny, nz, p):
        """Products of plane and line of one block of the arena or of a narrow copy at unit position p, as many numbers
        as a texel has, for each of the three modes."""
        ix, fx = locate(p[0], nx)
        iy, fy = locate(p[1], ny)
        iz, fz = locate(p[2], nz)
        b = block * unit
        lines = b + nx * ny + nx * nz + ny * nz
        xz_plane, yz_plane = b + nx * ny, b + nx * ny + nx * nz
        xy = self.plane_value(values, b, ix, iy, fx, fy, nx) * self.line_value(values, lines, iz, fz)
        xz = self.plane_value(values, xz_plane, ix, iz, fx, fz, nx) * self.line_value(values, lines + nz, iy, fy)
        yz = self.plane_value(values, yz_plane, iy, iz, fy, fz, ny) * self.line_value(values, lines + nz + ny, ix, fx)
        return xy, xz, yz

    @ti.func
    def activate(self, feature):
        """Density from the density feature: softplus with a shift, or ReLU (Chen et al. 2022, code)."""
        result = feature
        if ti.static(self.relu):
            result = ti.max(feature, 0.0)
        else:
            result = softplus(feature + self.density_shift)
        return result

    @ti.func
    def activation_slope(self, density):
        """d density / d feature, from the density itself: 1 - exp(-softplus(x)) = sigmoid(x)."""
        slope = 1.0
        if ti.static(self.relu):
            slope = ti.select(density > 0, 1.0, 0.0)
        else:
            slope = 1.0 - ti.exp(-density)
        return slope

    def density(self, n: int, positions: Any, density: Any, level: int) -> None:
        if n > 0:
            self._density(n, *self._resolution, self.unit, blocks_of(level), level, positions, density)

    @ti.func
    def density_at(self, blocks, level, unit, nx, ny, nz, p):
        """feature = sum over modes and components of plane times line"""
        total = 0.0
        for b in range(blocks):
            xy, xz, yz = self.mode_products(self.value, b, unit, nx, ny, nz, p)
            total += ((xy + xz + yz) * self.mask[level - 1, b]).sum()
        return self.activate(total)

    @ti.func
    def narrow_density_at(self, copy: ti.template(), level, unit, nx, ny, nz, p):
        """:meth:`density_at`, to the same bits, from a narrow copy: what is left out of the sum is zero."""
        xy, xz, yz = self.mode_products(copy, 0, unit, nx, ny, nz, p)
        total = 0.0
        total += ((xy + xz + yz) * self.narrow_mask(copy, level, 0)).sum()
        return self.activate(total)

    @ti.func
    def narrow_mask(self, copy: ti.template(), level, block):
        return ti.Vector([self.mask[level - 1, block][c] for c in range(copy.n)])

    @ti.kernel
    def _density(
        self, n: int, nx: int, ny: int, nz: int, unit: int, blocks: int, level: int, positions: Vec3s, density: F32
    ):
        for i in range(n):
            density[i] = self.density_at(blocks, level, unit, nx, ny, nz, positions[i])

    def density_along(self, samples: Samples, distance_scale: float, density: Any, level: int) -> None:
        if not self.owner:  # a GPU has more use for samples side by side than for fewer of them
            super().density_along(samples, distance_scale, density, level)
        elif samples.count > 0:
            self._density_along(
                self._by_width(samples.rays, level), *self._resolution, self.unit, blocks_of(level), level,
                samples.step * distance_scale, samples.offsets, samples.positions, density,
            )  # fmt: skip

    @ti.kernel
    def _density_along(
        self, rays: Counts, nx: int, ny: int, nz: int, unit: int, blocks: int, level: int, delta: float, offsets: I32,
        positions: Vec3s, density: F32,
    ):  # fmt: skip
        # one loop for each copy, and all but one of them empty, so that nothing is decided for each sample
        for k in ti.static(range(len(self.narrow))):
            for r in range(rays[k]):
                transmittance = 1.0
                for i in range(offsets[r], offsets[r + 1]):
                    here = 0.0
                    if transmittance > STOP:
                        here = self.narrow_density_at(self.narrow[k], level, unit, nx, ny, nz, positions[i])
                        _, transmittance = attenuate(transmittance, here, delta)
                    density[i] = here
        for r in range(rays[WIDE]):
            transmittance = 1.0
            for i in range(offsets[r], offsets[r + 1]):
                here = 0.0
                if transmittance > STOP:
                    here = self.density_at(blocks, level, unit, nx, ny, nz, positions[i])
                    _, transmittance = attenuate(transmittance, here, delta)
                density[i] = here

    def density_levels(self, n: int, positions: Any, density: Any) -> None:
        if n > 0:
            self._density_levels(n, *self._resolution, self.unit, positions, density)

    @ti.kernel
    def _density_levels(self, n: int, nx: int, ny: int, nz: int, unit: int, positions: Vec3s, density: F32):
        for i in range(n):
            total = 0.0
            for b in range(self.density_blocks):
                xy, xz, yz = self.mode_products(self.value, b, unit, nx, ny, nz, positions[i])
                s = xy + xz + yz
                for c in ti.static(range(BLOCK)):
                    total += s[c]
                    if b * BLOCK + c < self.num_levels:
                        density[i * self.num_levels + b * BLOCK + c] = self.activate(total)

    def density_nodes(self, out: Any, level: int) -> None:
        self._density_nodes(*self._resolution, self.unit, blocks_of(level), level, out)

    @ti.kernel
    def _density_nodes(self, nx: int, ny: int, nz: int, unit: int, blocks: int, level: int, out: F32):
        # at a node nothing is interpolated: three products of texels a block
        for z, y in ti.ndrange(nz, ny):
            for x in range(nx):
                total = 0.0
                for b in range(blocks):
                    base = b * unit
                    lines = base + nx * ny + nx * nz + ny * nz
                    s = self.value[base + y * nx + x] * self.value[lines + z]
                    s += self.value[base + nx * ny + z * nx + x] * self.value[lines + nz + y]
                    s += self.value[base + nx * ny + nx * nz + z * ny + y] * self.value[lines + nz + ny + x]
                    total += (s * self.mask[level - 1, b]).sum()
                out[(z * ny + y) * nx + x] = self.activate(total)

    def lookup(self, n: int, first: int, positions: Any, level: int, index: Any = None) -> None:
        if n > 0:
            components = APPEARANCE_PER_LEVEL * level
            counts, blocks = self._by_width(n, components), blocks_of(components)
            self._lookup(counts, first, *self._resolution, self.unit, blocks, level, positions)

    @ti.kernel
    def _lookup(
        self, counts: Counts, first: int, nx: int, ny: int, nz: int, unit: int, blocks: int, level: int,
        positions: Vec3s,
    ):  # fmt: skip
        for k in ti.static(range(len(self.narrow))):
            for i in range(counts[k]):
                products = self.mode_products(self.narrow[k], 1, unit, nx, ny, nz, positions[first + i])
                mask = self.narrow_mask(self.narrow[k], level, self.density_blocks)
                for mode in ti.static(range(3)):
                    row = Block(0.0)
                    for c in ti.static(range(self.narrow[k].n)):
                        row[c] = products[mode][c] * mask[c]
                    self.products[i, mode * self.appearance_blocks] = row
        for i in range(counts[WIDE]):
            for b in range(blocks):
                block = self.density_blocks + b
                xy, xz, yz = self.mode_products(self.value, block, unit, nx, ny, nz, positions[first + i])
                mask = self.mask[level - 1, block]
                self.products[i, b] = xy * mask
                self.products[i, self.appearance_blocks + b] = xz * mask
                self.products[i, 2 * self.appearance_blocks + b] = yz * mask

    def features(self, n: int, level: int) -> Any:
        end = APPEARANCE_PER_LEVEL * level
        self.basis.forward(n, self.products, self.output, begin=0, end=end, add=False)
        return self.output

    def next_features(self, n: int, level: int) -> Any:
        end = APPEARANCE_PER_LEVEL * level
        begin = end - APPEARANCE_PER_LEVEL
        self.basis.forward(n, self.products, self.output, begin=begin, end=end, add=begin > 0)
        return self.output

    @ti.kernel
    def _put(self, unit: int, block: int, component: int, column: ti.types.ndarray(dtype=ti.f32, ndim=1)):
        for t in range(unit):
            self.value[block * unit + t][component] = column[t]
