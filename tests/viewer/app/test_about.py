"""What is said of something that was opened once comes from its header, whatever lies there by now."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from taichi_rf.motion.screenshot import save_picture
from taichi_rf.storage.trf import write_trf
from taichi_rf.training.run import MODEL, THUMBNAIL
from tests.tiny import write_tiny_scene
from viewer.app.about import about

METADATA = {"scene": "lantern", "method": "slimmerf", "level_psnr": [20.0, 28.0]}


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (METADATA, "lantern, slimmerf, 28.0 dB"),
        ({**METADATA, "coding_loss": [0.0, 0.4]}, "lantern, slimmerf, ≈ 27.6 dB"),
        ({"scene": 7, "method": ["x"], "level_psnr": "many"}, "unnamed"),
    ],
)
def test_a_model_is_its_scene_its_method_its_decibels_and_its_bytes(metadata, said, tmp_path):
    size = write_trf(tmp_path / "some.trf", {"metadata": metadata}, [b"a" * 3000, b"b" * 3000])[-1]
    found = about(tmp_path / "some.trf")
    assert (found.name, found.detail) == ("some.trf", f"{said}, {size / 1000:.1f} kB")


def test_a_run_has_a_small_picture_where_its_training_left_one(tmp_path):
    write_trf(tmp_path / MODEL, {"metadata": METADATA}, [b"a"])
    assert about(tmp_path).picture is None
    picture = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
    save_picture(tmp_path / THUMBNAIL, picture)
    np.testing.assert_array_equal(about(tmp_path).picture, picture)
    for spoilt in (b"", b"\x89PNG\r\n\x1a\n junk", (tmp_path / THUMBNAIL).read_bytes()[:60]):
        (tmp_path / THUMBNAIL).write_bytes(spoilt)
        assert about(tmp_path).picture is None
    save_picture(tmp_path / THUMBNAIL, np.zeros((600, 600, 3), np.uint8))  # none of ours
    assert about(tmp_path).picture is None


def test_scenes_and_what_is_gone_or_broken_are_said(tmp_path):
    write_tiny_scene(tmp_path / "balls")
    assert about(tmp_path / "balls").detail == f"scene in {tmp_path.name}"
    assert about(tmp_path / "nowhere").detail == "is gone"
    (tmp_path / "broken.trf").write_bytes(b"no model")
    assert about(Path(tmp_path / "broken.trf")).detail == "cannot be read"
