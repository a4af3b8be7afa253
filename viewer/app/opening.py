"""Makes a model or a trainer of what was read: the part of opening that needs Taichi and runs on its thread."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import scenes
from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import read_json
from taichi_rf.motion.orbit import Orbit
from taichi_rf.rendering.model import Model
from taichi_rf.storage.model_file import load_model
from taichi_rf.streaming.progressive_model import picture_kernels, reserve
from taichi_rf.training.describing import describe
from taichi_rf.training.methods.registry import suited
from taichi_rf.training.run import METRICS, Run, RunFolder, Training
from taichi_rf.training.trainer import Trainer
from viewer.app.loading import Plan
from viewer.session.session import Session

Guard = Callable[[], contextlib.AbstractContextManager[None]]


@dataclass(frozen=True)
class Standing:
    """What is kept of a session when another takes its place: where one stood, at which level, and whether it
    trained. ``level`` is None for the highest there is."""

    running: bool
    level: int | None
    orbit: Orbit

    @staticmethod
    def of(session: Session) -> Standing:
        """How ``session`` is looked at now."""
        highest = session.num_levels if session.trainer is None else session.trainer.level
        return Standing(session.training, session.level if session.level < highest else None, session.orbit.copy())

    def restore(self, session: Session) -> None:
        """Bring ``session``, which shows the same, to where it was."""
        if session.training and not self.running:
            session.toggle_training()
        if self.level is not None:
            session.levels.choose(self.level)
        session.viewpoint.orbit = self.orbit


def build_run(plan: Plan, folder: RunFolder, claim: contextlib.ExitStack, *, guard: Guard) -> Run:
    """Begin the run of ``plan`` in ``folder``, or go on with the one that is there.

    Args:
        claim: holds ``folder``; once all has gone well, the run has taken it over and the stack is empty.

    Raises:
        UserError: the scene and the checkpoint do not go together, or one of them cannot be had.
    """
    recipe = plan.recipe
    assert recipe is not None
    scene = plan.scene or scenes.load(
        recipe.source,
        downscale=recipe.downscale,
        views=recipe.views,
        background=recipe.background,
        max_test_views=recipe.eval_views,
        depth=recipe.config.wants_depth,
        follow_links=recipe.follow_links,
        world=recipe.world,
    )
    recipe = replace(recipe, source=scene.source)  # good from any folder
    new = plan.folder is None
    if new:
        recipe = replace(recipe, config=suited(recipe.config, scene))
    trainer = Trainer(scene, recipe.config) if new else Trainer.resume(folder.path, scene, recipe.config)
    describe(trainer, recipe)
    if new:
        folder.begin(recipe, trainer)
    training = Training(trainer, folder, guard=guard, claim=claim.pop_all(), cold=not trainer.done)
    run = Run(training, recipe)
    if not new and plan.model is None and trainer.iteration:
        training.save(anyway=True)  # what is there cannot be read
    elif training.done and folder.finished(recipe):
        run.metrics, run.over = read_json(folder / METRICS), True
        training.release()
    return run


def build_model(plan: Plan) -> Model:
    """The model of ``plan``, ready to be rendered. UserError if it is broken."""
    if plan.incoming is not None:
        assert plan.incoming.outline is not None
        return reserve(plan.incoming.outline)
    assert plan.model is not None
    return load_model(plan.model)


def compiled(model: Model) -> Iterator[float]:
    """Compile what a picture of ``model`` needs, in pieces; how far that is, 0..1."""
    pieces = 3  # marching, densities, colours; a mesh has fewer
    for index, _ in enumerate(picture_kernels(model), 1):
        yield min(index / pieces, 1.0)


def device_for(plan: Plan, asked: str) -> str:
    """The arch to start for ``plan``: the one asked for, else a run's own where this machine has it."""
    own = plan.recipe.arch if plan.train and plan.recipe is not None else "auto"
    return own if asked == "auto" and own in backend.ARCHES[1:] and backend.available(own) else asked


def reason(error: Exception | None) -> str:
    """What to tell the person about ``error``; one that is not theirs also says its kind."""
    if isinstance(error, UserError | FloatingPointError):
        return str(error)
    if isinstance(error, MemoryError):
        return "the memory does not suffice: choose a larger downscale"
    return f"{type(error).__name__}: {error}"
