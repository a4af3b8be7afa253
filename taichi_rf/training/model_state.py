"""The model's share of a checkpoint: parameters with their moments, the field's structure, box and empty space."""

from __future__ import annotations

from typing import Any

import numpy as np

from taichi_rf.coding import checks
from taichi_rf.core.errors import UserError
from taichi_rf.rendering.model import Model
from taichi_rf.training.restoring import bits_of, parameter_values, shape_of, without_tail
from taichi_rf.training.state import Arrays, Entries, Owner

THINNEST = 1 / 4096
"""Least side of a box over the largest of the box that the training began with: it is cut at grid nodes, of which
there are 1,024 at most."""


class ModelState(Owner):
    """What a checkpoint keeps of ``model``."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def arrays(self) -> Arrays:
        model = self.model
        arrays = {name: without_tail(values) for p in model.parameters() for name, values in p.state().items()}
        arrays |= {f"field.{name}": values for name, values in model.field.structure()[0].items()}
        if not model.field.knows_space:
            arrays["occupancy"] = model.occupancy.packed()
        return arrays

    def state(self) -> dict[str, Any]:
        model = self.model
        described = model.field.structure()[1]
        return {"field": described, "box": model.box.tolist(), "near": model.near, "far": model.far}

    def most_bytes(self) -> int:
        return sum(4 * int(np.prod(shape_of(array))) for p in self.model.parameters() for array in p.arrays().values())

    def check(self, its: Entries) -> None:
        its.number("far", 1e7, low=its.number("near", 1e6))
        _check_box(its.get("box"), self.model.box)
        if not self.model.space.straight and its.get("box") != self.model.box.tolist():
            raise UserError("'box' of its state should be that of a contraction, which is never cut")

    def restore(self, arrays: Arrays, state: dict[str, Any]) -> None:
        model, field = self.model, self.model.field
        field.set_structure(
            {name.removeprefix("field."): values for name, values in arrays.items() if name.startswith("field.")},
            state["field"],
        )
        for p in model.parameters():
            p.restore(parameter_values(arrays, p))
            p.clear()
        model.box = np.array(state["box"], np.float32)
        model.near, model.far = float(state["near"]), float(state["far"])
        model.reset_occupancy()
        if not field.knows_space:
            model.occupancy.set_packed(bits_of(arrays, "occupancy", int(np.prod(model.occupancy.cells))))


def _check_box(value: Any, begun: np.ndarray) -> None:
    """A box is cut while training, and never grows."""
    low, high = np.array(checks.box(value, "'box' of its state"))
    sides = begun[1].astype(np.float64) - begun[0]
    spare = 1e-4 * sides.max()
    if (low < begun[0] - spare).any() or (high > begun[1] + spare).any() or (high - low).min() < THINNEST * sides.max():
        raise UserError(
            f"'box' of its state should be a part of the box that its training began with, {begun.tolist()}, not "
            f"{np.stack([low, high]).tolist()}"
        )
