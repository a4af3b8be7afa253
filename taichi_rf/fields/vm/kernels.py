"""Lookups of a VM field and their adjoints.

The density feature is sum_m sum_r plane_mr(p) line_mr(p) over R density components of three modes, bilinear times
linear between nodes with corners aligned; appearance features are a basis matrix times the products of 3R appearance
components a mode (Eqs. 6 and 7, Chen et al. 2022).
"""

from typing import Any

from taichi_rf.core.backend import current, ti
from taichi_rf.core.device import BLOCK, F32, I32, Cell, Cells, Scratch, Vec3, Vec3s
from taichi_rf.fields.activations import softplus
from taichi_rf.fields.vm.layout import APPEARANCE_PER_LEVEL, VMLayout
from taichi_rf.kernels.linear import Linear, blocks_of
from taichi_rf.kernels.march import STOP, Samples
from taichi_rf.kernels.volume import attenuate

FEATURES = 27


@ti.func
def locate(u, nodes):
    """Node below u in [0, 1] on a grid of ``nodes``, and the fraction of the way to the next."""
    g = ti.math.clamp(u, 0.0, 1.0) * (nodes - 1)
    i = ti.min(ti.cast(g, ti.i32), nodes - 2)
    return i, g - i


@ti.data_oriented
class VMKernels(VMLayout):
    """What is computed on the arena.

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
        self._scratch = Scratch()
        self.product_blocks, self.product_width = 3 * self.appearance_blocks, 3 * self.appearance_blocks * BLOCK
        self.products = ti.Vector.field(BLOCK, ti.f32, (rows, self.product_blocks))
        self.d_products = ti.Vector.field(BLOCK, ti.f32, (rows, self.product_blocks))
        self.basis = Linear(self.product_width, FEATURES, bias=False, offset=0, segments=3)
        self.output = ti.Vector.field(BLOCK, ti.f32, (rows, self.basis.output_blocks))
        self.basis_value = ti.field(ti.f32, self.basis.size)
        self.basis_gradient = ti.field(ti.f32, self.basis.size)

    @ti.func
    def plane_value(self, base, i, j, fi, fj, ni):
        """Bilinear at node (i, j) plus fractions of the plane that starts at texel ``base``, i fastest."""
        t = base + j * ni + i
        return (self.value[t] * (1 - fi) + self.value[t + 1] * fi) * (1 - fj) + (
            self.value[t + ni] * (1 - fi) + self.value[t + ni + 1] * fi
        ) * fj

    @ti.func
    def line_value(self, base, k, fk):
        """Linear at node k plus a fraction of the line that starts at texel ``base``."""
        return self.value[base + k] * (1 - fk) + self.value[base + k + 1] * fk

    @ti.func
    def mode_products(self, block, unit, nx, ny, nz, p):
        """Products of plane and line of one block at unit position p: 16 numbers for each of the three modes."""
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
            xy, xz, yz = self.mode_products(b, unit, nx, ny, nz, p)
            total += ((xy + xz + yz) * self.mask[level - 1, b]).sum()
        return self.activate(total)

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
                samples.rays, *self._resolution, self.unit, blocks_of(level), level, samples.step * distance_scale,
                samples.offsets, samples.positions, density,
            )  # fmt: skip

    @ti.kernel
    def _density_along(
        self, n: int, nx: int, ny: int, nz: int, unit: int, blocks: int, level: int, delta: float, offsets: I32,
        positions: Vec3s, density: F32,
    ):  # fmt: skip
        for r in range(n):
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
                xy, xz, yz = self.mode_products(b, unit, nx, ny, nz, positions[i])
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

    def lookup(self, n: int, first: int, positions: Any, level: int) -> None:
        if n > 0:
            blocks = blocks_of(APPEARANCE_PER_LEVEL * level)
            self._lookup(n, first, *self._resolution, self.unit, blocks, level, positions)

    @ti.kernel
    def _lookup(
        self, n: int, first: int, nx: int, ny: int, nz: int, unit: int, blocks: int, level: int, positions: Vec3s
    ):
        for i in range(n):
            for b in range(blocks):
                block = self.density_blocks + b
                xy, xz, yz = self.mode_products(block, unit, nx, ny, nz, positions[first + i])
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

    # Adjoints

    def density_adjoint(self, n: int, positions: Any, density: Any, d_density: Any, level: int) -> None:
        if n == 0:
            return
        self._feature_gradient(n, density, d_density)
        cells, fractions = self._located(n, 0, positions)
        blocks = blocks_of(level)
        grid = (*self._resolution, self.unit, blocks, level)
        if self.owner:
            self._scatter_density_owner(n, *grid, self._parts(blocks), cells, fractions, d_density)
        else:
            self._scatter_density_atomic(n, *grid, cells, fractions, d_density)

    @ti.kernel
    def _feature_gradient(self, n: int, density: F32, d_density: F32):
        # d feature = d density * slope, in place
        for i in range(n):
            d_density[i] = d_density[i] * self.activation_slope(density[i])

    def features_adjoint(self, n: int, first: int, positions: Any, d_features: Any, level: int) -> None:
        if n > 0:
            blocks = blocks_of(APPEARANCE_PER_LEVEL * level)
            self.basis.adjoint(n, self.products, d_features, self.d_products, self.basis_gradient, blocks=blocks)
            self.scatter_products(n, first, positions, level)

    def scatter_products(self, n: int, first: int, positions: Any, level: int) -> None:
        """The adjoint of :meth:`lookup`: gradients of the products, (n, product_width), onto planes and lines."""
        cells, fractions = self._located(n, first, positions)
        blocks = blocks_of(APPEARANCE_PER_LEVEL * level)
        grid = (*self._resolution, self.unit, blocks, level)
        if self.owner:
            self._scatter_products_owner(n, *grid, self._parts(blocks), cells, fractions)
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

    @ti.func
    def task_of(self, task, parts):
        """What a task owns: a mode, a block of it, and of that both (0), the planes (1) or the lines (2)."""
        part = 0
        if parts == 2:
            part = 1 + task % 2
        return task // parts % 3, task // parts // 3, part

    @ti.kernel
    def _scatter_density_owner(
        self, n: int, nx: int, ny: int, nz: int, unit: int, blocks: int, level: int, parts: int, cells: Cells,
        fractions: Vec3s, d_feature: F32,
    ):  # fmt: skip
        # a task owns one block of one mode, or its planes or its lines, and walks all samples in order
        ti.loop_config(block_dim=1)
        for task in range(3 * blocks * parts):
            mode, b, part = self.task_of(task, parts)
            ni, plane, line, ai, aj, ak = self.mode_layout(mode, nx, ny, nz)
            mask = self.mask[level - 1, b]
            for i in range(n):
                d = d_feature[i]
                if d != 0.0:
                    t = b * unit + plane + cells[i][aj] * ni + cells[i][ai]
                    s = b * unit + line + cells[i][ak]
                    f = fractions[i]
                    self.scatter_own(part, t, s, ni, f[ai], f[aj], f[ak], d * mask)

    @ti.kernel
    def _scatter_products_owner(
        self, n: int, nx: int, ny: int, nz: int, unit: int, blocks: int, level: int, parts: int, cells: Cells,
        fractions: Vec3s,
    ):  # fmt: skip
        ti.loop_config(block_dim=1)
        for task in range(3 * blocks * parts):
            mode, b, part = self.task_of(task, parts)
            block = self.density_blocks + b
            column = mode * self.appearance_blocks + b
            ni, plane, line, ai, aj, ak = self.mode_layout(mode, nx, ny, nz)
            mask = self.mask[level - 1, block]
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
        self, n: int, nx: int, ny: int, nz: int, unit: int, blocks: int, level: int, cells: Cells, fractions: Vec3s,
        d_feature: F32,
    ):  # fmt: skip
        for i, b, c in ti.ndrange(n, blocks, BLOCK):
            d = d_feature[i] * self.mask[level - 1, b][c]
            if d != 0.0:
                for mode in range(3):
                    ni, plane, line, ai, aj, ak = self.mode_layout(mode, nx, ny, nz)
                    t = b * unit + plane + cells[i][aj] * ni + cells[i][ai]
                    s = b * unit + line + cells[i][ak]
                    f = fractions[i]
                    self.scatter_atomic(t, s, ni, f[ai], f[aj], f[ak], c, d)

    @ti.kernel
    def _scatter_products_atomic(
        self, n: int, nx: int, ny: int, nz: int, unit: int, blocks: int, level: int, cells: Cells, fractions: Vec3s
    ):
        for i, b, c in ti.ndrange(n, blocks, BLOCK):
            block = self.density_blocks + b
            if self.mask[level - 1, block][c] != 0.0:
                for mode in range(3):
                    ni, plane, line, ai, aj, ak = self.mode_layout(mode, nx, ny, nz)
                    t = block * unit + plane + cells[i][aj] * ni + cells[i][ai]
                    s = block * unit + line + cells[i][ak]
                    f = fractions[i]
                    d = self.d_products[i, mode * self.appearance_blocks + b][c]
                    self.scatter_atomic(t, s, ni, f[ai], f[aj], f[ak], c, d)

    @ti.kernel
    def _put(self, unit: int, block: int, component: int, column: ti.types.ndarray(dtype=ti.f32, ndim=1)):
        for t in range(unit):
            self.value[block * unit + t][component] = column[t]
