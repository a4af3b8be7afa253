"""Model files that version 0.1.0 wrote are read and rendered as it did.

``tests/data`` holds a tensor of four ranks, the same with its numbers compressed, an octree of three levels, and
``pictures.npz``: what 0.1.0 rendered of each at every level, from one camera.
"""

from __future__ import annotations

import numpy as np
import pytest

from taichi_rf.api import camera
from taichi_rf.rendering.pictures import render
from taichi_rf.storage.model_file import load_model, save_model
from tests.places import ROOT

OLD = ROOT / "tests/data"


@pytest.mark.parametrize("backend", ["cpu"], indirect=True)
@pytest.mark.parametrize("name", ["tensor", "compressed_tensor", "octree"])
def test_a_model_of_the_first_version_looks_as_it_did(name, backend, tmp_path):
    model = load_model(OLD / f"{name}.trf")
    with np.load(OLD / "pictures.npz") as pictures:
        before = pictures[name].astype(np.float32)
    eye = camera((2.6, 2.2, 1.5), width=32, height=24)
    assert model.metadata["warnings"] == []
    assert len(before) == model.field.num_levels
    now = np.stack([render(model, eye, level=level) for level in range(1, len(before) + 1)])
    np.testing.assert_allclose(now, before, atol=2e-3)  # half precision
    # Cut by today's code, the first levels of the file show what they showed.
    assert load_model(OLD / f"{name}.trf", 1).metadata["prefix_bytes"][0] == model.metadata["prefix_bytes"][0]
    save_model(model, tmp_path / "again.trf")
    np.testing.assert_allclose(render(load_model(tmp_path / "again.trf"), eye), now[-1], atol=2e-2)
