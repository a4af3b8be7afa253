"""Every mode of rendering against what it says it shows: numpy twins, and a ball whose surface is known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.fields.vm.field import VMField
from taichi_rf.kernels.rays import Camera, look_at
from taichi_rf.rendering import colormaps
from taichi_rf.rendering.decoders.spherical_harmonics import SphericalHarmonics
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.pictures import MODES, SAMPLES_AT_TOP, render
from taichi_rf.rendering.radiance_model import RadianceModel
from taichi_rf.rendering.settings import RenderSettings
from taichi_rf.rendering.volume_renderer import FAINTEST, REACH, SURFACE
from tests import twins
from tests.arches import per_arch
from tests.twin_fields import VMTwin

RANKS = 3
RESOLUTION = (25, 22, 20)
SHIFT = -5.0
BOX = np.array([[-1.0, -1.1, -0.8], [1.1, 0.9, 1.0]], np.float32)
BACKGROUND = (0.2, 0.5, 0.9)
SHARPNESS = 20.0  # of the ball: density at its middle
MIDDLE, RADIUS = np.array([0.1, -0.1, 0.15]), 0.6


class Scene:
    """Two models on one field: lumps of noise, and (with :meth:`ball`) a ball."""

    def __init__(self) -> None:
        self.field = VMField(ranks=RANKS, resolution=RESOLUTION, density_shift=SHIFT, rows=500)
        self.model = RadianceModel(
            self.field, SphericalHarmonics(rows=500), box=BOX, near=0.2, far=9, background=BACKGROUND, distance_scale=6
        )

    def lumps(self) -> Model:
        rng = np.random.default_rng(4)
        factors = self.zeros()
        for planes, lines in factors:
            for part in (*planes, *lines):
                part[...] = np.repeat(rng.uniform(-1.0, 2.8, (-(-len(part) // 4), *part.shape[1:])), 4, 0)[: len(part)]
        return self.take(factors)

    def ball(self) -> Model:
        """Density SHARPNESS (1 - r^2 / RADIUS^2): rank 1 has x and y of it, rank 2 has z, rank 3 undoes the shift."""
        factors = self.zeros()
        planes, lines = factors[0]
        axes = [np.linspace(low, high, n) - m for low, high, n, m in zip(*BOX, RESOLUTION, MIDDLE)]
        x, y, z = axes
        planes[0][..., 0] = 1 - (x**2 + y[:, None] ** 2) / RADIUS**2
        lines[0][..., 0] = 1
        planes[0][..., 1] = 1
        lines[0][..., 1] = -(z**2) / RADIUS**2
        for c in (0, 1):
            planes[0][..., c] *= SHARPNESS
        planes[0][..., 2], lines[0][..., 2] = -SHIFT, 1  # density starts at the surface
        return self.take(factors)

    def zeros(self) -> Any:
        factors = self.field.factors()
        for planes, lines in factors:
            for part in (*planes, *lines):
                part[...] = 0
        return factors

    def take(self, factors: Any) -> Model:
        self.field.set_factors(factors, RESOLUTION)
        self.field.published()
        self.model.refresh_occupancy(1e-4, level=RANKS, grow=False)
        return self.model


@per_arch
def scene() -> Scene:
    return Scene()


def camera(width: int = 40, height: int = 30, *, eye=(2.6, -1.2, 1.7)) -> Camera:
    focal = width / 2 / math.tan(0.4)
    return Camera(look_at(eye, MIDDLE), focal, focal, width / 2, height / 2, width, height)


class Rays:
    """Samples of a camera's rays, weighed by the twins: (rays,) and (samples,) arrays in float64."""

    def __init__(self, model: Model, view: Camera, level: int = RANKS) -> None:
        self.origins, self.directions = (a.astype(np.float64) for a in view.rays())
        samples = model.march(*view.rays(), model.settings(level))
        count = samples.count
        self.offsets = samples.offsets.to_numpy()[: samples.rays + 1]
        self.t, self.step = samples.t.to_numpy()[:count].astype(np.float64), samples.step
        positions = samples.positions.to_numpy()[:count]
        self.twin = VMTwin(
            model.field.value.to_numpy(), model.field.basis_value.to_numpy(), ranks=RANKS, resolution=RESOLUTION,
            shift=SHIFT,
        )  # fmt: skip
        self.level = level
        density = self.twin.density(positions, self.level)
        self.weighed = twins.weigh(self.offsets, self.t, density, samples.step * model.distance_scale)

    def surface(self, share: float) -> np.ndarray:
        """Distance (rays,) up to which ``share`` of each ray's weight lies, spread evenly over each sample's step."""
        found = np.zeros(len(self.offsets) - 1)
        for ray in range(len(found)):
            part = slice(self.offsets[ray], self.offsets[ray + 1])
            if self.weighed.opacity[ray] > 0:
                starts, weights = self.t[part] - self.step / 2, self.weighed.weights[part]
                before = np.cumsum(weights) - weights
                at = np.flatnonzero(before < share * self.weighed.opacity[ray])[-1]
                inside = (share * self.weighed.opacity[ray] - before[at]) / weights[at]
                found[ray] = starts[at] + inside * self.step
        return found

    def log_density(self, points: np.ndarray, thickness: float) -> np.ndarray:
        """At world ``points``, per ``thickness``."""
        unit = np.clip((points - BOX[0]) / (BOX[1] - BOX[0]), 0, 1)
        return np.log(self.twin.density(unit, self.level) * thickness + FAINTEST)


@pytest.mark.parametrize("level", [1, 3])
def test_normals_are_the_slope_of_log_density_where_the_surface_begins(scene, level):
    model, view = scene.lumps(), camera()
    picture = render(model, view, level=level, mode="normals").reshape(-1, 3)
    rays = Rays(model, view, level)
    voxel = ((BOX[1] - BOX[0]) / (np.array(RESOLUTION) - 1)).mean()
    points = rays.origins + rays.directions * rays.surface(SURFACE)[:, None]
    slope = np.empty_like(points)
    for axis in range(3):
        aside = REACH * voxel * np.eye(3)[axis]
        thickness = voxel * model.distance_scale
        slope[:, axis] = rays.log_density(points + aside, thickness) - rays.log_density(points - aside, thickness)
    steepness = np.linalg.norm(slope, axis=1)
    normals = -slope / np.maximum(steepness, 1e-9)[:, None]
    cover = rays.weighed.opacity[:, None]
    expected = cover * (0.5 + 0.5 * normals) + (1 - cover) * BACKGROUND
    sure = (steepness > 0.1) | (rays.weighed.opacity < 1e-3)
    assert sure.mean() > 0.95
    assert (rays.weighed.opacity > 0.5).mean() > 0.1
    np.testing.assert_allclose(picture[sure], expected[sure], atol=5e-3)


def test_normals_of_a_ball_point_away_from_its_middle(scene):
    model, view = scene.ball(), camera()
    picture = render(model, view, mode="normals", background=(0, 0, 0)).reshape(-1, 3)
    origins, directions = (a.astype(np.float64) for a in view.rays())
    offset = origins - MIDDLE
    b = (offset * directions).sum(1)
    inside = b**2 - (offset**2).sum(1) + RADIUS**2
    well = inside > (0.4 * RADIUS) ** 2  # not at the rim, where normals turn within a pixel
    outward = (offset + (-b - np.sqrt(np.maximum(inside, 0)))[:, None] * directions)[well] / RADIUS
    assert well.sum() > 200
    found = 2 * picture[well] - 1
    angles = np.degrees(np.arccos(np.clip((found * outward).sum(1) / np.linalg.norm(found, axis=1), -1, 1)))
    assert np.median(angles) < 3
    assert angles.max() < 10
    np.testing.assert_allclose(picture[inside < -0.1], 0, atol=0.01)


def test_depth_is_the_colour_of_the_expected_distance(scene):
    model, view = scene.lumps(), camera()
    picture = render(model, view, mode="depth").reshape(-1, 3)
    rays = Rays(model, view)
    opacity = rays.weighed.opacity
    distance = rays.weighed.depth / np.maximum(opacity, 1e-6)
    middle, radius = BOX.mean(0), 0.65 * np.linalg.norm(BOX[1] - BOX[0]) / 2
    away = np.linalg.norm(view.position - middle)
    closeness = (away + radius - distance) / (2 * radius)
    seen = opacity > 0
    assert seen.any()
    assert not seen.all()
    np.testing.assert_allclose(
        picture, colormaps.apply("turbo", closeness) * np.where(seen, opacity, 0)[:, None], atol=2e-3
    )


def test_depth_of_a_ball_tells_near_from_far(scene):
    model = scene.ball()
    front = np.array([1.0, 0.0, 0.0])
    one_pixel = [render(model, camera(1, 1, eye=MIDDLE + away * front), mode="depth")[0, 0] for away in (1.2, 3.0)]
    for pixel, away in zip(one_pixel, (1.2, 3.0)):
        eye = MIDDLE + away * front
        centre, radius = np.linalg.norm(eye - BOX.mean(0)), 0.65 * np.linalg.norm(BOX[1] - BOX[0]) / 2
        nearest = max(centre - radius, 0)
        closeness = (centre + radius - (away - RADIUS)) / (centre + radius - nearest)
        np.testing.assert_allclose(pixel, colormaps.apply("turbo", closeness), atol=0.12)


def test_opacity_is_that_of_the_samples_in_grey(scene):
    model, view = scene.lumps(), camera()
    picture = render(model, view, mode="opacity").reshape(-1, 3)
    expected = Rays(model, view).weighed.opacity
    np.testing.assert_allclose(picture, np.repeat(expected[:, None], 3, 1), atol=1e-4)
    assert 0 < expected.mean() < 1


def test_samples_are_counted_on_a_scale_that_never_changes(scene):
    model, view = scene.lumps(), camera()
    picture = render(model, view, mode="samples")
    counts = np.diff(model.march(*view.rays(), model.settings(), count_only=True).offsets.to_numpy()[: 40 * 30 + 1])
    assert counts.min() == 0
    assert counts.max() > 10
    expected = colormaps.apply("viridis", np.log2(1 + counts) / 8).reshape(30, 40, 3)
    np.testing.assert_allclose(picture, expected, atol=1e-6)
    assert np.log2(1 + SAMPLES_AT_TOP) == 8
    np.testing.assert_array_equal(picture, render(model, view, mode="samples", level=1))


def test_occupancy_shows_cubes_where_the_grid_is_marked_and_the_background_elsewhere(scene):
    model, view = scene.ball(), camera()
    picture = render(model, view, mode="occupancy").reshape(-1, 3)
    rows = model.occupancy.to_numpy()
    origins, directions = (a.astype(np.float64) for a in view.rays())
    z, y, x = np.nonzero(rows)
    size = (BOX[1] - BOX[0]) / np.array(rows.shape[::-1])
    low = BOX[0] + np.stack([x, y, z], 1) * size
    hit, deep = np.zeros(len(origins), bool), np.zeros(len(origins), bool)
    for r in range(len(origins)):
        a, b = (low - origins[r]) / directions[r], (low + size - origins[r]) / directions[r]
        inside = np.maximum(a, b).min(1) - np.minimum(a, b).max(1)
        hit[r], deep[r] = (inside > -1e-4).any(), (inside > 1e-4).any()
    is_background = (np.abs(picture - BACKGROUND) < 1e-6).all(1)
    assert 100 < hit.sum() < len(hit) - 100
    assert is_background[~hit].all()
    assert not is_background[deep].any()
    shades = np.unique(picture[deep][:, 0].round(2))
    assert len(shades) > 8  # faces, creases and distance
    assert shades.min() > 0.1


@pytest.mark.parametrize("mode", MODES)
def test_bands_join_without_a_seam(scene, mode):
    model, view = scene.lumps(), camera(37, 23)
    whole = render(model, view, mode=mode)
    assert whole.shape == (23, 37, 3)
    assert whole.dtype == np.float32
    assert ((whole >= 0) & (whole <= 1)).all()
    assert whole.std() > 0.01
    cuts = (0, 1, 8, 22, 23)
    bands = [
        render(model, replace(view, cy=view.cy - top, height=bottom - top), mode=mode)
        for top, bottom in zip(cuts, cuts[1:])
    ]
    np.testing.assert_array_equal(np.concatenate(bands), whole)


@pytest.mark.parametrize("mode", MODES)
def test_modes_leave_the_model_as_it_was(scene, mode):
    model = scene.lumps()
    before = model.field.value.to_numpy()
    render(model, camera(5, 4), mode=mode, level=1)
    np.testing.assert_array_equal(model.field.value.to_numpy(), before)
    with pytest.raises(UserError, match="rank 4 is outside"):
        render(model, camera(5, 4), mode=mode, level=4)


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_model_is_all_background(scene, mode):
    model = scene.lumps()
    model.occupancy.set_cells(np.zeros(model.occupancy.cells[::-1], bool))
    picture = render(model, camera(6, 5), mode=mode)
    expected = {
        "depth": (0, 0, 0), "opacity": (0, 0, 0), "samples": colormaps.apply("viridis", 0.0)
    }.get(mode, BACKGROUND)  # fmt: skip
    np.testing.assert_allclose(picture, np.broadcast_to(expected, picture.shape), atol=1e-6)


@pytest.mark.parametrize("mode", ["colour", "normals", "occupancy"])
def test_another_background_is_taken(scene, mode):
    picture = render(scene.ball(), camera(12, 10), mode=mode, background=(0.0, 1.0, 0.0))
    np.testing.assert_allclose(picture[0, 0], [0, 1, 0], atol=1e-6)


def test_an_unknown_mode_is_said(scene):
    with pytest.raises(UserError, match="unknown mode 'heat': choose one of colour, depth, normals"):
        render(scene.lumps(), camera(4, 4), mode="heat")  # type: ignore[arg-type]


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_first_levels_of_any_rays_at_once_are_those_rendered_alone(scene, levels):
    model, view = scene.lumps(), camera(12, 10)
    together = model.renderer.prefixes(*view.rays(), model.settings(levels))
    assert together.shape == (levels, 120, 3)
    for level in range(1, levels + 1):
        alone = render(model, view, level=level).reshape(-1, 3)
        np.testing.assert_allclose(np.clip(together[level - 1], 0, 1), alone, atol=2e-5)


def test_settings_are_the_models_own_but_for_what_is_given(scene):
    model = scene.lumps()
    assert model.settings() == RenderSettings(RANKS, model.near, model.far, model.weight_threshold)
    assert model.settings(2, near=0.5, far=4.0) == RenderSettings(2, 0.5, 4.0, model.weight_threshold)
    for level in (0, 4):
        with pytest.raises(UserError, match=f"rank {level} is outside"):
            model.settings(level)


def test_a_picture_ends_where_it_is_told_to(scene):
    model, view = scene.ball(), camera(12, 10)
    away = float(np.linalg.norm(view.position - MIDDLE))
    assert render(model, view, mode="opacity", far=away - RADIUS - 0.1).max() < 0.05
    assert render(model, view, mode="opacity", near=0.1, far=away).max() > 0.5
