"""Small models and trainings of every kind, to be tampered with; see :mod:`tests.mutations`."""

from __future__ import annotations

from typing import Any

import numpy as np

from taichi_rf.coding.bits import pack_aligned
from taichi_rf.fields.base import COMPACT
from taichi_rf.fields.registry import field_type
from taichi_rf.fields.trees.octree import Octree
from taichi_rf.fields.vm import factor_coding
from taichi_rf.storage.model_file import level_schema
from taichi_rf.storage.trf import load_checkpoint
from taichi_rf.training import checkpoint
from taichi_rf.training.checkpoint import restore
from taichi_rf.training.configs.base import Config
from taichi_rf.training.methods.registry import read_config
from taichi_rf.training.trainer import Trainer
from tests.costly import header_around, octree_header
from tests.mutations import plain_copy
from tests.tiny import tiny_config, tiny_octree_config, tiny_scene

Arrays = dict[str, np.ndarray]

CODES = {"learned": 3, "kmeans": 3, "hash": 5, "lowrank": 4, "none": 0}
MODELS = ("tensor", "coded tensor", "mlp", *CODES, "solid")
CHECKPOINTS = ("tensor", "none", "hash", "learned")


def model(kind: str) -> tuple[dict[str, Any], list[Arrays]]:
    """Header and arrays of each level of a small model of a kind, made by numpy alone."""
    rng = np.random.default_rng(0)
    if kind in ("tensor", "coded tensor", "mlp"):
        field: dict[str, Any] = {"kind": "vm", "num_levels": 3, "resolution": [9, 10, 11], "activation": "softplus"}
        header = header_around({**field, "density_shift": -1.0}, "mlp" if kind == "mlp" else "sh")
        levels = [_random(rng, header, level) for level in (1, 2, 3)]
        return _coded(header, levels) if kind == "coded tensor" else (header, levels)
    points = rng.standard_normal((800, 3))
    points *= 0.3 / np.linalg.norm(points, axis=1, keepdims=True)
    tree = Octree.from_points((0.5 + points).astype(np.float32), 5, 3)
    cells, vertices = ([len(getattr(layer, key)) for layer in tree.layers] for key in ("cells", "vertices"))
    field = octree_header(3, cells, vertices)
    field |= {"codes": "none" if kind == "solid" else kind}
    field |= {"lowrank": {"rank": 4}, "none": {}, "solid": {}}.get(kind, {"bits": CODES.get(kind, 3)})
    header = header_around(field, "small")
    if kind == "solid":
        field["activation"] = "none"
        header |= {"decoder": "none", "render": "surface"}
    levels = [{**_random(rng, header, level), "tree": tree.pack(level)} for level in (1, 2, 3)]
    for arrays, count in zip(levels, vertices):
        if "indices" in arrays:
            arrays["indices"] = pack_aligned(rng.integers(0, 1 << field["bits"], count), field["bits"])
    for level, arrays in enumerate(levels, 1) if kind == "solid" else ():
        distances = np.linalg.norm(tree.vertex_positions(level) - 0.5, axis=1) - 0.3
        arrays["features"] = np.zeros_like(arrays["features"])
        arrays["features"][:, 0] = distances if level == 1 else 0
    return header, levels


def _random(rng: np.random.Generator, header: dict[str, Any], level: int) -> Arrays:
    """Arrays of a level: small numbers, and any bits."""
    schema = level_schema(field_type(header["field"]["kind"]), header, level)
    return {
        name: (rng.standard_normal(shape) * 0.2 if code[0] == "f" else rng.integers(0, 256, shape)).astype(code)
        for name, (code, shape) in schema.items()
    }


def _coded(header: dict[str, Any], levels: list[Arrays]) -> tuple[dict[str, Any], list[Arrays]]:
    values = np.stack([arrays["factors"] for arrays in levels]).astype(np.float32)
    grid = tuple(header["field"]["resolution"])
    occupied = np.ones([n - 1 for n in grid[::-1]], bool)
    numbers, steps, _ = factor_coding.coded(values, np.ones_like(values), grid, occupied, 0.05)
    packed = factor_coding.pack(numbers, steps, grid)
    rest = [{name: values for name, values in arrays.items() if name != "factors"} for arrays in levels]
    return {**header, "field": {**header["field"], "coding": COMPACT}}, [r | p for r, p in zip(rest, packed)]


class Training:
    """A training that is over, and what its checkpoint holds."""

    def __init__(self, kind: str) -> None:
        self.trainer = Trainer(tiny_scene(train=4), configuration(kind), rows=1 << 10)
        while self.trainer.iteration < self.trainer.config.iterations - 3:
            self.trainer.step()
        self.box = self.trainer.model.box.copy()
        self.arrays, state = checkpoint.capture(self.trainer)
        self.state = plain_copy(state)

    def resume(self, path: Any) -> None:
        """Go on for two steps from a checkpoint, as :func:`taichi_rf.training.checkpoint.load` does, in the same
        trainer."""
        trainer = self.trainer
        arrays, state = load_checkpoint(path)
        config = read_config(state["config"])
        checkpoint._same_config(config, trainer.config, path)
        checkpoint._same_scene(state["scene"], trainer.scene, config, path)
        trainer.sampler.filtered, trainer.model.box = False, self.box.copy()  # as a new trainer's
        restore(trainer, arrays, state)
        for _ in range(2):
            if not trainer.done:
                trainer.step()
        checkpoint.check(trainer, plain_copy(checkpoint.capture(trainer)[1]))


def configuration(kind: str) -> Config:
    if kind == "tensor":
        return tiny_config(
            iterations=24, shrink_at=0.3, filter_at=0.4, upsample_at=(0.5,), ranks="prefix", batch_rays=64
        )
    tiny = tiny_octree_config(codes=kind, bits=max(CODES[kind], 1), lods=3)
    return tiny.changed(iterations=16, grow_at=(0.2,), filter_at=0.3, quantise_at=0.5, batch_rays=64)
