"""How much memory training an octree takes that keeps every vertex it is planted with. Not a test: it prints a table.

    python tests/bench/memory.py data/rgbd/duck:1 --bits 6 --iterations 200

Nothing is pruned, so that logits come to all vertices at once, as they would for a scene of that many: what was never
touched does not count as memory, and a tree that has shrunk by then would look cheaper than one of its planted size.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import scenes  # noqa: E402
from taichi_rf.core import backend  # noqa: E402
from taichi_rf.training.methods.registry import find_preset  # noqa: E402
from taichi_rf.training.strategies.octree import needed_bytes  # noqa: E402
from taichi_rf.training.trainer import Trainer  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", metavar="SOURCE:DOWNSCALE", help="one with depth images")
    parser.add_argument("--bits", type=int, default=6)
    parser.add_argument("--iterations", type=int, default=200)
    options = parser.parse_args()
    source, _, downscale = options.scene.rpartition(":")
    backend.init("cpu")
    scene = scenes.load(source, downscale=int(downscale))
    said("the scene is read")
    config = find_preset("vqad", "quick").changed(bits=options.bits, iterations=options.iterations, grow_at=())
    trainer = Trainer(scene, config)
    planted = vertices_of(trainer)
    said(f"{planted:,} vertices are planted; counted for them: {needed_bytes(planted, config) / 1e6:.0f} MB")
    quantised = False
    while not trainer.done:
        trainer.step()
        if trainer.progress >= config.strategy.quantise_at and not quantised:
            quantised = True
            said(f"step {trainer.iteration}, the first with indices")
    said(f"step {trainer.iteration}, the last; {vertices_of(trainer):,} vertices")
    with tempfile.TemporaryDirectory() as folder:
        trainer.save(folder)
    said("a checkpoint is written")


def vertices_of(trainer: Trainer) -> int:
    return sum(len(layer.vertices) for layer in trainer.model.field.tree.layers)


def said(what: str) -> None:
    """Print the most memory that this process has had so far."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"{most / 1e6:7.0f} MB at most when {what}", flush=True)


if __name__ == "__main__":
    main()
