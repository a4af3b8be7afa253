"""What identifies a rendering for ``--resume``: everything that changes a pixel, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from taichi_rf.cli.filming.frames import Form, Shot
from taichi_rf.cli.filming.recipe import WORDS, differences, digest_of, photographs_of, recipe_of
from taichi_rf.kernels.lenses import Lens
from taichi_rf.kernels.rays import Camera, look_at

CAMERA = Camera(look_at((3, 0, 0), (0, 0, 0), (0, 0, 1)), 8.0, 8.0, 4.0, 3.0, 8, 6)
SHOTS = [Shot(f"{index:05}", CAMERA, index + 1) for index in range(3)]


def recipe(**changes: object) -> dict[str, Any]:
    given: Any = {"model": "a", "shots": SHOTS, "form": Form(("colour", "depth")), "unit": 1e-3} | changes
    return recipe_of(**given)


def seen_from(**changes: object) -> list[Shot]:
    return [replace(shot, camera=replace(CAMERA, **changes)) for shot in SHOTS]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "b"}, "model"),
        ({"shots": SHOTS[:2]}, "way, size or level"),
        ({"shots": [replace(shot, level=1) for shot in SHOTS]}, "way, size or level"),
        ({"shots": [replace(shot, stem="x") for shot in SHOTS]}, "way, size or level"),
        ({"shots": seen_from(width=9)}, "way, size or level"),
        ({"shots": seen_from(fx=8.5)}, "way, size or level"),
        ({"shots": seen_from(pose=look_at((3, 0, 1e-3), (0, 0, 0), (0, 0, 1)))}, "way, size or level"),
        ({"shots": seen_from(lens=Lens(tangential=(0.1, 0.0)))}, "way, size or level"),
        ({"form": Form(("colour",))}, "layers"),
        ({"form": Form(("colour", "depth"), alpha=True)}, "--transparent"),
        ({"form": Form(("colour", "depth"), exr=True)}, "--exr"),
        ({"form": Form(("colour", "depth"), mode="normals")}, "--mode"),
        ({"captioned": True}, "--caption"),
        ({"unit": 2e-3}, "unit of depth"),
        ({"photographs": "lego, test, 1/2"}, "scene"),
    ],
)
def test_what_changes_a_pixel_makes_another_rendering(changes, words):
    assert differences(recipe(**changes), recipe()) == [words]


def test_the_same_rendering_is_known_again_from_its_file():
    found = json.loads(json.dumps(recipe()))
    assert differences(found, recipe()) == []
    assert set(found) == set(WORDS)
    del found["caption"]  # as an earlier version wrote it
    assert differences(found, recipe()) == ["--caption"]
    for junk in ([], None, 3, "x", {}):
        assert differences(junk, recipe()) == list(WORDS.values())


def test_a_model_is_known_by_its_bytes_and_photographs_by_their_place_and_size(tmp_path):
    path, copy = tmp_path / "a.trf", tmp_path / "b.trf"
    path.write_bytes(b"x" * 3_000_000)
    copy.write_bytes(path.read_bytes())
    assert digest_of(path, "a") == digest_of(copy, "b")
    copy.write_bytes(b"x" * 2_999_999 + b"y")
    assert digest_of(path, "a") != digest_of(copy, "a")
    assert digest_of(None, "https://a") != digest_of(None, "https://b")
    scene = SimpleNamespace(source="/data/lego", downscale=2)
    assert len({photographs_of(scene, "test"), photographs_of(scene, "train")}) == 2
    assert photographs_of(SimpleNamespace(source="/data/lego", downscale=1), "test") != photographs_of(scene, "test")
