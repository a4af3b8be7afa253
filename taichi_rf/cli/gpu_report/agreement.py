"""Whether a GPU computes what the CPU does: the same small models on both, every kernel of training and rendering.

The CPU's kernels have plain numpy twins in the project's tests. Here they are the reference themselves, so that an
installed package can be checked on any machine. The CPU trains models for a moment and saves them; each device then
takes the same models, and what it makes of them is compared: samples, pictures of every prefix, depths, the gradients
of training steps, the parameters after one, and what is occupied.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from taichi_rf.cli.gpu_report.balls import balls
from taichi_rf.cli.gpu_report.task import Keep, Task
from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import atomic_write
from taichi_rf.rendering.pictures import render
from taichi_rf.training.configs.base import Config
from taichi_rf.training.methods import registry
from taichi_rf.training.optimiser import Optimiser
from taichi_rf.training.trainer import Trainer

ROWS = 1 << 12
STEPS = 40
GRADIENTS = 2
"""Training steps of which gradients are compared: one on all levels, and one on a prefix."""
Found = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A kind of model, and how it is trained for a moment."""

    name: str
    title: str
    config: Config


_TENSOR = registry.find_preset("slimmerf", "quick").changed(
    iterations=10 * STEPS, batch_rays=512, ranks="prefix", prefix_from=0.0, rank_deadlines=(0.0, 0.0),
    density_shift=-4.0, resolutions=(32,), upsample_at=(), occupancy_from=0.05, occupancy_every=8, shrink_at=100.0,
    filter_at=100.0,
)  # fmt: skip
_OCTREE = registry.find_preset("vqad", "quick").changed(
    iterations=10 * STEPS, batch_rays=512, base_depth=3, lods=3, bits=3, grow_at=(0.02, 0.05), quantise_at=0.08,
    filter_at=100.0, seen_threshold=0.1, max_vertices=30_000,
)  # fmt: skip
CASES = (
    Case("harmonics", "tensor, spherical harmonics", _TENSOR.changed(decoder="sh")),
    Case("network", "tensor, MLP of the paper", _TENSOR.changed(decoder="mlp")),
    Case("octree", "octree, small MLP", _OCTREE),
)

ALLOWED = {"samples": 0.01, "picture": 1e-3, "depth": 1e-3, "gradient": 0.01, "step": 0.02, "occupied": 0.005}
"""Most that a device may differ by: of samples the share of rays that have another number of them; of pictures and
depths the mean difference, colours being in 0..1 and depths in world units; of gradients, and of what a step changed,
the length of the difference over the length; of occupancy the share of cells. Sums in another order, other last bits of
exp and fused products stay far below (on software
Vulkan 6e-6 of most gradients, and 1e-3 where a sample comes to lie on the other side of a threshold); a kernel that is
wrong does not."""


class _Recorder(Optimiser):
    """Keeps each step's gradients, and updates nothing."""

    def __init__(self, model: Any) -> None:
        super().__init__(model, None)
        self.steps: list[dict[str, np.ndarray]] = []

    def step(self, level: int, factor: float, above: int | None = None) -> None:
        self.steps.append({p.name: p.gradient.to_numpy()[: p.active] for p in self.model.parameters(level)})
        self.drop_gradients()


def reference(task: Task, keep: Keep) -> None:
    """Train the models on the CPU, save them, and write down what the CPU makes of them."""
    backend.init("cpu")
    done: list[str] = []
    for case in _cases(task):
        trainer = Trainer(balls(), case.config, rows=ROWS)
        for _ in range(STEPS):
            trainer.step()
        (task.folder / "reference" / case.name).mkdir(parents=True, exist_ok=True)
        trainer.save(task.folder / "reference" / case.name)
        with atomic_write(_file(task.folder, case)) as file:
            np.savez(file, **found(trainer))  # type: ignore[arg-type]
        done.append(case.title)
        keep({"cases": done})


def agreement(task: Task, keep: Keep) -> None:
    """Have the device take the same models, and compare."""
    device = backend.init(task.arch)
    rows: list[dict[str, Any]] = []
    cases = [case for case in _cases(task) if _file(task.folder, case).exists()]
    if not cases:
        raise UserError("the CPU had not the time to make anything to compare with")
    for case in cases:
        trainer = Trainer.resume(task.folder / "reference" / case.name, balls(), rows=ROWS)
        with np.load(_file(task.folder, case)) as file:
            its = {name: file[name] for name in file.files}
        rows += compared(case.title, its, found(trainer))
        keep({"arch": device.arch, "device": device.device, "rows": rows, "agrees": all(row["agrees"] for row in rows)})


def _cases(task: Task) -> list[Case]:
    return [case for case in CASES if not task.cases or case.name in task.cases]


def _file(folder: Path, case: Case) -> Path:
    return folder / "reference" / case.name / "found.npz"


def found(trainer: Trainer) -> Found:
    """What the running device makes of a model in training; the trainer is not to be used any more."""
    model, top = trainer.model, trainer.model.num_levels
    camera = trainer.scene.test.cameras[0]
    origins, directions = camera.rays()
    settings = model.settings()
    samples = model.march(origins, directions, settings)
    its: Found = {"samples": np.diff(samples.offsets.to_numpy()[: len(origins) + 1])}
    its["picture of every prefix"] = model.renderer.prefixes(origins, directions, settings)
    for level in sorted({1, top // 2, top}):
        its[f"picture, level {level}"] = render(model, camera, level=level)
    its["depth"] = model.renderer.depths(origins, directions, settings)[0]
    optimiser, trainer.optimiser = trainer.optimiser, (recorder := _Recorder(model))
    for _ in range(GRADIENTS):
        trainer.step()
    for index, gradients in enumerate(recorder.steps, 1):
        its |= {f"gradient {index}, {name}": values for name, values in gradients.items()}
    trainer.optimiser = optimiser
    before = {p.name: p.value.to_numpy()[: p.active] for p in model.parameters()}
    trainer.step()
    its |= {f"step, {p.name}": p.value.to_numpy()[: p.active] - before[p.name] for p in model.parameters()}
    trainer.strategy.refresh(trainer.level)
    its["occupied"] = model.occupancy.to_numpy()
    return its


def compared(title: str, its: Found, ours: Found) -> list[dict[str, Any]]:
    """One row a quantity: by how much ``ours`` differs from ``its``, and whether that is allowed."""
    rows = []
    for name, values in its.items():
        kind = next(kind for kind in ALLOWED if name.startswith(kind))
        other = ours.get(name)
        difference = float("inf")
        if other is not None and other.shape == values.shape:
            difference = _difference(kind, values, other)
        allowed = ALLOWED[kind]
        rows.append(
            {"case": title, "what": name, "difference": difference, "allowed": allowed, "agrees": difference <= allowed}
        )
    return rows


def _difference(kind: str, its: np.ndarray, ours: np.ndarray) -> float:
    """A number that is not finite makes an infinite difference."""
    if not np.isfinite(ours).all():
        return float("inf")
    if kind in ("samples", "occupied"):
        return float((its != ours).mean())
    apart = ours.astype(np.float64) - its
    if kind in ("picture", "depth"):
        return float(np.abs(apart).mean())
    length = float(np.linalg.norm(its))
    return float(np.linalg.norm(apart)) / length if length else float(np.linalg.norm(apart) > 0)
