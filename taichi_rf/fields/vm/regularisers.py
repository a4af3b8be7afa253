"""Regularisers of a VM field, each with its gradient: L1, total variation, orthogonality (TensoRF, Chen et al. 2022).

Gradients are gathered: every texel looks at its neighbours and adds to itself alone, so no two tasks meet.
"""

from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK
from taichi_rf.fields.vm.layout import APPEARANCE_PER_LEVEL, VMLayout
from taichi_rf.kernels.linear import blocks_of

TV_FACTOR = 1e-2
"""TensoRF multiplies its total variation by this before the configured weight."""


@ti.data_oriented
class VMRegularisers:
    """Adds the gradients of weighted regularisers to a field's; the values themselves are not needed for training."""

    def __init__(self, field: VMLayout) -> None:
        self.field = field
        components = max(field.density_blocks, field.appearance_blocks) * BLOCK
        self.gram = ti.field(ti.f32, (3, components, components))

    def add(self, level: int, l1: float, tv_density: float, tv_appearance: float, orthogonality: float) -> None:
        """Add gradients to what takes part at ``level``, weights as in the configuration; a weight of zero costs
        nothing."""
        f = self.field
        density, appearance = blocks_of(level), blocks_of(APPEARANCE_PER_LEVEL * level)
        if l1:
            self._l1(density, level, *f.resolution, f.unit, l1)
        groups = (
            (tv_density, 0, density, f.num_levels),
            (tv_appearance, f.density_blocks, appearance, APPEARANCE_PER_LEVEL * f.num_levels),
        )
        for weight, first, blocks, components in groups:
            if weight:
                self._total_variation(first, blocks, level, components, *f.resolution, f.unit, weight * TV_FACTOR)
            if orthogonality:
                self._gram(first, blocks, level, *f.resolution, f.unit)
                self._orthogonality(first, blocks, components, *f.resolution, f.unit, orthogonality)

    @ti.func
    def add_to(self, texel, amount):
        """Plain read, add, write: only the task that owns a texel calls this."""
        self.field.gradient[texel] = self.field.gradient[texel] + amount

    @ti.kernel
    def _l1(self, blocks: int, level: int, nx: int, ny: int, nz: int, unit: int, weight: float):
        # sum over planes and lines of mean |v|, over all R components: d = sign(v) / (R size)
        for b, t in ti.ndrange(blocks, unit):
            size = nx * ny
            if t >= nx * ny:
                size = nx * nz
            if t >= nx * ny + nx * nz:
                size = ny * nz
            lines = nx * ny + nx * nz + ny * nz
            if t >= lines:
                size = nz
            if t >= lines + nz:
                size = ny
            if t >= lines + nz + ny:
                size = nx
            v = self.field.value[b * unit + t]
            self.add_to(
                b * unit + t,
                ti.math.sign(v) * self.field.mask[level - 1, b] * (weight / (self.field.num_levels * size)),
            )

    @ti.kernel
    def _total_variation(
        self, first: int, blocks: int, level: int, components: int, nx: int, ny: int, nz: int, unit: int,
        weight: float,
    ):  # fmt: skip
        # 2 (mean of squared differences along each axis): d v = 4 (v - neighbour) / count, from both sides
        for b, t in ti.ndrange(blocks, nx * ny + nx * nz + ny * nz):
            ni, nj, start = nx, ny, 0
            if t >= nx * ny + nx * nz:
                ni, nj, start = ny, nz, nx * ny + nx * nz
            elif t >= nx * ny:
                ni, nj, start = nx, nz, nx * ny
            i = (t - start) % ni
            j = (t - start) // ni
            at = (first + b) * unit + t
            v = self.field.value[at]
            across = v * 0.0
            along = v * 0.0
            if i > 0:
                across += v - self.field.value[at - 1]
            if i < ni - 1:
                across += v - self.field.value[at + 1]
            if j > 0:
                along += v - self.field.value[at - ni]
            if j < nj - 1:
                along += v - self.field.value[at + ni]
            d = across * (4.0 / (components * (ni - 1) * nj)) + along * (4.0 / (components * ni * (nj - 1)))
            self.add_to(at, d * self.field.mask[level - 1, first + b] * weight)

    @ti.func
    def line_start(self, mode, nx, ny, nz):
        """Where the lines of a mode begin in a unit, and how many nodes each has."""
        start = nx * ny + nx * nz + ny * nz
        size = nz
        if mode == 1:
            start += nz
            size = ny
        elif mode == 2:
            start += nz + ny
            size = nx
        return start, size

    @ti.kernel
    def _gram(self, first: int, blocks: int, level: int, nx: int, ny: int, nz: int, unit: int):
        # sign of every off-diagonal product of two active lines
        for mode, r, s in ti.ndrange(3, blocks * BLOCK, blocks * BLOCK):
            start, size = self.line_start(mode, nx, ny, nz)
            br, bs = first + r // BLOCK, first + s // BLOCK
            total = 0.0
            for k in range(size):
                a = self.field.value[br * unit + start + k][r % BLOCK]
                total += a * self.field.value[bs * unit + start + k][s % BLOCK]
            active = self.field.mask[level - 1, br][r % BLOCK] * self.field.mask[level - 1, bs][s % BLOCK]
            self.gram[mode, r, s] = ti.select(r == s, 0.0, ti.math.sign(total) * active)

    @ti.kernel
    def _orthogonality(
        self, first: int, blocks: int, components: int, nx: int, ny: int, nz: int, unit: int, weight: float
    ):
        # mean over r != s of |L_r . L_s|: d L_r = 2 sum_s sign(L_r . L_s) L_s / (R (R - 1))
        for mode, r in ti.ndrange(3, blocks * BLOCK):
            start, size = self.line_start(mode, nx, ny, nz)
            at = (first + r // BLOCK) * unit + start
            for k in range(size):
                total = 0.0
                for s in range(blocks * BLOCK):
                    other = self.field.value[(first + s // BLOCK) * unit + start + k][s % BLOCK]
                    total += self.gram[mode, r, s] * other
                d = total * (2.0 * weight / ti.max(1, components * (components - 1)))
                self.field.gradient[at + k][r % BLOCK] = self.field.gradient[at + k][r % BLOCK] + d
