"""The vector-matrix factorised field (TensoRF, Chen et al. 2022; slimmable as in SlimmeRF, Yuan 2024).

Three modes; mode m has R planes over two axes and R lines over the third. The density feature is
sum_m sum_r plane_mr(p) line_mr(p) over R density components, bilinear times linear between nodes with corners aligned;
appearance features are a basis matrix times the products of 3R appearance components a mode. Level r keeps the first r
density and 3r appearance components: a hard limit in the loops instead of the paper's masks of 1e-6 (equivalent,
because masked entries receive gradients 1e-12 times smaller, far below Adam's epsilon).

All factors live in one arena of texels, each a block of 16 components. Block b occupies one unit of
nx ny + nx nz + ny nz + nz + ny + nx texels: planes xy, xz, yz, then lines z, y, x. Density blocks come first.
"""

from typing import Any

import numpy as np

from taichi_rf.coding.headers import are_whole, is_number, is_whole, wrong
from taichi_rf.core.backend import current, ti
from taichi_rf.core.device import BLOCK, F32, I32, Cell, Cells, Scratch, Vec3, Vec3s
from taichi_rf.core.errors import UserError
from taichi_rf.fields.accounts import vm_accounts
from taichi_rf.fields.base import COMPACT, HALF, Accounts, Arrays, Coded, GridField, Header, Schema, Stage
from taichi_rf.fields.vm import factor_coding
from taichi_rf.fields.vm.regularisers import VMRegularisers
from taichi_rf.kernels.linear import Linear, blocks_of
from taichi_rf.kernels.march import STOP, Samples
from taichi_rf.kernels.optim import Parameters

APPEARANCE_PER_LEVEL = 3  # SlimmeRF-R is R density and 3R appearance components a mode
FEATURES = 27
CORNERS_READ = 6  # texels of a mode at a sample: four of a plane and two of a line
PLANE_AXES = ((0, 1), (0, 2), (1, 2))  # and the line runs along the axis left over: z, y, x
MAX_TEXELS = 1 << 27
MAX_RANKS = 64
MAX_NODES = 1024
"""Largest grid side that is read from a file."""


def unit_texels(resolution: tuple[int, int, int]) -> int:
    """Texels of one block of 16 components on a grid of ``resolution`` nodes."""
    nx, ny, nz = resolution
    return nx * ny + nx * nz + ny * nz + nx + ny + nz


@ti.func
def softplus(x):
    """log(1 + e^x) without overflow."""
    return ti.max(x, 0.0) + ti.log(1.0 + ti.exp(-ti.abs(x)))


@ti.func
def locate(u, nodes):
    """Node below u in [0, 1] on a grid of ``nodes``, and the fraction of the way to the next."""
    g = ti.math.clamp(u, 0.0, 1.0) * (nodes - 1)
    i = ti.min(ti.cast(g, ti.i32), nodes - 2)
    return i, g - i


class Decoded(Arrays):
    """A level as it is in half precision, and the reader of the next."""

    reader: factor_coding.Reader


@ti.data_oriented
class VMField(GridField):
    """A VM field on a grid of ``resolution`` nodes. ``capacity_texels`` reserves room for a finer grid later.

    Args:
        ranks: number of levels R.
        resolution: nodes along x, y, z, each at least 2.
        activation: "softplus" (shifted by ``density_shift``) or "relu".
        rows: samples whose features can be computed at once.
        seed: of the initial 0.1 * randn factors; None leaves all at zero, to be unpacked or restored.
        trains: whether there is room for Adam's moments.
    """

    kind = "vm"
    level_name = "rank"
    feature_width = FEATURES
    compressed = factor_coding.COMPRESSED

    def __init__(
        self,
        *,
        ranks: int = 16,
        resolution: tuple[int, int, int] = (128, 128, 128),
        capacity_texels: int | None = None,
        activation: str = "softplus",
        density_shift: float = -10.0,
        rows: int = 1 << 16,
        factor_rate: float = 0.02,
        basis_rate: float = 1e-3,
        seed: int | None = 0,
        trains: bool = True,
    ) -> None:
        if min(resolution) < 2 or not 1 <= ranks <= MAX_RANKS:
            raise UserError(f"a VM field has 1 to {MAX_RANKS} ranks and 2 nodes an axis; got {ranks} and {resolution}")
        self.num_levels = ranks
        self.relu = activation == "relu"
        self.activation = activation
        self.density_shift = density_shift if not self.relu else 0.0
        self.rows = rows
        self.density_blocks = blocks_of(ranks)
        self.appearance_blocks = blocks_of(APPEARANCE_PER_LEVEL * ranks)
        self.total_blocks = self.density_blocks + self.appearance_blocks
        self.owner = current().owner_computes
        self._scratch = Scratch()
        self._resolution = resolution
        self.unit = unit_texels(resolution)
        self.capacity = max(capacity_texels or 0, self.unit)
        texels = self.capacity * self.total_blocks
        if texels > MAX_TEXELS:
            raise UserError(f"a grid of {resolution} with {ranks} ranks needs {texels * 64 >> 20} MiB: too large")

        self.value = ti.Vector.field(BLOCK, ti.f32, texels)
        self.gradient = ti.Vector.field(BLOCK, ti.f32, texels)
        self.mask = ti.Vector.field(BLOCK, ti.f32, self.total_blocks)
        self.product_blocks = 3 * self.appearance_blocks
        self.product_width = self.product_blocks * BLOCK
        self.products = ti.Vector.field(BLOCK, ti.f32, (rows, self.product_blocks))
        self.d_products = ti.Vector.field(BLOCK, ti.f32, (rows, self.product_blocks))
        self.basis = Linear(self.product_width, FEATURES, bias=False, offset=0, segments=3)
        self.output = ti.Vector.field(BLOCK, ti.f32, (rows, self.basis.output_blocks))
        self.basis_value = ti.field(ti.f32, self.basis.size)
        self.basis_gradient = ti.field(ti.f32, self.basis.size)

        used = self.unit * self.total_blocks
        if seed is not None:
            rng = np.random.default_rng(seed)
            values = np.zeros((texels, BLOCK), np.float32)
            values[:used] = 0.1 * rng.standard_normal((used, BLOCK), dtype=np.float32)
            self.value.from_numpy(values)
            self.basis_value.from_numpy(self._real_basis_rows(self.basis.initial(rng)))
        self.basis.publish(self.basis_value)
        self._parameters = [
            Parameters("factors", self.value, self.gradient, factor_rate, used, trains),
            Parameters("basis", self.basis_value, self.basis_gradient, basis_rate, self.basis.size, trains),
        ]
        self._regularisers = VMRegularisers(self)
        self.active_appearance_blocks = 0
        self.level = ranks

    def _real_basis_rows(self, values: np.ndarray) -> np.ndarray:
        """Zero the rows that belong to components which only pad the last block."""
        rows = values.reshape(3, self.appearance_blocks * BLOCK, FEATURES).copy()
        rows[:, APPEARANCE_PER_LEVEL * self.num_levels :] = 0
        return rows.reshape(-1)

    # Levels

    def _level_changed(self) -> None:
        """The hard rank limit: a mask over each block's components, and no work at all for blocks that are off."""
        mask = np.zeros((self.total_blocks, BLOCK), np.float32)
        mask[: self.density_blocks].reshape(-1)[: self.level] = 1
        mask[self.density_blocks :].reshape(-1)[: self.appearance] = 1
        self.mask.from_numpy(mask)
        self.active_density_blocks = blocks_of(self.level)
        self.active_appearance_blocks = blocks_of(self.appearance)
        self._set_active()

    def _set_active(self) -> None:
        self._parameters[0].active = self.unit * (self.density_blocks + self.active_appearance_blocks)

    @property
    def appearance(self) -> int:
        """Active appearance components a mode."""
        return APPEARANCE_PER_LEVEL * self.level

    def bytes_at(self, level: int) -> int:
        schema = self.level_schema(self.header(), 1)  # every level stores the same
        return level * sum(int(np.prod(shape)) * np.dtype(kind).itemsize for kind, shape in schema.values())

    # Lookups

    @ti.func
    def plane_value(self, base, i, j, fi, fj, ni):
        """Bilinear at node (i, j) plus fractions of the plane that starts at texel ``base``, i fastest."""
        t = base + j * ni + i
        return (self.value[t] * (1 - fi) + self.value[t + 1] * fi) * (1 - fj) + (
            self.value[t + ni] * (1 - fi) + self.value[t + ni + 1] * fi
        ) * fj

    @ti.func
    def line_value(self, base, k, fk):
        return self.value[base + k] * (1 - fk) + self.value[base + k + 1] * fk

    @ti.func
    def mode_products(self, block, unit, nx, ny, nz, p):
        """Products of plane and line of one block, a (3) x 16 list of blocks for the three modes, at unit position
        p."""
        ix, fx = locate(p[0], nx)
        iy, fy = locate(p[1], ny)
        iz, fz = locate(p[2], nz)
        b = block * unit
        lines = b + nx * ny + nx * nz + ny * nz
        xy = self.plane_value(b, ix, iy, fx, fy, nx) * self.line_value(lines, iz, fz)
        xz = self.plane_value(b + nx * ny, ix, iz, fx, fz, nx) * self.line_value(lines + nz, iy, fy)
        yz = self.plane_value(b + nx * ny + nx * nz, iy, iz, fy, fz, ny) * self.line_value(lines + nz + ny, ix, fx)
        return xy, xz, yz

    @ti.func
    def activate(self, feature):
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

    def density(self, n: int, positions: Any, density: Any) -> None:
        if n > 0:
            self._density(n, *self._resolution, self.unit, self.active_density_blocks, positions, density)

    @ti.func
    def density_at(self, blocks, unit, nx, ny, nz, p):
        """feature = sum over modes and components of plane times line"""
        total = 0.0
        for b in range(blocks):
            xy, xz, yz = self.mode_products(b, unit, nx, ny, nz, p)
            total += ((xy + xz + yz) * self.mask[b]).sum()
        return self.activate(total)

    @ti.kernel
    def _density(self, n: int, nx: int, ny: int, nz: int, unit: int, blocks: int, positions: Vec3s, density: F32):
        for i in range(n):
            density[i] = self.density_at(blocks, unit, nx, ny, nz, positions[i])

    def density_along(self, samples: Samples, distance_scale: float, density: Any) -> None:
        if not self.owner:  # a GPU has more use for samples side by side than for fewer of them
            super().density_along(samples, distance_scale, density)
        elif samples.count > 0:
            self._density_along(
                samples.rays, *self._resolution, self.unit, self.active_density_blocks, samples.step * distance_scale,
                samples.offsets, samples.positions, density,
            )  # fmt: skip

    @ti.kernel
    def _density_along(
        self, n: int, nx: int, ny: int, nz: int, unit: int, blocks: int, delta: float, offsets: I32, positions: Vec3s,
        density: F32,
    ):  # fmt: skip
        for r in range(n):
            transmittance = 1.0
            for i in range(offsets[r], offsets[r + 1]):
                here = 0.0
                if transmittance > STOP:
                    here = self.density_at(blocks, unit, nx, ny, nz, positions[i])
                    transmittance *= ti.exp(-here * delta)
                density[i] = here

    def density_levels(self, n: int, positions: Any, density: Any) -> None:
        if n > 0:
            self._density_levels(n, *self._resolution, self.unit, positions, density)

    @ti.kernel
    def _density_levels(self, n: int, nx: int, ny: int, nz: int, unit: int, positions: Vec3s, density: F32):
        for i in range(n):
            total = 0.0
            for b in range(self.density_blocks):
                xy, xz, yz = self.mode_products(b, unit, nx, ny, nz, positions[i])
                s = xy + xz + yz
                for c in ti.static(range(BLOCK)):
                    total += s[c]
                    if b * BLOCK + c < self.num_levels:
                        density[i * self.num_levels + b * BLOCK + c] = self.activate(total)

    def lookup(self, n: int, first: int, positions: Any, *, blocks: int | None = None) -> None:
        if n > 0:
            self._lookup(
                n, first, *self._resolution, self.unit, blocks or self.active_appearance_blocks, positions
            )  # fmt: skip

    @ti.kernel
    def _lookup(self, n: int, first: int, nx: int, ny: int, nz: int, unit: int, blocks: int, positions: Vec3s):
        for i in range(n):
            for b in range(blocks):
                block = self.density_blocks + b
                xy, xz, yz = self.mode_products(block, unit, nx, ny, nz, positions[first + i])
                mask = self.mask[block]
                self.products[i, b] = xy * mask
                self.products[i, self.appearance_blocks + b] = xz * mask
                self.products[i, 2 * self.appearance_blocks + b] = yz * mask

    def features(self, n: int, *, level: int | None = None) -> Any:
        end = self.appearance if level is None else APPEARANCE_PER_LEVEL * level
        begin = 0 if level in (None, 1) else end - APPEARANCE_PER_LEVEL
        self.basis.forward(n, self.products, self.output, begin=begin, end=end, add=begin > 0)
        return self.output

    # Adjoints

    def density_adjoint(self, n: int, positions: Any, density: Any, d_density: Any) -> None:
        if n == 0:
            return
        self._feature_gradient(n, density, d_density)
        cells, fractions = self._located(n, 0, positions)
        grid = (*self._resolution, self.unit, self.active_density_blocks)
        if self.owner:
            self._scatter_density_owner(n, *grid, self._parts(self.active_density_blocks), cells, fractions, d_density)
        else:
            self._scatter_density_atomic(n, *grid, cells, fractions, d_density)

    @ti.kernel
    def _feature_gradient(self, n: int, density: F32, d_density: F32):
        # d feature = d density * slope, in place
        for i in range(n):
            d_density[i] = d_density[i] * self.activation_slope(density[i])

    def features_adjoint(self, n: int, first: int, positions: Any, d_features: Any) -> None:
        if n > 0:
            self.basis.adjoint(
                n, self.products, d_features, self.d_products, self.basis_gradient, blocks=self.active_appearance_blocks
            )
            self.scatter_products(n, first, positions)

    def scatter_products(self, n: int, first: int, positions: Any) -> None:
        """The adjoint of :meth:`lookup`: gradients of the products, (n, product_width), onto planes and lines."""
        cells, fractions = self._located(n, first, positions)
        grid = (*self._resolution, self.unit, self.active_appearance_blocks)
        if self.owner:
            self._scatter_products_owner(n, *grid, self._parts(self.active_appearance_blocks), cells, fractions)
        else:
            self._scatter_products_atomic(n, *grid, cells, fractions)

    def _parts(self, blocks: int) -> int:
        """Tasks that share a block of one mode: planes and lines apart (2) where there are few blocks for the cores."""
        return 1 if 3 * blocks >= 2 * current().threads else 2

    def _located(self, n: int, first: int, positions: Any) -> tuple[Any, Any]:
        """Cells and fractions of samples, (n, 3) each: found once, because every task that scatters walks them all."""
        cells, fractions = self._scratch.get("cells", Cell, n), self._scratch.get("fractions", Vec3, n)
        self._locate(n, first, *self._resolution, positions, cells, fractions)
        return cells, fractions

    @ti.kernel
    def _locate(self, n: int, first: int, nx: int, ny: int, nz: int, positions: Vec3s, cells: Cells, fractions: Vec3s):
        for i in range(n):
            p = positions[first + i]
            ix, fx = locate(p[0], nx)
            iy, fy = locate(p[1], ny)
            iz, fz = locate(p[2], nz)
            cells[i] = Cell([ix, iy, iz])
            fractions[i] = Vec3([fx, fy, fz])

    @ti.func
    def mode_layout(self, mode, nx, ny, nz):
        """Of one mode: nodes along a plane's row, where planes and lines begin in the unit, and its three axes."""
        lines = nx * ny + nx * nz + ny * nz
        ni, plane, line = nx, 0, lines
        axes = ti.Vector([0, 1, 2])
        if mode == 1:
            ni, plane, line = nx, nx * ny, lines + nz
            axes = ti.Vector([0, 2, 1])
        elif mode == 2:
            ni, plane, line = ny, nx * ny + nx * nz, lines + nz + ny
            axes = ti.Vector([1, 2, 0])
        return ni, plane, line, axes[0], axes[1], axes[2]

    @ti.func
    def add_to(self, texel, amount):
        """Plain read, add, write: only the owner of a texel calls this."""
        self.gradient[texel] = self.gradient[texel] + amount

    @ti.func
    def scatter_own(self, part, t, s, ni, fi, fj, fk, d):
        """One sample onto the plane texels from t and the line texels from s; part 0 both, 1 planes, 2 lines."""
        w00 = (1 - fi) * (1 - fj)
        w10 = fi * (1 - fj)
        w01 = (1 - fi) * fj
        w11 = fi * fj
        if part != 2:  # d plane = line * d, spread over four nodes by the bilinear weights
            dp = (self.value[s] * (1 - fk) + self.value[s + 1] * fk) * d
            self.add_to(t, dp * w00)
            self.add_to(t + 1, dp * w10)
            self.add_to(t + ni, dp * w01)
            self.add_to(t + ni + 1, dp * w11)
        if part != 1:  # d line = plane * d, spread over two nodes
            plane = self.value[t] * w00 + self.value[t + 1] * w10
            plane += self.value[t + ni] * w01 + self.value[t + ni + 1] * w11
            dl = plane * d
            self.add_to(s, dl * (1 - fk))
            self.add_to(s + 1, dl * fk)

    @ti.kernel
    def _scatter_density_owner(
        self,
        n: int,
        nx: int,
        ny: int,
        nz: int,
        unit: int,
        blocks: int,
        parts: int,
        cells: Cells,
        fractions: Vec3s,
        d_feature: F32,
    ):
        # a task owns one block of one mode, or its planes or its lines, and walks all samples in order
        ti.loop_config(block_dim=1)
        for task in range(3 * blocks * parts):
            mode, b = task // parts % 3, task // parts // 3
            part = 0
            if parts == 2:
                part = 1 + task % 2
            ni, plane, line, ai, aj, ak = self.mode_layout(mode, nx, ny, nz)
            mask = self.mask[b]
            for i in range(n):
                d = d_feature[i]
                if d != 0.0:
                    t = b * unit + plane + cells[i][aj] * ni + cells[i][ai]
                    s = b * unit + line + cells[i][ak]
                    f = fractions[i]
                    self.scatter_own(part, t, s, ni, f[ai], f[aj], f[ak], d * mask)

    @ti.kernel
    def _scatter_products_owner(
        self,
        n: int,
        nx: int,
        ny: int,
        nz: int,
        unit: int,
        blocks: int,
        parts: int,
        cells: Cells,
        fractions: Vec3s,
    ):
        ti.loop_config(block_dim=1)
        for task in range(3 * blocks * parts):
            mode, b = task // parts % 3, task // parts // 3
            part = 0
            if parts == 2:
                part = 1 + task % 2
            block = self.density_blocks + b
            column = mode * self.appearance_blocks + b
            ni, plane, line, ai, aj, ak = self.mode_layout(mode, nx, ny, nz)
            mask = self.mask[block]
            for i in range(n):
                t = block * unit + plane + cells[i][aj] * ni + cells[i][ai]
                s = block * unit + line + cells[i][ak]
                f = fractions[i]
                self.scatter_own(part, t, s, ni, f[ai], f[aj], f[ak], self.d_products[i, column] * mask)

    @ti.func
    def scatter_atomic(self, t, s, ni, fi, fj, fk, c, d):
        """The GPU's way: neighbouring threads take neighbouring components, and += is a hardware atomic."""
        plane = (self.value[t][c] * (1 - fi) + self.value[t + 1][c] * fi) * (1 - fj) + (
            self.value[t + ni][c] * (1 - fi) + self.value[t + ni + 1][c] * fi
        ) * fj
        dp = (self.value[s][c] * (1 - fk) + self.value[s + 1][c] * fk) * d
        dl = plane * d
        self.gradient[t][c] += dp * ((1 - fi) * (1 - fj))
        self.gradient[t + 1][c] += dp * (fi * (1 - fj))
        self.gradient[t + ni][c] += dp * ((1 - fi) * fj)
        self.gradient[t + ni + 1][c] += dp * (fi * fj)
        self.gradient[s][c] += dl * (1 - fk)
        self.gradient[s + 1][c] += dl * fk

    @ti.kernel
    def _scatter_density_atomic(
        self,
        n: int,
        nx: int,
        ny: int,
        nz: int,
        unit: int,
        blocks: int,
        cells: Cells,
        fractions: Vec3s,
        d_feature: F32,
    ):
        for i, b, c in ti.ndrange(n, blocks, BLOCK):
            d = d_feature[i] * self.mask[b][c]
            if d != 0.0:
                for mode in range(3):
                    ni, plane, line, ai, aj, ak = self.mode_layout(mode, nx, ny, nz)
                    t = b * unit + plane + cells[i][aj] * ni + cells[i][ai]
                    s = b * unit + line + cells[i][ak]
                    f = fractions[i]
                    self.scatter_atomic(t, s, ni, f[ai], f[aj], f[ak], c, d)

    @ti.kernel
    def _scatter_products_atomic(
        self, n: int, nx: int, ny: int, nz: int, unit: int, blocks: int, cells: Cells, fractions: Vec3s
    ):
        for i, b, c in ti.ndrange(n, blocks, BLOCK):
            block = self.density_blocks + b
            if self.mask[block][c] != 0.0:
                for mode in range(3):
                    ni, plane, line, ai, aj, ak = self.mode_layout(mode, nx, ny, nz)
                    t = block * unit + plane + cells[i][aj] * ni + cells[i][ai]
                    s = block * unit + line + cells[i][ak]
                    f = fractions[i]
                    d = self.d_products[i, mode * self.appearance_blocks + b][c]
                    self.scatter_atomic(t, s, ni, f[ai], f[aj], f[ak], c, d)

    def regularise(self, l1: float, tv_density: float, tv_appearance: float, orthogonality: float) -> None:
        self._regularisers.add(l1, tv_density, tv_appearance, orthogonality)

    # Parameters and the grid

    def parameters(self) -> list[Parameters]:
        return self._parameters

    def published(self) -> None:
        self.basis.publish(self.basis_value)

    @property
    def resolution(self) -> tuple[int, int, int]:
        return self._resolution

    def density_nodes(self, out: Any) -> None:
        self._density_nodes(*self._resolution, self.unit, self.active_density_blocks, out)

    @ti.kernel
    def _density_nodes(self, nx: int, ny: int, nz: int, unit: int, blocks: int, out: F32):
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
                    total += (s * self.mask[b]).sum()
                out[(z * ny + y) * nx + x] = self.activate(total)

    def factors(self) -> list[tuple[list[np.ndarray], list[np.ndarray]]]:
        """Per block, three planes (nj, ni, 16) and three lines (nk, 16), as numpy copies."""
        return _split(self.value.to_numpy()[: self.unit * self.total_blocks], self._resolution, self.total_blocks)

    def set_factors(
        self, factors: list[tuple[list[np.ndarray], list[np.ndarray]]], resolution: tuple[int, int, int]
    ) -> None:
        """Replace all factors by ones on another grid. Adam's moments are not touched: restart the optimiser.

        Raises:
            UserError: the grid does not fit the capacity that was reserved.
        """
        unit = unit_texels(resolution)
        if unit > self.capacity:
            raise UserError(f"a grid of {resolution} does not fit a field made for {self.capacity} texels a block")
        values = np.zeros((self.capacity * self.total_blocks, BLOCK), np.float32)
        flat = [a.reshape(-1, BLOCK) for planes, lines in factors for a in (*planes, *lines)]
        values[: unit * self.total_blocks] = np.concatenate(flat)
        self._resolution, self.unit = resolution, unit
        self.value.from_numpy(values)
        self.gradient.fill(0)
        self._set_active()

    def resample(self, resolution: tuple[int, int, int]) -> None:
        resampled = []
        for planes, lines in self.factors():
            new_planes = [
                _resample(_resample(plane, 0, resolution[b]), 1, resolution[a])
                for plane, (a, b) in zip(planes, PLANE_AXES, strict=True)
            ]
            new_lines = [_resample(line, 0, resolution[2 - m]) for m, line in enumerate(lines)]
            resampled.append((new_planes, new_lines))
        self.set_factors(resampled, resolution)

    def crop(self, low: tuple[int, int, int], high: tuple[int, int, int]) -> None:
        cut = [slice(a, b + 1) for a, b in zip(low, high, strict=True)]
        cropped = [
            (
                [plane[cut[b], cut[a]] for plane, (a, b) in zip(planes, PLANE_AXES, strict=True)],
                [line[cut[2 - m]] for m, line in enumerate(lines)],
            )
            for planes, lines in self.factors()
        ]
        nx, ny, nz = (b - a + 1 for a, b in zip(low, high, strict=True))
        self.set_factors(cropped, (nx, ny, nz))

    def structure(self) -> tuple[Arrays, Header]:
        return {}, {"resolution": list(self._resolution)}

    def set_structure(self, arrays: Arrays, state: Header) -> None:
        nx, ny, nz = state["resolution"]
        if self._resolution != (nx, ny, nz):
            self.resample((nx, ny, nz))  # lays the arena out; the values come next

    # What a step costs

    def forward_stages(self, n: int, positions: Any, density: Any, m: int, shaded: Any) -> list[Stage]:
        texels = CORNERS_READ * BLOCK * 4  # bytes of one block of 16 components
        blocks, products = self.active_appearance_blocks, 3 * self.active_appearance_blocks
        return [
            Stage("density", lambda: self.density(n, positions, density), n, size=3 * texels * n),
            Stage(
                "lookup features", lambda: self.lookup(m, 0, shaded), m,
                size=(3 * texels * blocks + products * BLOCK * 4) * m,
            ),
            Stage("basis", lambda: self.features(m), m, operations=2.0 * products * BLOCK * FEATURES * m),
        ]  # fmt: skip

    def backward_stages(
        self, n: int, positions: Any, density: Any, gradient: Any, m: int, shaded: Any, d_features: Any
    ) -> list[Stage]:
        texels = 3 * CORNERS_READ * BLOCK * 4  # read, and gradients read and written
        blocks = self.active_appearance_blocks

        def scatter_density() -> None:
            gradient.fill(1.0)  # no sample may be skipped here
            self.density_adjoint(n, positions, density, gradient)

        return [
            Stage(
                "basis adjoint", lambda: self.features_adjoint(m, 0, shaded, d_features), m,
                operations=4.0 * 3 * blocks * BLOCK * FEATURES * m,
                apart=lambda: self.scatter_products(m, 0, shaded),
            ),
            Stage(
                "scatter features", lambda: self.scatter_products(m, 0, shaded), m, size=3.0 * texels * blocks * m
            ),
            Stage(
                "scatter density", scatter_density, n, size=3.0 * texels * n, apart=lambda: gradient.fill(1.0)
            ),
        ]  # fmt: skip

    # Storage: half precision, as the paper stores it, or coded

    def header(self) -> Header:
        return {
            "kind": self.kind,
            "num_levels": self.num_levels,
            "resolution": list(self._resolution),
            "activation": self.activation,
            "density_shift": self.density_shift,
        }

    @classmethod
    def checked_header(cls, header: Header, levels: int) -> None:
        if not is_whole(header.get("num_levels"), levels, MAX_RANKS):
            raise wrong("field.num_levels", f"1 to {MAX_RANKS} and cover the levels in the file")
        if not are_whole(header.get("resolution"), 3, 2, MAX_NODES):
            raise wrong("field.resolution", f"three whole numbers from 2 to {MAX_NODES}")
        if header.get("activation") not in ("softplus", "relu"):
            raise wrong("field.activation", "softplus or relu")
        if not is_number(header.get("density_shift"), -100, 100):
            raise wrong("field.density_shift", "a number from -100 to 100")
        if header.get("coding", HALF) not in (HALF, COMPACT):
            raise wrong("field.coding", f"{HALF} or {COMPACT}; a newer version may know it")
        numbers = levels * (1 + APPEARANCE_PER_LEVEL) * unit_texels(tuple(header["resolution"]))
        if header.get("coding") == COMPACT and numbers > factor_coding.MAX_NUMBERS:
            most = factor_coding.MAX_NUMBERS
            raise wrong("field.resolution", f"such that all levels are {most:,} numbers at most, not {numbers:,}")

    @classmethod
    def level_schema(cls, header: Header, level: int) -> Schema:
        """Every level stores the same: one density and three appearance components, and their rows of the basis."""
        nx, ny, nz = header["resolution"]
        basis: Schema = {"basis": ("f2", (3, APPEARANCE_PER_LEVEL, FEATURES))}
        if header.get("coding") == COMPACT:
            return factor_coding.schema((nx, ny, nz), 1 + APPEARANCE_PER_LEVEL, level) | basis
        return {"factors": ("f2", (1 + APPEARANCE_PER_LEVEL, unit_texels((nx, ny, nz))))} | basis

    @classmethod
    def from_file(cls, header: Header, arrays: list[Arrays], *, rows: int = 1 << 16) -> "VMField":
        field = cls(
            ranks=len(arrays),
            resolution=tuple(header["resolution"]),
            activation=header["activation"],
            density_shift=header["density_shift"],
            rows=rows,
            seed=None,
            trains=False,
        )
        if header.get("coding") == COMPACT:
            factors = factor_coding.read(arrays, field.resolution)
            arrays = [{"factors": own, "basis": level["basis"]} for own, level in zip(factors, arrays)]
        field.unpack(arrays)
        return field

    @classmethod
    def reserved(cls, header: Header, *, rows: int = 1 << 16) -> "VMField":
        return cls(
            ranks=header["num_levels"],
            resolution=tuple(header["resolution"]),
            activation=header["activation"],
            density_shift=header["density_shift"],
            rows=rows,
            seed=None,
            trains=False,
        )

    @classmethod
    def prepared(cls, header: Header, arrays: Arrays, before: Any) -> Any:
        if header.get("coding", HALF) == HALF:
            return arrays
        reader = before.reader if before is not None else factor_coding.Reader(arrays["table"], header["resolution"])
        read = Decoded(factors=reader.level(arrays), basis=arrays["basis"])
        read.reader = reader
        return read

    def coded(self, noise: float, squares: list[np.ndarray], occupied: np.ndarray) -> Coded:
        ranks = range(1, self.num_levels + 1)
        values, weights = (
            np.stack([self._factors(level, array) for level in ranks]) for array in (self.value.to_numpy(), squares[0])
        )
        numbers, steps, errors = factor_coding.coded(values, weights, self._resolution, occupied, noise)

        def pack() -> list[Arrays]:
            levels = factor_coding.pack(numbers, steps, self._resolution)
            return [{**arrays, "basis": self._basis(level)} for level, arrays in zip(ranks, levels)]

        # squares are summed over three channels, of which the error is the mean; levels add up
        return Coded({**self.header(), "coding": COMPACT}, pack, np.cumsum(errors) / 3)

    @classmethod
    def accounts(cls, header: Header, stored: list[dict[str, int]], chunks: list[int]) -> Accounts | None:
        half = cls.level_schema({**header, "coding": HALF}, 1)
        size = sum(int(np.prod(shape)) * np.dtype(kind).itemsize for kind, shape in half.values())
        return vm_accounts(stored, chunks, size)

    def _factors(self, level: int, arena: np.ndarray) -> np.ndarray:
        """What an arena of texels (n, 16) has for one level: (components, texels)."""
        units = arena[: self.unit * self.total_blocks].reshape(self.total_blocks, self.unit, BLOCK)
        return np.stack([units[b, :, c] for b, c in self._components(level)])

    def pack(self, level: int) -> Arrays:
        factors = self._factors(level, self.value.to_numpy())
        limit = np.finfo(np.float16).max
        return {"factors": np.clip(factors, -limit, limit).astype(np.float16), "basis": self._basis(level)}

    def _basis(self, level: int) -> np.ndarray:
        """A level's rows of the basis, as stored."""
        basis = self.basis_value.to_numpy().reshape(3, -1, FEATURES)
        first = APPEARANCE_PER_LEVEL * (level - 1)
        return basis[:, first : first + APPEARANCE_PER_LEVEL].astype(np.float16)

    def unpack(self, arrays: list[Arrays]) -> None:
        """Replace the levels 1, 2, ... by what :meth:`pack` made of them; those above stay."""
        for level, stored in enumerate(arrays, 1):
            self.put(level, stored)

    def put(self, level: int, prepared: Arrays) -> None:
        for (block, component), column in zip(self._components(level), prepared["factors"], strict=True):
            self._put(self.unit, block, component, np.ascontiguousarray(column, np.float32))
        basis = self.basis_value.to_numpy().reshape(3, -1, FEATURES)
        first = APPEARANCE_PER_LEVEL * (level - 1)
        basis[:, first : first + APPEARANCE_PER_LEVEL] = prepared["basis"]
        self.basis_value.from_numpy(basis.reshape(-1))
        self.published()

    def rehearse(self, header: Header) -> None:
        self.put(1, self.zeros({**header, "coding": HALF}, 1))

    @ti.kernel
    def _put(self, unit: int, block: int, component: int, column: ti.types.ndarray(dtype=ti.f32, ndim=1)):
        for t in range(unit):
            self.value[block * unit + t][component] = column[t]

    def _components(self, level: int) -> list[tuple[int, int]]:
        """(block, component in it) of what ``level`` adds: one density component, then three of appearance."""
        a = APPEARANCE_PER_LEVEL * (level - 1)
        density = (level - 1) // BLOCK, (level - 1) % BLOCK
        return [density] + [(self.density_blocks + c // BLOCK, c % BLOCK) for c in range(a, a + APPEARANCE_PER_LEVEL)]


def _split(
    value: np.ndarray, resolution: tuple[int, int, int], blocks: int
) -> list[tuple[list[np.ndarray], list[np.ndarray]]]:
    """An arena (texels, 16) as planes (nj, ni, 16) and lines (nk, 16) of each block."""
    shapes = [(resolution[b], resolution[a], BLOCK) for a, b in PLANE_AXES]
    shapes += [(resolution[2 - m], BLOCK) for m in range(3)]  # type: ignore[misc]
    ends = np.cumsum([int(np.prod(s[:-1])) for s in shapes])[:-1]
    result = []
    for unit in value.reshape(blocks, -1, BLOCK):
        parts = [p.reshape(s) for p, s in zip(np.split(unit, ends), shapes, strict=True)]
        result.append((parts[:3], parts[3:]))
    return result


def _resample(values: np.ndarray, axis: int, nodes: int) -> np.ndarray:
    """Linear interpolation along one axis to ``nodes`` nodes, corners aligned."""
    old = values.shape[axis]
    place = np.linspace(0, old - 1, nodes)
    i = np.minimum(place.astype(int), old - 2)
    f = (place - i).astype(np.float32)
    f = f.reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    return np.take(values, i, axis) * (1 - f) + np.take(values, i + 1, axis) * f
