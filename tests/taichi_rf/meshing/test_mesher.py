"""Meshes of a ball that a tensor holds exactly, against what is known of balls."""

from __future__ import annotations

import importlib
import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest

from taichi_rf.cli.export.mesh import run
from taichi_rf.cli.options import Mesh as Command
from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.meshing.body import DensityBody
from taichi_rf.meshing.formats import Y_UP, glb, write_mesh, write_points
from taichi_rf.meshing.grid import grid_over
from taichi_rf.meshing.mesher import Wishes, meshing
from taichi_rf.meshing.photographs import Photographs, photograph_colours
from taichi_rf.meshing.points import scattered
from taichi_rf.meshing.refining import refined
from taichi_rf.meshing.surface import Mesh, marched
from taichi_rf.meshing.tidying import holes, volume, without_small
from taichi_rf.storage.model_file import load_model, save_model
from taichi_rf.storage.placement import KEY as PLACEMENT
from taichi_rf.storage.placement import Placement
from tests.ball_field import SHIFT, ball_model
from tests.page_models import write_model
from tests.tiny import BALLS, tiny_scene

RADIUS = 0.7
THRESHOLD = math.log1p(math.exp(SHIFT))
VOLUME = 4 / 3 * math.pi * RADIUS**3

trimesh = importlib.import_module("trimesh")


@pytest.fixture(scope="module")
def model():
    backend.init("cpu")
    return ball_model(RADIUS, 33)


def _made(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_a_ball_has_its_volume_no_holes_and_its_colours(model):
    surface = _made(meshing(model, 2, Wishes(threshold=THRESHOLD)))
    assert volume(surface.mesh) == pytest.approx(VOLUME, rel=0.01)
    assert surface.holes == 0
    right = surface.mesh.vertices[:, 0] > 0.1
    assert (surface.colours[right] > [0.9, 0.4, -0.1]).all()
    assert (surface.colours[right] < [1.1, 0.6, 0.1]).all()
    outwards = surface.mesh.vertices / np.linalg.norm(surface.mesh.vertices, axis=1, keepdims=True)
    assert (surface.normals * outwards).sum(axis=1).min() > 0.99


def test_a_field_cut_off_at_zero_has_the_same_size_at_every_resolution():
    relu = ball_model(RADIUS, 33, shift=2.0, activation="relu")
    body = DensityBody(relu, 2, 2.0)
    spacing = 2 / 32
    # between nodes a squared coordinate is at most (spacing / 2)^2 too large, so that the ball is smaller by that
    within = 3 * (spacing / 2) ** 2 / (2 * RADIUS)
    for resolution in (14, 25, 41):  # none is aligned with the field's own grid
        grid = grid_over(relu, body.cells, resolution)
        mesh = _made(refined(body, grid, _made(marched(body, grid))))
        radii = np.linalg.norm(2 * mesh.vertices - 1, axis=1)
        assert radii.min() > RADIUS - 1.05 * within
        assert radii.max() < RADIUS + 1e-4
        assert holes(mesh) == 0


@pytest.mark.parametrize(("asked", "nodes"), [(None, 65), (40, 33), (60, 65), (90, 97), (17, 17)])
def test_a_solid_ends_at_no_cell_but_where_it_is_zero(asked, nodes, tmp_path: Path):
    # of 32 cells a side, known around the ball's surface alone; its dent leaves them, so that is looked away from
    backend.init("cpu")
    model = load_model(write_model("solid", tmp_path / "ball.trf"))
    surface = _made(meshing(model, 3, Wishes(resolution=asked)))
    assert surface.resolution == nodes
    places = (surface.mesh.vertices + 1) / 2
    away = np.linalg.norm(places - [0.75, 0.6, 0.75], axis=1) > 0.25
    radius = np.linalg.norm(places[away] - 0.5, axis=1)
    assert np.abs(radius - 0.36).max() < 2e-3  # the field's own error: cells are a 32nd


def test_slabs_join_without_a_seam(model):
    body = DensityBody(model, 2, THRESHOLD)
    grid = grid_over(model, body.cells, 40)
    whole, cut = _made(marched(body, grid)), _made(marched(body, grid, slab_nodes=40 * 40 * 4))
    assert len(cut.vertices) == len(whole.vertices)
    assert len(cut.faces) == len(whole.faces)
    assert holes(cut) == 0


def test_merging_keeps_the_volume(model):
    surface = _made(meshing(model, 2, Wishes(threshold=THRESHOLD, faces=1000)))
    assert len(surface.mesh.faces) <= 1000
    assert volume(surface.mesh) == pytest.approx(VOLUME, rel=0.02)


def test_a_piece_that_is_small_is_dropped_and_an_open_edge_counted():
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    both = Mesh(np.concatenate([corners, 5 + 0.05 * corners]), np.concatenate([faces, faces + 4]))
    kept, pieces = without_small(both, 1.0)
    assert (len(kept.vertices), pieces.kept, pieces.dropped, pieces.dropped_faces) == (4, 1, 1, 4)
    assert without_small(both, 0.0)[1].dropped == 0
    assert holes(kept) == 0
    assert holes(Mesh(kept.vertices, kept.faces[1:])) == 1


def test_what_no_mesh_can_be_like_is_refused(model):
    for wishes, words in (
        (Wishes(threshold=1e9), "no density above the threshold of 1e\\+09; the highest is"),
        (Wishes(threshold=-1.0), "--threshold -1"),
        (Wishes(resolution=4000), "--resolution 4000"),
        (Wishes(keep=101.0), "--keep-largest 101"),
        (Wishes(reach=2.0), "--reach"),
    ):
        with pytest.raises(UserError, match=words):
            _made(meshing(model, 2, wishes))


def test_files_open_elsewhere_and_are_the_same_every_time(model, tmp_path: Path):
    surface = _made(meshing(model, 2, Wishes(threshold=THRESHOLD, resolution=24)))
    for name in ("a.glb", "a.ply", "a.obj"):
        path = tmp_path / name
        write_mesh(path, surface.mesh, surface.normals, surface.colours)
        data = path.read_bytes()
        write_mesh(path, surface.mesh, surface.normals, surface.colours)
        assert path.read_bytes() == data
        read = trimesh.load(path, force="mesh", process=False)
        assert read.is_watertight
        assert read.volume == pytest.approx(VOLUME, rel=0.03)
        vertices = read.vertices if name != "a.glb" else read.vertices @ Y_UP  # back to z up
        assert np.allclose(vertices, surface.mesh.vertices, atol=1e-5)
        if name != "a.glb":
            assert np.abs(read.visual.vertex_colors[:, :3] / 255 - surface.colours).max() < 0.01
    write_points(tmp_path / "p.ply", *scattered(surface, 500))
    cloud = trimesh.load(tmp_path / "p.ply")
    assert len(cloud.vertices) == 500
    assert np.linalg.norm(cloud.vertices, axis=1) == pytest.approx(RADIUS, rel=0.02)


def test_gltf_has_linear_colours_that_are_not_lit():
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], float)
    colours = np.array([[0, 0.04045, 1], [0.5, 0.7354, 0.2], [1, 1, 1]], np.float32)
    data = glb(Mesh(corners, np.array([[0, 1, 2]])), np.tile([0.0, 0, 1], (3, 1)), colours)
    assert len(data) == struct.unpack_from("<I", data, 8)[0]
    length = struct.unpack_from("<I", data, 12)[0]
    head, body = json.loads(data[20 : 20 + length]), data[28 + length :]
    (surface,) = head["meshes"][0]["primitives"]
    assert "KHR_materials_unlit" in head["materials"][surface["material"]]["extensions"]
    assert head["extensionsUsed"] == ["KHR_materials_unlit"]
    accessor = head["accessors"][surface["attributes"]["COLOR_0"]]
    assert (accessor["componentType"], accessor["normalized"], accessor["type"]) == (5123, True, "VEC4")
    first = head["bufferViews"][accessor["bufferView"]]["byteOffset"]
    stored = np.frombuffer(body, "<u2", 12, first).reshape(3, 4) / 65535
    expected = [[0, 0.003131, 1], [0.214041, 0.5, 0.033105], [1, 1, 1]]  # IEC 61966-2-1
    assert np.allclose(stored[:, :3], expected, atol=1e-4)
    assert (stored[:, 3] == 1).all()


def test_vertices_have_the_colours_of_the_photographs_that_see_them(model):
    shown = [*BALLS, (BALLS[0][0], 0.3)]  # the last lies within the first
    scene, balls = tiny_scene(train=24), [trimesh.creation.icosphere(3, radius) for _, radius in shown]
    for ball, (centre, _) in zip(balls, shown):
        ball.apply_translation(centre)
    both = trimesh.util.concatenate(balls)
    mesh = Mesh(np.asarray(both.vertices), np.asarray(both.faces))
    steps = photograph_colours(mesh, Photographs(scene.train.cameras, scene.train.pixels))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            colours, seen = end.value
            break
    normals = np.concatenate([(np.asarray(b.vertices) - c) / r for b, (c, r) in zip(balls, shown)])
    assert not seen[-len(balls[2].vertices) :].any()
    assert not colours[~seen].any()
    assert seen[: -len(balls[2].vertices)].mean() > 0.8
    off = np.abs(colours - (0.5 + 0.45 * normals))[seen]
    assert off.mean() < 0.03
    assert np.quantile(off, 0.95) < 0.1


def test_the_command_writes_and_does_not_overwrite(model, tmp_path: Path, monkeypatch, capsys):
    source, output = tmp_path / "model.trf", tmp_path / "a.ply"
    save_model(model, source)
    model.metadata["warnings"] = []
    monkeypatch.setattr("taichi_rf.cli.export.mesh.load_model", lambda *_: model)  # its kernels are compiled already
    run(Command(source, output, threshold=THRESHOLD, resolution=24))
    data = output.read_bytes()
    assert trimesh.load(output).is_watertight
    assert "colours are the model's (--scene names the photographs)" in capsys.readouterr().out
    for command, words in (
        (Command(source, tmp_path / "b.ply", colours="photographs"), "does not say where the scene is"),
        (Command(source, tmp_path / "b.ply", colours="model", scene="lantern"), "leave one"),
        (Command(source, tmp_path / "b.ply", scene="nowhere"), "there is no scene 'nowhere'"),
        (Command(source, tmp_path / "b.ply", downscale=0), "--downscale 0"),
        (Command(source, output), "there already"),
        (Command(source, tmp_path / "a.stl"), r"ends in \.glb, \.ply or \.obj"),
        (Command(source, tmp_path / "a.glb", points=5), "points are written as .ply"),
        (Command(source, tmp_path / "no" / "a.ply"), "there is no folder"),
    ):
        with pytest.raises(UserError, match=words):
            run(command)
    assert output.read_bytes() == data
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ply", "model.trf"]


def test_a_mesh_lies_where_the_scene_s_files_have_it_or_where_the_viewer_does(model, tmp_path, monkeypatch, capsys):
    source = tmp_path / "model.trf"
    save_model(model, source)
    moved = Placement(np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]]), np.array([1.0, 2, 3]), 0.25)
    monkeypatch.setattr("taichi_rf.cli.export.mesh.load_model", lambda *_: model)
    made = {}
    for name, of, coordinates in (
        ("plain.ply", None, None), ("scene.ply", moved, None), ("viewer.ply", moved, "viewer"),
        ("viewer.glb", moved, None), ("scene.glb", moved, "scene"),
    ):  # fmt: skip
        monkeypatch.setattr(model, "metadata", {"warnings": []} | ({} if of is None else {PLACEMENT: of.to_json()}))
        run(Command(source, tmp_path / name, threshold=THRESHOLD, resolution=24, coordinates=coordinates))
        said = capsys.readouterr().out
        assert ("a unit of the viewer is 4 of the scene's" in said) == (of is not None)
        mesh = trimesh.load(tmp_path / name, force="mesh", process=False)
        made[name] = np.asarray(mesh.vertices), np.asarray(mesh.vertex_normals)
    plain, normals = made["plain.ply"]
    np.testing.assert_allclose(made["viewer.ply"][0], plain, atol=1e-6)
    np.testing.assert_allclose(made["scene.ply"][0], moved.back(plain), atol=1e-5)
    np.testing.assert_allclose(made["scene.ply"][1], moved.directions_back(normals), atol=1e-4)
    np.testing.assert_allclose(made["viewer.glb"][0], plain @ Y_UP.T, atol=1e-5)
    np.testing.assert_allclose(made["scene.glb"][0], moved.back(plain) @ Y_UP.T, atol=1e-5)
