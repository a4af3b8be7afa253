"""How an octree field learns: batches whose rays are at several levels of detail, and the adjoints of its lookups.

The samples of a batch that is learnt from are looked up four times: for their densities, for their features, and for
the adjoints of both. The way down the tree is walked the first time, and the cells that it met are kept, 4 bytes a
level and sample. They also say at which level of detail a sample is, so that one march, one shading and one way back do
for the rays of all levels, where a pass a level took four times as many launches.
"""

from typing import Any

from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK, F32, I32, Vec3s
from taichi_rf.fields.octree.kernels import OctreeKernels, corner_weights
from taichi_rf.fields.octree.layout import CORNERS, MAX_LEVELS
from taichi_rf.kernels.march import STOP, Samples
from taichi_rf.kernels.volume import attenuate

Ends: Any = ti.types.vector(MAX_LEVELS, ti.i32)
"""Of the rays of a batch by depth: rays below the first number are at level 1, below the second at 2, and so on."""


@ti.data_oriented
class OctreeLearning(OctreeKernels):
    """What a training asks of the tree."""

    mixes_levels = True

    def density_learning(
        self, samples: Samples, shares: tuple[tuple[int, int], ...], distance_scale: float, density: Any
    ) -> None:
        self._kept = self._scratch.get("kept", ti.i32, samples.count * self.num_levels)
        if samples.count == 0:
            return
        ends, end = [0] * MAX_LEVELS, 0
        for level, rays in shares:
            end += rays
            for depth in range(self.depth(level), MAX_LEVELS + 1):
                ends[depth - 1] = end
        numbers = (Ends(*ends), self.quantiser, samples.offsets, samples.positions, density, self._kept)
        if self.owner:
            self._density_kept_along(samples.rays, samples.step * distance_scale, *numbers)
        else:  # a GPU has more use for samples side by side than for fewer of them
            self._density_kept(samples.count, *numbers)

    @ti.func
    def kept_density(self, i, depth, codes: ti.template(), p, cells: ti.template()):
        """Density at p by the first ``depth`` levels, whose cells are written down as those of sample i; -1 for what
        there is not, and for all where the last of the levels has none, for there nothing is learnt."""
        at, f = self.place(p)
        cell = self.base_cell(at)
        total = 0.0
        for l in range(self.num_levels):
            if 0 < l < depth:
                cell = self.child(cell, at, self.span - l)
            here = ti.select(l < depth, cell, -1)
            cells[i * self.num_levels + l] = here
            if here >= 0:
                total += self.density_of(codes, l, here, self.fraction(at, f, self.span - l))
        if cell < 0:
            for l in range(self.num_levels):
                cells[i * self.num_levels + l] = -1
        return ti.select(cell >= 0, self.activate(total), 0.0)

    @ti.kernel
    def _density_kept_along(
        self, n: int, delta: float, ends: Ends, codes: ti.template(), offsets: I32, positions: Vec3s, density: F32,
        cells: I32,
    ):  # fmt: skip
        for r in range(n):
            depth = 1
            for l in ti.static(range(self.num_levels - 1)):
                depth += ti.cast(r >= ends[l], ti.i32)
            transmittance = 1.0
            for i in range(offsets[r], offsets[r + 1]):
                here = 0.0
                if transmittance > STOP:
                    here = self.kept_density(i, depth, codes, positions[i], cells)
                    _, transmittance = attenuate(transmittance, here, delta)
                else:
                    for l in range(self.num_levels):
                        cells[i * self.num_levels + l] = -1
                density[i] = here

    @ti.kernel
    def _density_kept(
        self, n: int, ends: Ends, codes: ti.template(), offsets: I32, positions: Vec3s, density: F32, cells: I32
    ):
        for i in range(n):
            depth = 1
            for l in ti.static(range(self.num_levels - 1)):
                depth += ti.cast(i >= offsets[ends[l]], ti.i32)
            density[i] = self.kept_density(i, depth, codes, positions[i], cells)

    # Adjoints

    def density_adjoint(
        self, n: int, positions: Any, density: Any, d_density: Any, level: int, *, learning: bool = False
    ) -> None:
        if n == 0:
            return
        cells = self._kept if learning else self._located(n, 0, positions, level)
        if not self.signed:
            self._feature_gradient(n, density, d_density)
        if self.owner:
            self._scatter_density_owner(n, self.depth(level), positions, cells, d_density)
        else:
            self._scatter_density_atomic(n, self.depth(level), positions, cells, d_density)

    @ti.kernel
    def _feature_gradient(self, n: int, density: F32, d_density: F32):
        # d softplus(x) = 1 - exp(-softplus(x)), in place
        for i in range(n):
            d_density[i] = d_density[i] * (1.0 - ti.exp(-density[i]))

    def features_adjoint(
        self, n: int, first: int, positions: Any, d_features: Any, level: int, index: Any = None
    ) -> None:
        if n == 0:
            return
        kept = index is not None
        cells = self._kept if kept else self._located(n, first, positions, level)
        numbers = (n, first, self.depth(level), positions, index if kept else cells, int(kept), cells, d_features)
        if self.owner:
            self._scatter_features_owner(*numbers)
        else:
            self._scatter_features_atomic(*numbers)

    @ti.kernel
    def _scatter_density_owner(self, n: int, levels: int, positions: Vec3s, cells: I32, d: F32):
        # a task owns a level, and walks all samples in order
        ti.loop_config(block_dim=1)
        for l in range(levels):
            for i in range(n):
                cell = cells[i * self.num_levels + l]
                if cell >= 0 and d[i] != 0.0:
                    at, f = self.place(positions[i])
                    w = corner_weights(self.fraction(at, f, self.span - l))
                    corners = self.corners[cell]
                    for c in ti.static(range(CORNERS)):
                        v = corners[c]
                        self.gradients.density[v] = self.gradients.density[v] + w[c] * d[i]
                        self.gradients.touched[v] = 1

    @ti.kernel
    def _scatter_features_owner(
        self, n: int, first: int, levels: int, positions: Vec3s, index: I32, kept: int, cells: I32, d: ti.template()
    ):
        ti.loop_config(block_dim=1)
        for l in range(levels):
            for i in range(n):
                sample = i
                if kept != 0:
                    sample = index[first + i]
                cell = cells[sample * self.num_levels + l]
                if cell >= 0:
                    at, f = self.place(positions[first + i])
                    w = corner_weights(self.fraction(at, f, self.span - l))
                    corners = self.corners[cell]
                    row = d[i, 0]
                    for c in ti.static(range(CORNERS)):
                        v = corners[c]
                        self.gradients.features[v] = self.gradients.features[v] + w[c] * row
                        self.gradients.touched[v] = 1

    @ti.kernel
    def _scatter_density_atomic(self, n: int, levels: int, positions: Vec3s, cells: I32, d: F32):
        for i, l in ti.ndrange(n, levels):
            cell = cells[i * self.num_levels + l]
            if cell >= 0 and d[i] != 0.0:
                at, f = self.place(positions[i])
                w = corner_weights(self.fraction(at, f, self.span - l))
                corners = self.corners[cell]
                for c in ti.static(range(CORNERS)):
                    self.gradients.density[corners[c]] += w[c] * d[i]
                    self.gradients.touched[corners[c]] = 1

    @ti.kernel
    def _scatter_features_atomic(
        self, n: int, first: int, levels: int, positions: Vec3s, index: I32, kept: int, cells: I32, d: ti.template()
    ):
        # neighbouring threads take neighbouring channels of one sample
        for i, l, k in ti.ndrange(n, levels, BLOCK):
            sample = i
            if kept != 0:
                sample = index[first + i]
            cell = cells[sample * self.num_levels + l]
            if cell >= 0:
                at, f = self.place(positions[first + i])
                w = corner_weights(self.fraction(at, f, self.span - l))
                corners = self.corners[cell]
                for c in ti.static(range(CORNERS)):
                    self.gradients.features[corners[c]][k] += w[c] * d[i, 0][k]
                    self.gradients.touched[corners[c]] = 1
