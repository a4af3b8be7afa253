"""Colour maps against the published colours, and the evenness they are chosen for."""

from __future__ import annotations

import numpy as np
import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.rendering import colormaps

# Entries of the 256-colour tables as published (matplotlib's _cm_listed.py; Mikhailov's turbo_colormap.py)
PUBLISHED = {
    "viridis": {0: "440154", 64: "3b528b", 100: "2a768e", 128: "21918c", 200: "70cf57", 255: "fde725"},
    "magma": {0: "000004", 64: "51127c", 100: "892881", 128: "b73779", 200: "fd9869", 255: "fcfdbf"},
    "turbo": {0: "30123b", 64: "28bceb", 100: "3ff68a", 128: "a4fc3c", 200: "f46617", 255: "7a0403"},
}


def lightness(colours: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB colours (n, 3)."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)


@pytest.mark.parametrize("name", ["viridis", "magma", "turbo"])
def test_colours_are_the_published_ones(name):
    for entry, colour in PUBLISHED[name].items():
        expected = np.array(list(bytes.fromhex(colour))) / 255
        np.testing.assert_allclose(colormaps.apply(name, entry / 255), expected, atol=0.03)


@pytest.mark.parametrize("name", ["viridis", "magma"])
def test_more_is_lighter_and_evenly_so(name):
    light = lightness(colormaps.apply(name, np.linspace(0, 1, 101)))
    steps = np.diff(light)
    assert (steps > 0).all()
    assert steps.max() < 2.2 * steps.mean()


@pytest.mark.parametrize("name", colormaps.NAMES)
def test_shape_range_and_what_is_outside(name):
    values = np.array([[-1.0, 0.0, np.nan, -np.inf], [0.5, 1.0, 7.0, np.inf]])
    colours = colormaps.apply(name, values)
    assert colours.shape == (2, 4, 3)
    assert colours.dtype == np.float32
    assert ((colours >= 0) & (colours <= 1)).all()
    np.testing.assert_array_equal(colours[0], np.tile(colours[0, 1], (4, 1)))
    np.testing.assert_array_equal(colours[1, 1:], np.tile(colours[1, 1], (3, 1)))
    assert colormaps.apply(name, 0.3).shape == (3,)


def test_an_unknown_map_is_said():
    with pytest.raises(UserError, match="'jet': choose one of viridis, magma, turbo"):
        colormaps.apply("jet", 0.5)
