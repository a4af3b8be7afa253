"""Meshes put right: triangles twice, walls inside, triangles and parts that look the wrong way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scenes.solids import meshes
from scenes.solids.tidy import tidied
from taichi_rf.core.errors import UserError
from taichi_rf.sdf.mesh import Shape
from tests.solids import ball, box

HERE = Path("thing.obj")
VERTICES, FACES = box(0.25)


def joined(*parts: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    shifts = np.cumsum([0, *(len(vertices) for vertices, _ in parts)])
    faces = [faces + shift for (_, faces), shift in zip(parts, shifts)]
    return np.concatenate([vertices for vertices, _ in parts]), np.concatenate(faces)


def volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Of what is inside by the winding number, by counting a grid's points."""
    grid = (np.indices((40, 40, 40)).reshape(3, -1).T + 0.5) / 40
    return float(Shape(vertices + 0.5, faces).contains(grid).mean())


def test_triangles_that_are_there_twice_stay_once():
    vertices, faces, open_edges, notes = tidied(HERE, VERTICES, np.concatenate([FACES, FACES[3:5, [1, 2, 0]]]))
    np.testing.assert_array_equal(vertices[faces], VERTICES[FACES])
    assert open_edges == 0
    assert notes == ("2 of its triangles lie on others and were left out",)


def test_a_wall_between_two_parts_that_touch_is_no_surface():
    beside = (VERTICES + [0.5, 0, 0], FACES)
    vertices, faces, open_edges, notes = tidied(HERE, *joined((VERTICES, FACES), beside))
    assert (len(faces), open_edges) == (20, 0)
    shape = Shape(vertices * 0.5 + [0.375, 0.5, 0.5], faces)  # the wall is at x = 0.5
    np.testing.assert_allclose(shape.distance([[0.5, 0.5, 0.5]]), -0.125, atol=1e-6)
    assert "4 of its triangles" in notes[0]


def test_a_solid_whose_triangles_are_all_there_for_either_side_is_a_solid():
    vertices, faces, open_edges, _ = tidied(HERE, VERTICES, np.concatenate([FACES, FACES[:, ::-1]]))
    assert (len(faces), open_edges) == (12, 0)
    assert volume(vertices, faces) == pytest.approx(0.125)


def test_triangles_that_look_the_other_way_than_their_neighbours_are_turned():
    mixed = FACES.copy()
    mixed[[2, 7, 8]] = mixed[[2, 7, 8], ::-1]
    vertices, faces, open_edges, notes = tidied(HERE, VERTICES, mixed)
    assert open_edges == 0
    assert volume(vertices, faces) == pytest.approx(0.125)
    assert "3 of its triangles look the other way" in notes[0]


def test_a_part_that_looks_inwards_is_turned_and_a_hollow_is_not():
    large, small = (VERTICES, FACES), (VERTICES * 0.5 + [0.4, 0, 0], FACES[:, ::-1])
    vertices, faces, _, notes = tidied(HERE, *joined(large, small))
    assert volume(vertices, faces) == pytest.approx(0.125 + 0.25**3, rel=0.03)
    assert notes == ("1 of its closed parts look inwards and were turned",)
    hollow = (VERTICES * 0.6, FACES[:, ::-1])
    vertices, faces, _, notes = tidied(HERE, *joined(large, hollow))
    assert volume(vertices, faces) == pytest.approx(0.125 - 0.3**3, rel=0.03)
    assert notes == ()


def test_triangles_without_area_close_edges_and_are_dropped():
    # the side from 0 to 1 has a vertex in its middle on one side only, and a triangle without area between
    vertices = np.concatenate([VERTICES, [(VERTICES[0] + VERTICES[1]) / 2], [[9, 9, 9]]])
    at = [k for k, face in enumerate(FACES.tolist()) if {0, 1} <= set(face)][0]
    a, b, c = FACES[at]
    while {a, b} != {0, 1}:
        a, b, c = b, c, a
    faces = np.concatenate([np.delete(FACES, at, 0), [[a, 8, c], [8, b, c], [a, b, 8]]])
    vertices, faces, open_edges, notes = tidied(HERE, vertices, faces)
    assert (len(vertices), len(faces), open_edges, notes) == (9, 13, 0, ())  # the vertex of no face is left out


def test_a_moebius_strip_is_told_of():
    n = 12
    turn = np.arange(n) * 2 * np.pi / n
    rings = [np.stack([(1 + s * np.cos(turn / 2)) * np.cos(turn), (1 + s * np.cos(turn / 2)) * np.sin(turn),
                       s * np.sin(turn / 2)], 1) for s in (-0.2, 0.2)]  # fmt: skip
    quads = [(i, i + 1, n + i + 1, n + i) for i in range(n - 1)] + [(n - 1, n, 0, 2 * n - 1)]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    *_, notes = tidied(HERE, np.concatenate(rings), faces)
    assert "Moebius" in notes[-1]


def test_nothing_left_is_refused():
    sheet = np.array([[0, 1, 2]])
    with pytest.raises(UserError, match="none of its 1 triangles has an area"):
        tidied(HERE, np.array([[0, 0, 0], [1, 1, 1], [2, 2, 2]], float), sheet)
    with pytest.raises(UserError, match="has an area"):
        tidied(HERE, np.zeros((3, 3)), sheet)


@pytest.mark.parametrize("scale", [1e-320, 1e-40])
def test_a_mesh_too_small_for_numbers_is_refused(tmp_path, scale):
    vertices, faces = ball(8)
    lines = [f"v {x!r} {y!r} {z!r}" for x, y, z in (vertices * scale).tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (faces + 1).tolist()]
    path = tmp_path / "dot.obj"
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"in one point|has an area"):
        meshes.load(str(path), downscale=100)
