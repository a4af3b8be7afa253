"""VM fields filled with noise, and what is asked of them."""

import numpy as np

from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK, Vec3, empty, upload
from taichi_rf.fields.vm.field import VMField
from taichi_rf.fields.vm.layout import unit_texels
from tests.twin_fields import VMTwin

RANKS = 18  # 18 density and 54 appearance components a mode: two and four blocks, the last of each partly padding
RESOLUTION = (7, 6, 5)
FINE = (13, 11, 9)
SHIFT = -1.0
ROWS = 64
COUNT = 40


def randomise(field: VMField, rng: np.random.Generator, resolution=RESOLUTION, *, scale: float = 0.6) -> VMTwin:
    """Fill the whole field, its padding too, with noise, on a grid of ``resolution``; returns its twin."""
    blocks = field.total_blocks
    unit = unit_texels(resolution)
    arena = (scale * rng.standard_normal((blocks, unit, BLOCK))).astype(np.float32)
    nx, ny, nz = resolution
    cuts = np.cumsum([nx * ny, nx * nz, ny * nz, nz, ny])
    shapes = [(ny, nx, BLOCK), (nz, nx, BLOCK), (nz, ny, BLOCK), (nz, BLOCK), (ny, BLOCK), (nx, BLOCK)]
    parts = [[p.reshape(s) for p, s in zip(np.split(block, cuts), shapes)] for block in arena]
    field.set_factors([(p[:3], p[3:]) for p in parts], resolution)
    basis = rng.standard_normal(field.basis_value.shape).astype(np.float32)
    field.basis_value.from_numpy(basis)
    field.published()
    clear(field)
    return VMTwin(
        arena.reshape(-1, BLOCK), basis, ranks=field.num_levels, resolution=resolution, shift=SHIFT, relu=field.relu
    )


def clear(field: VMField) -> None:
    field.gradient.fill(0)
    field.basis_gradient.fill(0)


def somewhere(rng: np.random.Generator, count: int = COUNT) -> np.ndarray:
    return rng.random((count, 3), dtype=np.float32)


def density(field: VMField, positions: np.ndarray, level: int = RANKS) -> np.ndarray:
    out = empty(ti.f32, len(positions))
    field.density(len(positions), upload(positions, Vec3), out, level)
    return out.to_numpy()


def features(field: VMField, positions: np.ndarray, first: int = 0, level: int = RANKS) -> np.ndarray:
    n = len(positions) - first
    field.lookup(n, first, upload(positions, Vec3), level)
    return rows(field.features(n, level), n)


def rows(blocks, n: int, width: int = 27) -> np.ndarray:
    return blocks.to_numpy()[:n].reshape(n, -1)[:, :width]


def row_field(field: VMField, values: np.ndarray):
    """Rows (n, 27) as a decoder hands them back: a field of blocks."""
    padded = np.zeros((ROWS, 2 * BLOCK), np.float32)
    padded[: len(values), : values.shape[1]] = values
    field.from_decoder.from_numpy(padded.reshape(ROWS, 2, BLOCK))
    return field.from_decoder


def density_gradient(
    field: VMField, positions: np.ndarray, d_density: np.ndarray, level: int | None = None
) -> np.ndarray:
    """What density_adjoint adds to the factors, laid out as the twin's arena."""
    place, out = upload(positions, Vec3), empty(ti.f32, len(positions))
    level = level or field.num_levels
    field.density(len(positions), place, out, level)
    field.density_adjoint(len(positions), place, out, upload(d_density), level)
    return arena(field)


def features_gradient(field: VMField, positions: np.ndarray, d_features, first: int = 0, level: int = RANKS):
    """What features_adjoint adds to factors and basis, laid out as the twin's."""
    n = len(positions) - first
    place = upload(positions, Vec3)
    field.lookup(n, first, place, level)
    field.features(n, level)
    field.features_adjoint(n, first, place, d_features, level)
    return arena(field), field.basis_gradient.to_numpy().reshape(3, -1, 27)


def arena(field: VMField) -> np.ndarray:
    return field.gradient.to_numpy()[: field.unit * field.total_blocks].reshape(field.total_blocks, field.unit, BLOCK)
