"""How much a mesh of a model looks like the photographs, or how far a solid's is from the mesh it was learnt from.

    python tests/bench/mesh_quality.py MESH.ply ../shared/data/nerf_synthetic/lego
    python tests/bench/mesh_quality.py MESH.ply ../shared/data/meshes/armadillo.obj

Silhouettes: intersection over union of the pixels that the mesh covers and those of alpha above a half, mean over the
test views. PSNR: of the mesh's own colours, unlit, over white, where both are; the mean over the views. --downscale
averages the photographs' pixels as a training does. Chamfer: as ``evaluate`` measures that of a field, by the same
lines, the same points and the same formula, in lengths of the unit box (``taichi_rf.sdf.metrics``). The mesh has to be
in the scene's own coordinates, as .ply and .obj are by default.
"""

from __future__ import annotations

import argparse

import numpy as np
import trimesh

import scenes
from scenes.solids.meshes import BOX, MeshScene
from taichi_rf.core import backend
from taichi_rf.meshing.surface import Mesh
from taichi_rf.meshing.zbuffer import ZBuffer, shares_at
from taichi_rf.sdf.mesh import Shape
from taichi_rf.sdf.metrics import ShapeMetrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mesh")
    parser.add_argument("scene")
    parser.add_argument("--downscale", type=int, default=1)
    parser.add_argument("--views", type=int, help="test views, evenly spread; all by default")
    given = parser.parse_args()
    path, source = given.mesh, given.scene
    backend.init("cpu")
    read = trimesh.load(path, force="mesh", process=False)
    mesh = Mesh(np.asarray(read.vertices, np.float64), np.asarray(read.faces, np.int64))
    scene = scenes.load(source, views=2, downscale=given.downscale, max_test_views=given.views)
    mesh = Mesh(scene.placement.points(mesh.vertices), mesh.faces)
    if isinstance(scene, MeshScene):
        unit = (mesh.vertices - BOX[0]) / (BOX[1] - BOX[0])
        score = ShapeMetrics(scene.shape).measure_mesh(Shape(unit, mesh.faces))
        print(f"chamfer {score.chamfer:.3e}, IoU {score.iou:.4f}")
        return
    colours = np.asarray(read.visual.vertex_colors, np.float64)[:, :3] / 255
    buffer, unions, errors = ZBuffer(mesh), [], []
    for index, camera in enumerate(scene.test.cameras):
        view, photograph = buffer.view(camera), scene.test.pixels[index].astype(np.float32)
        solid, covered = photograph[..., 3] > 0.5, view.face >= 0
        unions.append((solid & covered).sum() / (solid | covered).sum())
        pixels = np.flatnonzero(covered)
        face, (origins, directions) = view.face.reshape(-1)[pixels], camera.rays()
        weights = shares_at(mesh, face, origins[pixels], directions[pixels])
        drawn = (colours[mesh.faces[face]] * weights[..., None]).sum(axis=1)
        wanted = scene.test.composite(index, (1.0, 1.0, 1.0)).reshape(-1, 3)[pixels]
        errors.append(((drawn - wanted)[solid.reshape(-1)[pixels]] ** 2).mean())
    psnr = -10 * np.log10(errors)
    print(f"{len(unions)} views: IoU {np.mean(unions):.4f}, PSNR inside {psnr.mean():.2f} dB")


if __name__ == "__main__":
    main()
