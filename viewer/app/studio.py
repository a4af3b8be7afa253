"""Opens and trains what a person asks for; front ends (a window, a browser, a command line) hold one studio.

A front end's loop does its frame, lets the session work, and calls :meth:`Studio.advance`. What a person asks for is
read in a thread meanwhile; once it is :attr:`Studio.ready`, the loop closes its window and calls :meth:`Studio.switch`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import scenes
from taichi_rf.core.errors import UserError
from taichi_rf.storage.model_file import model_path
from taichi_rf.storage.world import World
from taichi_rf.streaming.transport import is_address
from taichi_rf.training.methods.registry import PRESETS, find_preset, names, teacher_for
from taichi_rf.training.run import Recipe, RunFolder, Training
from viewer.app import catalogue
from viewer.app.loading import Cancelled, Loading, Plan, plan_incoming, plan_model, plan_run, plan_training
from viewer.app.opening import reason
from viewer.app.preview import Preview
from viewer.app.settings import Settings
from viewer.app.stage import Stage
from viewer.session.session import Session


@dataclass(frozen=True)
class Pending:
    """What is being read: ``progress`` is 0..1, None where it is not known."""

    text: str
    progress: float | None


class Studio(Stage):
    """What is on show (see :class:`Stage`), what could be opened instead, and what a new training would be.

    Args:
        settings: where choices come from. The studio's own settings remember what was opened; whoever closes the studio
            writes them. None: nothing is remembered.
    """

    def __init__(self, *, settings: Settings | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.settings = settings
        # What a new training would be; max_seconds None leaves its length to the preset.
        self.source: str | None = None
        self.world = World()
        self.preview = Preview()
        self.preset, self.method, self.downscale = "quick", names()[0], 2
        self.max_seconds: float | None = None
        if settings is not None:
            self.downscale, self.share = settings.downscale, settings.share
            self.preset = settings.preset if settings.preset in PRESETS else self.preset
            self.method = settings.method if settings.method in names() else self.method
        self._loading: Loading | None = None  # what will be switched to
        self._plan: Plan | None = None  # loaded, to be switched to

    # Choosing

    def choose(self, source: str | Path) -> bool:
        """Take the scene of that name or in that folder for the next :meth:`start`; False and a message if there is
        none."""
        return self._tried(lambda: self._choose(str(source)))

    def recipe(self) -> Recipe:
        """What :meth:`start` would train. UserError when no scene is chosen, or a choice cannot be."""
        if self.source is None:
            raise UserError(f"choose a scene first: a folder, or one of {', '.join(catalogue.builtin_scenes())}")
        if self.preset not in PRESETS:
            raise UserError(f"there is no preset '{self.preset}': choose one of {', '.join(PRESETS)}")
        if self.method not in names():
            raise UserError(f"there is no method '{self.method}': choose one of {', '.join(names())}")
        if self.method not in self.methods:
            raise UserError(f"{self.method} cannot fit a mesh: choose {' or '.join(self.methods)}")
        config = find_preset(self.method, self.preset, mesh=scenes.is_mesh(self.source))
        if self.max_seconds is not None:
            config = config.changed(max_seconds=self.max_seconds)
        return Recipe(config, self.source, downscale=self.downscale, arch=self.arch, world=self.world)

    def look(self) -> None:
        """Read the scene that :meth:`start` would train on, to be seen in :attr:`preview`; to be called once a frame
        while a person chooses."""
        if self.source is not None and self.pending is None and not self.ready:
            with contextlib.suppress(UserError):  # it is said when one starts
                self.preview.look(self.recipe())

    def place(self, world: World) -> None:
        """Read the chosen scene in that way, now and whenever it is chosen again."""
        self.world = world
        if self.settings is not None and self.source is not None:
            self.settings = self.settings.placed(self.source, world)

    @property
    def methods(self) -> tuple[str, ...]:
        """Those that the chosen scene can be trained by."""
        mesh = self.source is not None and scenes.is_mesh(self.source)
        return names(teacher_for(mesh=mesh))

    def _choose(self, source: str) -> None:
        self.source = scenes.find(source)
        self.world = World() if self.settings is None else self.settings.world_of(self.source)
        if self.method not in self.methods and self.method in names():
            self.method = self.methods[0]
        self._remember(self.source)

    # Asking for something else

    def open(self, what: str | Path) -> bool:
        """Ask for a model file or its address, a run's folder (or its name in ``runs``), or a scene, which is then
        chosen.

        An unfinished run goes on. Returns False, with a message, where there is nothing of the kind.
        """
        return self._tried(lambda: self._ask(self._reading(what)))

    def start(self) -> bool:
        """Ask for a new run of what is chosen; False and a message if that cannot be."""

        def ask() -> None:
            recipe = self.recipe()
            self._ask(_training(recipe, self.preview.ahead(recipe)))

        return self._tried(ask)

    def restart(self) -> bool:
        """Ask for what is on show to be trained from the start in a new folder; False and a message if that cannot be.

        After a loss that was no number it gets another seed: the same one would go the same way.
        """
        shown = self._shown
        if shown is None or shown.recipe is None:
            self.say("how this model was trained is not known here: choose its scene and start", alarm=True)
            return False
        recipe = shown.recipe
        if self.session is not None and isinstance(self.session.failure, FloatingPointError):
            recipe = replace(recipe, config=recipe.config.changed(seed=recipe.config.seed + 1))
        if shown.scene is None:
            self._ask(_training(recipe))
        else:
            self.cancel()
            self._plan = Plan(recipe.source, recipe=recipe, scene=shown.scene, train=True)
        return True

    def cancel(self) -> None:
        """Forget what was asked for."""
        if self._loading is not None:
            self._loading.cancel()
        if self._plan is not None:
            self._plan.dismiss()
        self._loading = self._plan = None

    @property
    def pending(self) -> Pending | None:
        """What is being read, if something is."""
        self._collect()
        return None if self._loading is None else Pending(self._loading.text, self._loading.progress)

    @property
    def ready(self) -> bool:
        """Whether what was asked for is there: close the window and call :meth:`switch`."""
        self._collect()
        return self._plan is not None

    def switch(self) -> Session | None:
        """Show what is ready: save and let go of what was on show, start Taichi anew, and build it.

        To be called with no window open. What cannot be shown is said, and what was on show comes back; None if there
        was nothing.
        """
        plan, self._plan = self._plan, None
        if plan is not None and self._tried(lambda: self.show(plan)):
            self._remember(plan.title)
            self.preview.forget()
        return self.session

    def open_now(
        self,
        what: str | Path,
        progress: Callable[[str, float], None] | None = None,
        *,
        bandwidth: float | None = None,
    ) -> None:
        """:meth:`open` and :meth:`switch` at once, before there is a window.

        Args:
            progress: called with what is being done and how far it is, 0..1.
            bandwidth: look at a model while it is read at no more than so many bytes a second.

        Raises:
            UserError: there is nothing to show.
        """
        loading = self._reading(what, bandwidth)
        if loading is not None:
            self._show_now(loading, progress)

    def start_now(self, progress: Callable[[str, float], None] | None = None) -> None:
        """:meth:`start` and :meth:`switch` at once, as :meth:`open_now`."""
        self._show_now(_training(self.recipe()), progress)

    def _show_now(self, loading: Loading, progress: Callable[[str, float], None] | None) -> None:
        loading.start()
        try:
            while not loading.wait(0.1):
                if progress is not None:
                    progress(loading.text, loading.progress or 0.0)
        except BaseException:
            loading.cancel()
            raise
        if loading.error is not None:
            raise UserError(reason(loading.error)) from loading.error
        self.progress = progress
        try:
            self.show(loading.result)
        finally:
            self.progress = None
        self._remember(loading.result.title)

    def advance(self, budget: float) -> None:
        """To be called once a frame: takes over what was read, notices how the training ended, and evaluates it.

        Args:
            budget: seconds for evaluating; a part of it may take somewhat longer.
        """
        self._collect()
        super().advance(budget)

    def stop(self) -> None:
        """Forget what was asked for, save the training and let go of its folder. One can go on looking, and with the
        next step on training."""
        self.cancel()
        super().stop()

    def adopt(self, training: Training, recipe: Recipe) -> Session:
        """Show a training that has begun; it is the studio's from now on, to save and to let go of."""
        self._remember(os.path.abspath(training.folder.path))
        return super().adopt(training, recipe)

    def close(self) -> str | None:
        """Save, let go of everything, and return what to tell the person, if there is anything.

        Raises:
            UserError: it cannot be saved; everything has been let go of all the same.
        """
        self.cancel()
        self.preview.forget()
        return super().close()

    def _reading(self, what: str | Path, bandwidth: float | None = None) -> Loading | None:
        """The reading of ``what``; None where it was a scene, which is now chosen."""
        if is_address(what) or bandwidth is not None:
            address = str(what) if is_address(what) else str(model_path(_place(what)[0]))
            return Loading(f"waiting for {address}", lambda loading: plan_incoming(address, bandwidth, loading))
        path, kind = _place(what)
        if kind not in ("run", "model", "scene") and _place(self.runs / what)[1] == "run":
            path, kind = _place(self.runs / what)
        if kind == "run":
            return Loading(f"reading {path}", lambda loading: plan_run(RunFolder(path), loading))
        if kind == "model":
            return Loading(f"reading {path}", lambda loading: plan_model(path, loading))
        self._choose(str(what))
        return None

    def _ask(self, loading: Loading | None) -> None:
        if loading is not None:
            self.cancel()
            self._loading = loading.start()

    def _collect(self) -> None:
        """Take over what the thread has read."""
        loading = self._loading
        if loading is None or not loading.done:
            return
        self._loading = None
        if loading.error is None:
            self._plan = loading.result
        elif not isinstance(loading.error, Cancelled):
            self.say(reason(loading.error), alarm=True)

    def _remember(self, what: str) -> None:
        if self.settings is not None and not is_address(what):  # those who list it look for files
            self.settings = self.settings.opened(what)


def _place(what: str | Path) -> tuple[Path, catalogue.Kind]:
    """Where ``what`` is, from any working directory, and what is there."""
    if "\0" in str(what):
        return Path("/"), "nothing"
    path = Path(os.path.abspath(os.path.expanduser(what)))
    return path, catalogue.kind_of(path)


def _training(recipe: Recipe, ahead: Loading | None = None) -> Loading:
    return Loading(f"loading {recipe.source}", lambda loading: plan_training(recipe, loading, ahead))
