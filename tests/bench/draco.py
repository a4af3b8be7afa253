"""Chamfer distance against bytes of meshes that Draco compressed, beside solids of ours. Not a test.

    pip install DracoPy==2.2.0
    python -m taichi_rf suite vqad-solids --data data --presets quick --out runs/solids
    python tests/bench/draco.py data/meshes/*.obj --runs runs/solids --json runs/draco.json > draco.md

Draco (through DracoPy, Apache-2.0) stores the triangles of a mesh, its positions in so many bits an axis, nothing else;
the slowest and smallest of its settings. Besides the whole mesh it is given meshes of fewer triangles, made by
quadric edge collapse (fast-simplification), for a mesh that need not be exact is made smaller that way first. What it
wrote is read again and measured by the function that measures our solids, at the same points, against the mesh of the
file. With --runs the levels of a suite's finished runs stand beside, mean of its seeds, each with the smallest of
Draco's files that is as exact. The mesh as it is says what of the distance is the measure's own, which is not nothing
where layers lie closer together than surfaces are looked for along normals.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import scenes  # noqa: E402
from scenes.solids.meshes import MeshScene  # noqa: E402
from taichi_rf.core import backend  # noqa: E402
from taichi_rf.sdf.mesh import Shape  # noqa: E402
from taichi_rf.sdf.metrics import ShapeMetrics, ShapeScore  # noqa: E402
from taichi_rf.suite.plan import read_plan  # noqa: E402
from taichi_rf.suite.results import measured  # noqa: E402

SMALLEST = 10
"""Draco's level of compression: 0 to 10, fast to small."""


AS_IT_IS = "as it is, 32 bits a number"


@dataclass(frozen=True)
class Point:
    """One line of the table."""

    mesh: str
    what: str
    bytes: float
    chamfer: float | None
    iou: float | None = None
    triangles: int | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("meshes", nargs="+", type=Path, metavar="MESH.obj")
    parser.add_argument("--bits", nargs="+", type=int, default=[7, 8, 9, 10, 11, 12, 14], help="of positions, an axis")
    parser.add_argument(
        "--keep", nargs="+", type=float, default=[1.0, 0.25, 0.1, 0.04], help="shares of the triangles that are left"
    )
    parser.add_argument("--runs", type=Path, help="folder of a suite of the same meshes, to stand beside")
    parser.add_argument("--json", type=Path, help="write every number there, too")
    options = parser.parse_args(arguments)
    backend.init("cpu")
    found: list[Point] = []
    for path in options.meshes:
        scene = scenes.load(str(path), views=1, max_test_views=1)
        assert isinstance(scene, MeshScene)
        found += compressed(scene, options.bits, options.keep)
    if options.runs is not None:
        found += ours(options.runs, {point.mesh for point in found})
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(point) for point in found], indent=1) + "\n")
    print("\n".join(table(found)))
    if options.runs is not None:
        print("\n" + "\n".join(beside(found)))
    return 0


def compressed(scene: MeshScene, every_bits: Sequence[int], shares: Sequence[float]) -> Iterator[Point]:
    """The mesh of ``scene`` through Draco, at every number of bits with every share of its triangles."""
    import DracoPy

    metrics, shape = ShapeMetrics(scene.shape), scene.shape
    itself, size = metrics.measure_mesh(shape), 12.0 * (len(shape.vertices) + len(shape.faces))
    yield Point(scene.name, AS_IT_IS, size, itself.chamfer, itself.iou, len(shape.faces))
    for share in shares:
        vertices, faces = simplified(scene.shape, share)
        for bits in every_bits:
            code = DracoPy.encode(
                vertices.astype(np.float32), faces.astype(np.uint32), quantization_bits=bits, compression_level=SMALLEST
            )
            read = DracoPy.decode(code)
            score = scored(metrics, np.asarray(read.points, np.float64), np.asarray(read.faces, np.int64))
            what = f"Draco, {bits} bits" + ("" if share == 1 else f", {share:.0%} of the triangles")
            yield Point(scene.name, what, len(code), score.chamfer, score.iou, len(faces))


def simplified(shape: Shape, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces, of which about ``share`` are left."""
    if share == 1:
        return shape.vertices, shape.faces
    import fast_simplification

    vertices, faces = fast_simplification.simplify(
        shape.vertices.astype(np.float32), shape.faces.astype(np.int32), target_count=int(share * len(shape.faces))
    )
    return vertices, faces


def scored(metrics: ShapeMetrics, vertices: np.ndarray, faces: np.ndarray) -> ShapeScore:
    """Of a mesh in the unit box. Triangles that coarse positions made a line or a point of are left out."""
    a, b, c = vertices[faces].transpose(1, 0, 2)
    whole = np.linalg.norm(np.cross(b - a, c - a), axis=1) > 0
    return metrics.measure_mesh(Shape(vertices, faces[whole]))


def ours(folder: Path, meshes: set[str]) -> list[Point]:
    """Every level of every variant of a suite's finished runs, mean of the seeds."""
    plan = read_plan(folder)
    results, _ = measured(folder, plan)
    found = []
    for mesh in plan.scenes:
        for variant in plan.variants:
            of = [m for m in results if (m.scene, m.variant) == (mesh, variant)]
            for level in sorted({m.level for m in of}):
                at = [m for m in of if m.level == level and m.chamfer is not None]
                if at and mesh in meshes:
                    mean = float(np.mean([m.chamfer for m in at]))
                    what = f"VQAD {variant}, level {level}"
                    found.append(Point(mesh, what, float(np.mean([m.bytes for m in at])), mean))
    return found


def table(found: Sequence[Point]) -> Iterator[str]:
    """In Markdown: of each mesh what nothing smaller beats, and all of ours, by size."""
    yield "| mesh | what | triangles | kB | chamfer | IoU |"
    yield "|---|---|---:|---:|---:|---:|"
    for mesh in dict.fromkeys(point.mesh for point in found):
        best = np.inf
        for point in sorted((p for p in found if p.mesh == mesh), key=lambda p: p.bytes):
            draco = point.triangles is not None
            if draco and not (point.chamfer is not None and point.chamfer < best):
                continue
            if draco and point.chamfer is not None:
                best = point.chamfer
            chamfer = "-" if point.chamfer is None else f"{point.chamfer:.1e}"
            iou = "" if point.iou is None else f"{point.iou:.4f}"
            triangles = "" if point.triangles is None else f"{point.triangles:,}"
            yield f"| {mesh} | {point.what} | {triangles} | {point.bytes / 1000:.1f} | {chamfer} | {iou} |"


def beside(found: Sequence[Point]) -> Iterator[str]:
    """In Markdown: each of ours, and the smallest that Draco made whose chamfer distance is no larger."""
    yield "| mesh | ours | kB | chamfer | the smallest of Draco's that is as exact | kB | chamfer |"
    yield "|---|---|---:|---:|---|---:|---:|"
    for point in found:
        if point.triangles is not None or point.chamfer is None:
            continue
        as_exact = [
            other
            for other in found
            if other.mesh == point.mesh and other.triangles is not None and other.what != AS_IT_IS
            and other.chamfer is not None and other.chamfer <= point.chamfer
        ]  # fmt: skip
        its = "none | | |"
        if as_exact:
            best = min(as_exact, key=lambda other: other.bytes)
            its = f"{best.what.removeprefix('Draco, ')} | {best.bytes / 1000:.1f} | {best.chamfer:.1e} |"
        yield f"| {point.mesh} | {point.what} | {point.bytes / 1000:.1f} | {point.chamfer:.1e} | {its}"


if __name__ == "__main__":
    raise SystemExit(main())
