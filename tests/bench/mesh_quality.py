"""How much a mesh of a model looks like the photographs, or how far a solid's is from the mesh it was learnt from.

    python tests/bench/mesh_quality.py MESH.ply ../shared/data/nerf_synthetic/lego
    python tests/bench/mesh_quality.py MESH.ply ../shared/data/meshes/armadillo.obj

Silhouettes: intersection over union of the pixels that the mesh covers and those of alpha above a half, mean over the
test views. PSNR: of the mesh's own colours, unlit, over white, where both are. Chamfer: as ``evaluate`` prints it, mean
of both ways, in lengths of the unit box. The mesh has to be in the scene's own axes (.ply or .obj).
"""

from __future__ import annotations

import sys

import numpy as np
import trimesh

import scenes
from scenes.solids.meshes import BOX, MeshScene
from taichi_rf.core import backend
from taichi_rf.meshing.surface import Mesh
from taichi_rf.meshing.zbuffer import ZBuffer, weights_at
from taichi_rf.sdf.mesh import Shape

POINTS = 1 << 17


def main(path: str, source: str) -> None:
    backend.init("cpu")
    read = trimesh.load(path, force="mesh", process=False)
    mesh = Mesh(np.asarray(read.vertices, np.float64), np.asarray(read.faces, np.int64))
    scene = scenes.load(source, views=2)
    if isinstance(scene, MeshScene):
        unit = (mesh.vertices - BOX[0]) / (BOX[1] - BOX[0])
        mine, rng = Shape(unit, mesh.faces), np.random.default_rng(0)
        there, _ = mine.surface(POINTS, rng)
        back, _ = scene.shape.surface(POINTS, rng)
        print(f"chamfer {(scene.shape.unsigned(there).mean() + mine.unsigned(back).mean()) / 2:.6f}")
        return
    colours = np.asarray(read.visual.vertex_colors, np.float64)[:, :3] / 255
    buffer, unions, errors = ZBuffer(mesh), [], []
    for index, camera in enumerate(scene.test.cameras):
        view, photograph = buffer.view(camera), scene.test.pixels[index].astype(np.float32)
        solid, covered = photograph[..., 3] > 0.5, view.face >= 0
        unions.append((solid & covered).sum() / (solid | covered).sum())
        pixels, face, weights = weights_at(mesh, camera, view)
        drawn = (colours[mesh.faces[face]] * weights[..., None]).sum(axis=1)
        wanted = scene.test.composite(index, (1.0, 1.0, 1.0)).reshape(-1, 3)[pixels]
        errors.append(((drawn - wanted)[solid.reshape(-1)[pixels]] ** 2).mean())
    psnr = -10 * np.log10(errors)
    print(f"{len(unions)} views: IoU {np.mean(unions):.4f}, PSNR inside {psnr.mean():.2f} dB")


if __name__ == "__main__":
    main(*sys.argv[1:3])
