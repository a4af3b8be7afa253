"""The adjoints of a VM field's lookups."""

from typing import Any

from taichi_rf.core.backend import current, ti
from taichi_rf.core.device import BLOCK, F32, Cell, Cells, Vec3, Vec3s
from taichi_rf.fields.vm.layout import APPEARANCE_PER_LEVEL
from taichi_rf.fields.vm.lookups import VMLookups, locate
from taichi_rf.kernels.linear import blocks_of


class VMKernels(VMLookups):
    """What is computed on the arena: lookups, and what they send back."""

    def density_adjoint(
        self, n: int, positions: Any, density: Any, d_density: Any, level: int, *, learning: bool = False
    ) -> None:
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

    def features_adjoint(
        self, n: int, first: int, positions: Any, d_features: Any, level: int, index: Any = None
    ) -> None:
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
