"""The vector-matrix factorised field (TensoRF, Chen et al. 2022; slimmable as in SlimmeRF, Yuan 2024).

Three modes; mode m has R planes over two axes and R lines over the third. Level r keeps the first r density and 3r
appearance components: a hard limit in the loops instead of the paper's masks of 1e-6 (equivalent, because masked
entries receive gradients 1e-12 times smaller, far below Adam's epsilon). How it lies in memory is in ``layout.py``,
what is computed on it in ``lookups.py`` and ``kernels.py``; here are its parameters and its file.
"""

from typing import Any

import numpy as np

from taichi_rf.coding.headers import are_whole, is_number, is_whole, wrong
from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK
from taichi_rf.fields.accounts import vm_accounts
from taichi_rf.fields.base import COMPACT, HALF, Accounts, Arrays, Coded, Header, Nodes, Schema, Stage
from taichi_rf.fields.vm import factor_coding, stored
from taichi_rf.fields.vm.kernels import VMKernels
from taichi_rf.fields.vm.layout import APPEARANCE_PER_LEVEL, MAX_RANKS, unit_texels
from taichi_rf.fields.vm.lookups import FEATURES
from taichi_rf.fields.vm.regularisers import VMRegularisers
from taichi_rf.kernels.linear import blocks_of
from taichi_rf.kernels.optim import Parameters

CORNERS_READ = 6  # texels of a mode at a sample: four of a plane and two of a line
MAX_NODES = 1024
"""Largest grid side that is read from a file."""


class Decoded(Arrays):
    """A level as it is in half precision, and the reader of the next."""

    reader: factor_coding.Reader


class VMField(VMKernels):
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
        super().__init__(ranks, resolution, capacity_texels, activation, density_shift, rows)
        used = self.unit * self.total_blocks
        if seed is not None:
            rng = np.random.default_rng(seed)
            values = np.zeros((self.value.shape[0], BLOCK), np.float32)
            values[:used] = 0.1 * rng.standard_normal((used, BLOCK), dtype=np.float32)
            self.value.from_numpy(values)
            self.basis_value.from_numpy(self._real_basis_rows(self.basis.initial(rng)))
        self.basis.publish(self.basis_value)
        self._parameters = [
            Parameters("factors", self.value, self.gradient, factor_rate, used, trains),
            Parameters("basis", self.basis_value, self.basis_gradient, basis_rate, self.basis.size, trains),
        ]
        self._groups: dict[tuple[int, int], tuple[Any, Any]] = {}
        self._regularisers = VMRegularisers(self)

    def _real_basis_rows(self, values: np.ndarray) -> np.ndarray:
        """Zero the rows that belong to components which only pad the last block."""
        rows = values.reshape(3, self.appearance_blocks * BLOCK, FEATURES).copy()
        rows[:, APPEARANCE_PER_LEVEL * self.num_levels :] = 0
        return rows.reshape(-1)

    # Parameters

    def parameters(self, level: int | None = None, above: int | None = None) -> list[Parameters]:
        factors, basis = self._parameters
        level = level or self.num_levels
        blocks = blocks_of(APPEARANCE_PER_LEVEL * level)
        factors = factors.limited(self.unit * (self.density_blocks + blocks))
        if above is None:
            return [factors, basis]
        components, rows = self._moving(level, above)
        return [factors.resting(components, self.unit), basis.resting(rows, FEATURES)]

    def _moving(self, level: int, above: int) -> tuple[Any, Any]:
        """1 for what ranks above + 1 to ``level`` have and 0 for the rest: a vector a block of factors, and a number a
        row of the basis."""
        if (level, above) not in self._groups:
            mask = self._mask_of(level) - self._mask_of(above)
            components = ti.Vector.field(BLOCK, ti.f32, self.total_blocks)
            rows = ti.field(ti.f32, 3 * self.appearance_blocks * BLOCK)
            components.from_numpy(mask)
            rows.from_numpy(np.tile(mask[self.density_blocks :].reshape(-1), 3))
            self._groups[level, above] = components, rows
        return self._groups[level, above]

    def published(self) -> None:
        self.forget_narrow()
        self.basis.publish(self.basis_value)

    def regularise(self, level: int, l1: float, tv_density: float, tv_appearance: float, orthogonality: float) -> None:
        self._regularisers.add(level, l1, tv_density, tv_appearance, orthogonality)

    # What a step costs

    def forward_stages(self, n: int, positions: Any, density: Any, m: int, shaded: Any, level: int) -> list[Stage]:
        texels = CORNERS_READ * BLOCK * 4  # bytes of one block of 16 components
        blocks = blocks_of(APPEARANCE_PER_LEVEL * level)
        products = 3 * blocks
        return [
            Stage("density", lambda: self.density(n, positions, density, level), n, size=3 * texels * n),
            Stage(
                "lookup features", lambda: self.lookup(m, 0, shaded, level), m,
                size=(3 * texels * blocks + products * BLOCK * 4) * m,
            ),
            Stage("basis", lambda: self.features(m, level), m, operations=2.0 * products * BLOCK * FEATURES * m),
        ]  # fmt: skip

    def backward_stages(
        self, n: int, positions: Any, density: Any, gradient: Any, m: int, shaded: Any, d_features: Any,
        level: int,
    ) -> list[Stage]:  # fmt: skip
        texels = 3 * CORNERS_READ * BLOCK * 4  # read, and gradients read and written
        blocks = blocks_of(APPEARANCE_PER_LEVEL * level)

        def scatter_density() -> None:
            gradient.fill(1.0)  # no sample may be skipped here
            self.density_adjoint(n, positions, density, gradient, level)

        return [
            Stage(
                "basis adjoint", lambda: self.features_adjoint(m, 0, shaded, d_features, level), m,
                operations=4.0 * 3 * blocks * BLOCK * FEATURES * m,
                apart=lambda: self.scatter_products(m, 0, shaded, level),
            ),
            Stage(
                "scatter features", lambda: self.scatter_products(m, 0, shaded, level), m,
                size=3.0 * texels * blocks * m,
            ),
            Stage(
                "scatter density", scatter_density, n, size=3.0 * texels * n, apart=lambda: gradient.fill(1.0)
            ),
        ]  # fmt: skip

    # Storage: half precision, as the paper stores it, or coded

    def bytes_at(self, level: int) -> int:
        schema = self.level_schema(self.header(), 1)  # every level stores the same
        return level * sum(int(np.prod(shape)) * np.dtype(kind).itemsize for kind, shape in schema.values())

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
            np.stack([self.level_factors(level, array) for level in ranks])
            for array in (self.value.to_numpy(), squares[0])
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

    @classmethod
    def cut(cls, header: Header, arrays: list[Arrays], low: Nodes, high: Nodes) -> tuple[Header, list[Arrays]]:
        return stored.cut(header, arrays, low, high)

    def pack(self, level: int) -> Arrays:
        factors = self.level_factors(level, self.value.to_numpy())
        limit = np.finfo(np.float16).max
        return {"factors": np.clip(factors, -limit, limit).astype(np.float16), "basis": self._basis(level)}

    def _basis(self, level: int) -> np.ndarray:
        """A level's rows of the basis, as stored."""
        basis = self.basis_value.to_numpy().reshape(3, -1, FEATURES)
        first = APPEARANCE_PER_LEVEL * (level - 1)
        return basis[:, first : first + APPEARANCE_PER_LEVEL].astype(np.float16)

    def unpack(self, arrays: list[Arrays]) -> None:
        """Replace the levels 1, 2, ... by what :meth:`pack` made of them; those above stay."""
        for level, own in enumerate(arrays, 1):
            self.put(level, own)

    def put(self, level: int, prepared: Arrays) -> None:
        for (block, component), column in zip(self.components(level), prepared["factors"], strict=True):
            self._put(self.unit, block, component, np.ascontiguousarray(column, np.float32))
        basis = self.basis_value.to_numpy().reshape(3, -1, FEATURES)
        first = APPEARANCE_PER_LEVEL * (level - 1)
        basis[:, first : first + APPEARANCE_PER_LEVEL] = prepared["basis"]
        self.basis_value.from_numpy(basis.reshape(-1))
        self.published()

    def rehearse(self, header: Header) -> None:
        self.put(1, self.zeros({**header, "coding": HALF}, 1))
