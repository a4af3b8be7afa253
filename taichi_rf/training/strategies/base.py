"""What every strategy is: the part of a training that depends on the kind of field.

A strategy makes the model that a training begins with, says which milestones there are, and sees to each when its time
has come: a grid is refined, a box is cut, an octree is divided. The trainer owns the loop. It makes the strategy from a
configuration and a scene alone, and hands itself over, as a :class:`Context`, only with the call that asks it to act.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from taichi_rf.core.errors import UserError
from taichi_rf.fields.base import Field, Nodes
from taichi_rf.geometry.frusta import seen
from taichi_rf.geometry.visual_hull import Carving, Hull, carve
from taichi_rf.kernels.spaces import BOX, Space
from taichi_rf.rendering.decoders.registry import make_decoder
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.radiance_model import RadianceModel
from taichi_rf.storage.metadata import origin
from taichi_rf.storage.model_file import StoredModel
from taichi_rf.training.configs.base import Config
from taichi_rf.training.schedule import Milestone, Milestones
from taichi_rf.training.state import Arrays, Entries, Owner


class Context(Protocol):
    """The training as a strategy sees it while it acts: what it may read, and what it may ask for."""

    @property
    def iteration(self) -> int:
        """Steps that have been taken."""

    @property
    def level(self) -> int:
        """The highest level that trains now."""

    @property
    def sampler(self) -> Any:
        """What the method learns from; see the registry of methods."""

    def event(self, name: str, **values: Any) -> None:
        """Write down what happened."""

    def restart(self, *, learning_rate: bool = False) -> None:
        """Begin the optimiser anew, for the parameters are others now; on request the learning rate, too."""


@dataclass(frozen=True)
class Begun:
    """What a training took over of a model with ``of`` levels: ``kept`` of them, on ``grid`` nodes along x, y and z of
    the ``before`` that it has there, and whether its ``decoder``, too."""

    kept: int
    grid: Nodes
    before: Nodes
    decoder: bool
    of: int


class Strategy(Owner, ABC):
    """Makes the model of one training, and changes its geometry on the way.

    Args:
        scene: as the trainer takes it.
        config: of the training.
        rows: samples that are computed at once; sums are taken by this number.
    """

    def __init__(self, scene: Any, config: Config, rows: int) -> None:
        self.scene, self.config, self.rows = scene, config, rows
        self.carving = Carving()
        """What the silhouettes of the scene's images say, if they were asked."""
        self.model = self._make()

    @property
    def space(self) -> Space:
        """How the world lies in the field's box; scenes of other programs need not say it."""
        found: Space = getattr(self.scene, "space", BOX)
        return found

    @property
    def field_box(self) -> np.ndarray:
        """(2, 3) that the field begins with, in the coordinates of the space."""
        box = self.scene.box if self.space is BOX else self.scene.field_box
        return np.asarray(box, np.float32)

    @staticmethod
    @abstractmethod
    def milestones(config: Config) -> list[Milestone]:
        """What happens once, and when."""

    @abstractmethod
    def _make(self) -> Model:
        """The model to begin with."""

    @abstractmethod
    def milestone(self, name: str, argument: int, training: Context) -> Iterator[None]:
        """See to one of :meth:`milestones` whose time has come, in parts between which a window may show a picture."""

    def begin_with(self, stored: StoredModel) -> Begun:
        """Take over a model that was trained before, as far as it fits this training, which has taken no step yet.

        Raises:
            UserError: it does not fit.
        """
        raise UserError(f"--method {self.config.method} cannot begin with a model")

    @property
    def grown(self) -> int | None:
        """Levels that the field has by now; None where it has all of them, and the level schedule says how many
        train."""
        return None

    def refresh(self, level: int) -> None:
        """Find empty space anew, from what the field is at ``level``."""

    def before_step(self, progress: float, iteration: int, level: int) -> None:
        """Called before every step; ``level`` is the highest that trains now."""

    def regularise(self, level: int, factor: float) -> None:
        """Add the regularisers' gradients to what ``level`` has; ``factor`` is the learning rate's."""

    def shortfalls(self, events: list[dict[str, Any]], iteration: int) -> list[str]:
        """What a training that ended at ``iteration`` left undone, a sentence each; ``events`` are those it had."""
        return []

    def warm(self, iteration: int, level: int) -> None:
        """Run what else has to be compiled before ``iteration``, at ``level``; the trainer puts everything back
        afterwards."""

    # State, under "growth" in a checkpoint

    def own_state(self) -> dict[str, Any]:
        """What decides what comes next, as JSON: whole numbers, and true or false."""
        return {}

    def restore_own(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`own_state`."""

    @abstractmethod
    def check_structure(self, described: Any, past: list[str]) -> None:
        """UserError where ``described``, which :meth:`Field.structure` returned, tells of no field that this training
        has once the milestones named in ``past`` have been seen to."""

    def state(self) -> dict[str, Any]:
        return {"growth": self.own_state()}

    def check(self, its: Entries) -> None:
        growth = its.table_of("growth")
        for key, now in self.own_state().items():
            growth.truth(key) if isinstance(now, bool) else growth.whole(key)
        entries = Milestones(self.milestones(self.config)).entries
        done = its.whole("milestones_done", len(entries))
        self.check_structure(its.get("field"), [name for _, name, _ in entries[:done]])

    def restore(self, arrays: Arrays, state: dict[str, Any]) -> None:
        self.restore_own(state["growth"])

    # Parts of a strategy

    def _filter(self, training: Context) -> None:
        """Drop training rays that see nothing occupied: they would only confirm the background."""
        self.refresh(training.level)
        kept, before = training.sampler.filter()
        training.event("filter", rays=kept, of=before)

    def _carve(self, box: np.ndarray) -> Hull | None:
        """The visual hull of the training images, if the configuration wants one and they have silhouettes."""
        if self.config.silhouettes and self.space is BOX:
            self.carving = carve(self.scene.train, box)
        return self.carving.hull

    def _seen(self, box: np.ndarray) -> Hull | None:
        """What two cameras or more see of ``box`` (2, 3), where the field lies in a space without an end; None
        where that is all."""
        if self.space is BOX or not self.config.frusta:
            return None
        return seen(self.scene.train.cameras, box, self.space.world_points, self.scene.near)

    def _model(self, field: Field, box: np.ndarray, kind: type[Model] = RadianceModel) -> Model:
        config, scene = self.config, self.scene
        decoder = make_decoder(config.decoder, rows=self.rows, rate=config.network_rate, seed=config.seed + 1)
        return kind(
            field,
            decoder,
            box=box,
            near=scene.near,
            far=scene.far,
            background=scene.background,
            step_ratio=config.step_ratio,
            distance_scale=config.distance_scale,
            weight_threshold=config.weight_threshold,
            space=self.space,
            metadata={**origin(scene), "preset": config.preset, "method": config.method},
        )
