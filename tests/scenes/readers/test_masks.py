"""Masks beside photographs: what they hide is transparent, whoever names them, and bad ones are told apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import scenes
from tests.capture_files import COUNT, HEIGHT, WIDTH, write_colmap, write_nerfstudio
from tests.scene_files import refused, warned

LEFT = np.zeros((HEIGHT, WIDTH), np.uint8)
LEFT[:, : WIDTH // 2] = 255


def write_masks(root: Path, name: str, masks: dict[int, np.ndarray], mode: str = "L") -> None:
    """``masks`` by the number of the image, in files that are called like ``name`` with the number in it."""
    for index, mask in masks.items():
        path = root / name.format(f"IMG_{index:03}")
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(mask).convert(mode).save(path)


def with_mask_paths(root: Path, masks: dict[int, np.ndarray], mode: str = "L") -> None:
    """A transforms.json whose frames name their masks."""
    data = write_nerfstudio(root)
    write_masks(root, "hidden/{}.png", masks, mode)
    for index in masks:
        data["frames"][index]["mask_path"] = f"./hidden/IMG_{index:03}.png"
    (root / "transforms.json").write_text(json.dumps(data))


def check_left(scene) -> None:
    """Of every image the left half is seen, in its own colours."""
    for split in (scene.train, scene.test):
        for index, name in enumerate(split.names):
            image = split.pixels[index].astype(np.float32)
            with Image.open(Path(scene.source) / name) as file:
                expected = np.asarray(file.convert("RGBA"), np.float32) / 255
            expected[:, WIDTH // 2 :] = 0
            np.testing.assert_allclose(image, expected, atol=6e-4)  # half precision


@pytest.mark.parametrize("name", ["masks/{}.png.png", "masks/{}.png"])
@pytest.mark.parametrize("writer", [write_nerfstudio, write_colmap])
def test_masks_of_the_folder_hide_the_background(tmp_path, writer, name):
    writer(tmp_path)
    write_masks(tmp_path, name, dict.fromkeys(range(COUNT), LEFT))
    scene = scenes.load(str(tmp_path))
    check_left(scene)
    assert any(f"masks of {COUNT} images" in text for text in scene.warnings)


@pytest.mark.parametrize(
    ("mask", "mode"),
    [(LEFT, "L"), (LEFT // 255, "L"), (LEFT, "1"), (LEFT, "RGB"), (LEFT, "P"), (LEFT.astype(np.uint16) * 257, "I;16"),
     (np.stack([np.full_like(LEFT, 255)] * 3 + [LEFT], axis=2), "RGBA")],
)  # fmt: skip
def test_masks_that_frames_name_may_be_of_any_kind(tmp_path, mask, mode):
    with_mask_paths(tmp_path, dict.fromkeys(range(COUNT), mask), mode)
    check_left(scenes.load(str(tmp_path)))


def test_a_mask_of_another_size_is_resized_and_it_is_said(tmp_path):
    with_mask_paths(tmp_path, dict.fromkeys(range(COUNT), np.repeat(np.repeat(LEFT, 3, axis=0), 3, axis=1)))
    text = warned(tmp_path)
    assert f"'hidden/IMG_000.png' is {3 * WIDTH} x {3 * HEIGHT} pixels and its image {WIDTH} x {HEIGHT}" in text
    check_left(scenes.load(str(tmp_path)))


def test_images_without_a_mask_are_whole_and_it_is_said(tmp_path):
    write_nerfstudio(tmp_path)
    write_masks(tmp_path, "masks/{}.png", {3: LEFT, 4: LEFT})
    scene = scenes.load(str(tmp_path))
    alphas = [scene.train.pixels.alpha_range(index)[0] for index in range(len(scene.train))]
    assert alphas.count(0.0) == 2
    assert any(f"the other {COUNT - 2} are learnt from as a whole" in text for text in scene.warnings)


def test_a_folder_whose_files_belong_to_no_image_is_said(tmp_path):
    write_nerfstudio(tmp_path)
    write_masks(tmp_path, "masks/other-{}.png", {3: LEFT})
    assert "none of its files is called like an image" in warned(tmp_path)
    assert scenes.load(str(tmp_path)).train.pixels.opaque


def test_empty_masks_are_said_and_refused_where_all_are(tmp_path):
    masks = dict.fromkeys(range(COUNT), LEFT)
    with_mask_paths(tmp_path, {**masks, 4: np.zeros_like(LEFT)})
    assert "frame 4, key 'mask_path': 'IMG_004.png' is black throughout" in warned(tmp_path)
    with_mask_paths(tmp_path, dict.fromkeys(range(COUNT), np.zeros_like(LEFT)))
    assert "invert the masks" in refused(tmp_path)


@pytest.mark.parametrize(
    ("value", "says"),
    [("hidden/none.png", "there is no mask"), ("../elsewhere.png", "leads out"), (7, "the path of an image"),
     ("transforms.json", "not a readable image"), ("m" * 300, "File name too long")],
)  # fmt: skip
def test_masks_that_cannot_be_read_are_refused_by_frame_and_key(tmp_path, value, says):
    data = write_nerfstudio(tmp_path)
    data["frames"][2]["mask_path"] = value
    (tmp_path / "transforms.json").write_text(json.dumps(data))
    message = refused(tmp_path)
    assert "frame 2, key 'mask_path'" in message
    assert says in message


def test_a_truncated_mask_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)
    with_mask_paths(tmp_path, {1: noise})
    path = tmp_path / "hidden/IMG_001.png"
    path.write_bytes(path.read_bytes()[:-60])
    assert "frame 1, key 'mask_path'" in refused(tmp_path)
