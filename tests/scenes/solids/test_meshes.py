"""Meshes as scenes: how they are placed, what their pictures show, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import scenes
from scenes.solids import meshes, obj
from scenes.solids.meshes import MeshScene
from scenes.solids.obj import read_obj
from taichi_rf.core.errors import UserError
from taichi_rf.sdf.shading import shade
from tests.solids import ball, box, write_obj

CUBE = "v -1 -1 -1\nv -1 -1 1\nv -1 1 -1\nv -1 1 1\nv 1 -1 -1\nv 1 -1 1\nv 1 1 -1\nv 1 1 1\n"
QUADS = "f 1 2 4 3\nf 5 7 8 6\nf 1 5 6 2\nf 3 4 8 7\nf 1 3 7 5\nf 2 6 8 4\n"


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "thing.obj"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def load(path: Path, **options: object) -> MeshScene:
    scene = scenes.load(str(path), downscale=10, **options)  # type: ignore[arg-type]
    assert isinstance(scene, MeshScene)
    return scene


def refused(folder: Path, text: str | bytes) -> str:
    with pytest.raises(UserError) as error:
        load(write(folder, text))
    assert "thing.obj" in str(error.value)
    return str(error.value)


def test_a_mesh_is_moved_and_scaled_into_the_box(tmp_path):
    vertices, faces = ball(16)
    scene = load(write_obj(tmp_path / "ball.obj", vertices * [300, 200, 100] + 4000, faces))
    low, high = scene.shape.vertices.min(axis=0), scene.shape.vertices.max(axis=0)
    np.testing.assert_allclose((low + high) / 2, 0.5, atol=1e-9)
    np.testing.assert_allclose(high - low, np.array([3, 2, 1]) / 3 * meshes.SPAN, rtol=1e-9)
    np.testing.assert_allclose(scene.centre, 4000)
    assert scene.scale == pytest.approx(meshes.SPAN / 600)
    assert scene.name == "ball"
    assert scene.notes == ()
    np.testing.assert_array_equal(scene.box, [[-1, -1, -1], [1, 1, 1]])


def test_faces_may_be_polygons_count_backwards_and_name_textures_and_normals(tmp_path):
    vertices, faces, _ = read_obj(write(tmp_path, CUBE + QUADS))
    assert vertices.shape == (8, 3)
    assert faces.shape == (12, 3)
    backwards = CUBE + "vt 0 0\nvn 0 0 1\n" + "f -8/1/1 -7/1/1 -5/1/1 -6/1/1\nf 5//1 7//1 8//1 6//1\n# f 1 2\ng f 1 2\n"
    _, again, _ = read_obj(write(tmp_path, backwards))
    np.testing.assert_array_equal(again, faces[:4])
    _, windows, _ = read_obj(write(tmp_path, (CUBE + QUADS).replace("\n", "\r\n")))
    np.testing.assert_array_equal(windows, faces)


def test_colours_after_the_coordinates_are_passed_over(tmp_path):
    vertices, _, _ = read_obj(write(tmp_path, "v 1 2 3 0.5 0.5 0.5\nv 0 0 0\nv 1 0 0\nf 1 2 3\n"))
    np.testing.assert_array_equal(vertices[0], [1, 2, 3])


def test_the_pictures_show_the_shaded_solid_before_nothing(tmp_path):
    scene = load(write_obj(tmp_path / "ball.obj", *ball(64)))
    camera, image = scene.test.cameras[3], scene.test.images[3].astype(np.float32)
    origins, directions = camera.rays()
    towards = -(origins * directions).sum(1)
    clearance = np.linalg.norm(origins + towards[:, None] * directions, axis=1)
    inside = (clearance < 0.88).reshape(image.shape[:2])
    outside = (clearance > 0.92).reshape(image.shape[:2])
    assert (image[inside, 3] == 1).all()
    assert (image[outside] == 0).all()
    t = towards - np.sqrt(np.maximum(0.81 - clearance**2, 0))
    normals = ((origins + t[:, None] * directions) / 0.9).astype(np.float32)
    np.testing.assert_allclose(image[inside, :3], shade(normals, directions)[inside.reshape(-1)], atol=0.03)


def test_how_many_pictures_there_are_can_be_said(tmp_path):
    path = write_obj(tmp_path / "ball.obj", *ball(8))
    seen: list[tuple[int, int]] = []
    scene = load(path, views=3, max_test_views=2, progress=lambda *now: seen.append(now))
    assert (len(scene.train), len(scene.test)) == (3, 2)
    assert seen == [(i + 1, 5) for i in range(5)]
    assert len(load(path, max_test_views=0).test) == 0
    with pytest.raises(UserError, match="--views 0"):
        load(path, views=0)


def test_a_mesh_with_a_hole_is_told_of_and_one_that_encloses_nothing_is_refused(tmp_path):
    vertices, faces = ball(24)
    (note,) = load(write_obj(tmp_path / "torn.obj", vertices, faces[3:])).notes
    assert "not watertight" in note
    with pytest.raises(UserError, match="encloses nothing"):
        load(write_obj(tmp_path / "sheet.obj", [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.1]], [[0, 1, 2], [0, 2, 3]]))


def test_corners_that_coincide_are_joined_and_triangles_without_area_left_out(tmp_path):
    vertices, faces = box()
    soup = vertices[faces].reshape(-1, 3)  # every triangle with corners of its own
    scene = load(write_obj(tmp_path / "soup.obj", soup, np.arange(len(soup)).reshape(-1, 3)))
    assert scene.shape.open_edges == 0
    assert len(scene.shape.vertices) == 8
    more = np.concatenate([faces, [[0, 0, 1]]])
    (note,) = load(write_obj(tmp_path / "more.obj", vertices, more)).notes
    assert "1 of its triangles" in note


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("", "no vertices"),
        ("hello\n", "no vertices"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "no Wavefront OBJ"),
        (bytes(range(256)) * 50, "no vertices"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\n", "no faces"),
        ("v 0 0\nf 1 1 1\n", "line 1"),
        ("v 0 0 zero\n", "line 1"),
        (CUBE + "v nan 0 0\n" + QUADS, "line 9"),
        (CUBE + "v 0 inf 0\n" + QUADS, "not finite"),
        (CUBE + "v 1e300 1e300 0\n" + QUADS, "not finite"),
        (CUBE + "f 1 2\n", "2 corners"),
        (CUBE + "f " + "1 " * 10_001 + "\n", "10001 corners"),
        (CUBE + "f 1 2 x\n", "line 9"),
        (CUBE + "f 0 1 2\n", "no such vertex"),
        (CUBE + "f 1 2 -9\n", "no such vertex"),
        (CUBE + "f 1 2 9\n", "names vertex 9, but the file has 8"),
        (CUBE + "f 1 2 99999999999999999999\n", "no such vertex"),
        (CUBE + "f 1 1 2\n", "an area"),
    ],
)
def test_broken_files_are_refused_with_the_line(tmp_path, text, because):
    assert because in refused(tmp_path, text)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "thing.obj"
    with open(path, "wb") as file:
        file.truncate(obj.MAX_BYTES + 1)
    with pytest.raises(UserError, match="GB are read"):
        load(path)
    monkeypatch.setattr(obj, "MAX_FACES", 5)
    assert "more than 5" in refused(tmp_path, CUBE + QUADS)
    monkeypatch.setattr(obj, "MEMORY_PER_BYTE", 1 << 50)
    assert "memory" in refused(tmp_path, CUBE + QUADS)


def test_meshes_are_found_by_their_name_alone(tmp_path):
    path = write(tmp_path, CUBE + QUADS)
    assert scenes.find(str(path)) == str(path)
    assert scenes.is_scene(path)
    assert scenes.is_mesh(path)
    assert not scenes.is_mesh(tmp_path / "other.obj")
    (tmp_path / "folder.obj").mkdir()
    assert not scenes.is_mesh(tmp_path / "folder.obj")
    with pytest.raises(UserError, match="is a file, but no mesh"):
        scenes.find(str(write(tmp_path, "").rename(tmp_path / "thing.stl")))
