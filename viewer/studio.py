"""What can be opened and trained, and the one session there is: above the window, and without one.

A window's loop does its frame, lets the session work, and calls :meth:`Studio.advance`. What a person asks for is read
in a thread meanwhile; once it is :attr:`Studio.ready`, the loop closes its window and calls :meth:`Studio.switch`,
because Taichi has to be started anew: it gives back neither the fields of an earlier training nor its kernels.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import scenes
from taichi_rf import backend
from taichi_rf.errors import UserError
from taichi_rf.finish import finishing
from taichi_rf.presets import PRESETS
from taichi_rf.run import MODEL, Recipe, RunFolder, Training, folder_name, free_folder
from viewer import catalogue
from viewer.loading import Cancelled, Loading, Plan, load_scene, plan_model, plan_run, plan_training
from viewer.opening import Guard, Run, build_model, build_run, reason, short
from viewer.session import Message, Session

METHODS = ("slimmerf",)
_TROUBLE = (UserError, FloatingPointError, OSError, MemoryError, RuntimeError)
"""What goes wrong with files and devices, as opposed to bugs; with RuntimeError Taichi says that its memory is out."""


@dataclass(frozen=True)
class Pending:
    """What one waits for: ``progress`` is 0..1, None where it is not known."""

    text: str
    progress: float | None


class Studio:
    """The session on show, what could be opened instead, and what a new training would be.

    Args:
        arch: the device; "auto" for that of a run that is opened.
        runs: where the folders of new runs are made.
        guard: the context in which parts of training steps are taken, such as one that puts off signals.
        session: makes sessions; a test may have its own.
    """

    def __init__(
        self,
        *,
        arch: str = "auto",
        runs: Path = Path("runs"),
        guard: Guard = contextlib.nullcontext,
        session: Callable[..., Session] = Session,
    ) -> None:
        self.arch, self.runs = arch, runs
        self.session: Session | None = None
        self.run: Run | None = None
        # What a new training would be; max_seconds None leaves its length to the preset.
        self.source: str | None = None
        self.preset = "quick"
        self.method = METHODS[0]
        self.downscale = 2
        self.max_seconds: float | None = None
        self.seed = 0
        self._guard, self._make_session = guard, session
        self._said: Message | None = None
        self._loading: Loading | None = None  # what will be switched to
        self._photographs: Loading | None = None  # of the model on show
        self._plan: Plan | None = None  # loaded, to be switched to
        self._shown: Plan | None = None  # what would bring back what is on show
        self._finishing: Generator[tuple[int, int], None, dict[str, Any]] | None = None
        self._evaluated = 0.0

    # What is said

    def say(self, text: str, alarm: bool = False) -> None:
        """A line for the person, in the session where there is one."""
        self._said = Message(text, alarm, math.inf)
        if self.session is not None:
            self.session.say(text, alarm=alarm)

    @property
    def message(self) -> Message | None:
        """The session's message, or without a session what was said last."""
        return self._said if self.session is None else self.session.message

    # Choosing

    def choose(self, source: str | Path) -> bool:
        """Take the scene of that name or in that folder for the next :meth:`start`; False and a message if there is
        none."""
        return self._tried(lambda: self._choose(str(source)))

    def recipe(self) -> Recipe:
        """What :meth:`start` would train. UserError when no scene is chosen, or a choice cannot be."""
        if self.source is None:
            raise UserError("choose a scene first: a folder, or one of " + ", ".join(catalogue.builtin_scenes()))
        if self.preset not in PRESETS:
            raise UserError(f"there is no preset '{self.preset}': choose one of {', '.join(PRESETS)}")
        if self.method not in METHODS:
            raise UserError(f"there is no method '{self.method}': choose one of {', '.join(METHODS)}")
        changes: dict[str, Any] = {"seed": self.seed, "method": self.method}
        if self.max_seconds is not None:
            changes["max_seconds"] = self.max_seconds
        config = replace(PRESETS[self.preset], **changes)
        return Recipe(config, self.source, downscale=self.downscale, arch=self.arch)

    def _choose(self, source: str) -> None:
        self.source = scenes.find(source)

    # Asking for something else

    def open(self, what: str | Path) -> bool:
        """Ask for a model file, a run's folder (or its name in ``runs``), or a scene, which is then chosen.

        An unfinished run goes on. Returns False, with a message, where there is nothing of the kind.
        """
        return self._tried(lambda: self._ask(self._reading(what)))

    def start(self) -> bool:
        """Ask for a new run of what is chosen; False and a message if that cannot be."""
        return self._tried(lambda: self._ask(_training(self.recipe())))

    def restart(self) -> bool:
        """Ask for what is on show to be trained from the start in a new folder; False and a message if that cannot be.

        After a loss that was no number, it is given another seed: the same one would go the same way.
        """
        shown, session = self._shown, self.session
        if shown is None or shown.recipe is None:
            self.say("this model is not a run of which the recipe is known: choose its scene and start", alarm=True)
            return False
        recipe = replace(shown.recipe, arch=self.arch if self.arch != "auto" else shown.recipe.arch)
        if session is not None and isinstance(session.failure, FloatingPointError):
            recipe = replace(recipe, config=replace(recipe.config, seed=recipe.config.seed + 1))
        scene = shown.scene
        if scene is None:
            self._ask(_training(recipe))
        else:
            self.cancel()
            self._plan = Plan(recipe.source, recipe=recipe, scene=scene, train=True)
        return True

    def open_now(self, what: str | Path, show: Callable[[str, float], None] | None = None) -> None:
        """:meth:`open` and :meth:`switch` before there is a window.

        Args:
            show: called with what is being done and its progress 0..1.

        Raises:
            UserError: there is nothing to show.
        """
        loading = self._reading(what)
        if loading is None:
            return
        loading.start()
        try:
            while not loading.wait(0.1):
                if show is not None:
                    show(loading.text, loading.progress or 0.0)
        except BaseException:
            loading.cancel()
            raise
        if loading.error is not None:
            raise UserError(reason(loading.error)) from loading.error
        self._switch(loading.result)

    def cancel(self) -> None:
        """Forget what was asked for."""
        if self._loading is not None:
            self._loading.cancel()
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

    def _reading(self, what: str | Path) -> Loading | None:
        """The reading of ``what``; None where it was a scene, which is now chosen."""
        path = Path(os.path.abspath(what)) if "\0" not in str(what) else Path("/")
        kind = catalogue.kind_of(path)
        if kind not in ("run", "model", "scene") and catalogue.kind_of(self.runs / what) == "run":
            path, kind = Path(os.path.abspath(self.runs / what)), "run"
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
        """Take over what a thread has read."""
        loading, photographs = self._loading, self._photographs
        if loading is not None and loading.done:
            self._loading = None
            if loading.error is None:
                self._plan = loading.result
            elif not isinstance(loading.error, Cancelled):
                self.say(reason(loading.error), alarm=True)
        if photographs is not None and photographs.done:
            self._photographs = None
            if photographs.error is None and self.session is not None and self._shown is not None:
                self.session.attach_scene(photographs.result)
                self._shown = replace(self._shown, scene=photographs.result)
            elif self._shown is not None and self._shown.folder is not None:  # of a lone model nobody expects them
                self.say(f"its photographs are not at hand: {reason(photographs.error)}")

    # Switching

    def switch(self) -> Session | None:
        """Show what is ready: save and let go of what was on show, start Taichi anew, and build it.

        To be called with no window open. What cannot be shown is said, and what was on show comes back; None if there
        was nothing.
        """
        plan, self._plan = self._plan, None
        if plan is not None:
            self._tried(lambda: self._switch(plan))
        return self.session

    def adopt(self, training: Training, recipe: Recipe) -> Session:
        """Show a training that has begun; it is the studio's from now on, to save and to let go of."""
        return self._adopt(Run(training, recipe))

    def _adopt(self, run: Run) -> Session:
        training, folder = run.training, run.training.folder
        self.run, self._finishing = run, None
        self.session = self._make_session(trainer=training, save=training.save, folder=folder.path)
        self._shown = Plan(str(folder.path), recipe=run.recipe, folder=folder, scene=training.scene, train=True)
        return self.session

    def _switch(self, plan: Plan) -> None:
        """Raises UserError when nothing of ``plan`` can be shown; what was on show has come back then."""
        run = self.run
        if plan.train and run is not None and not run.over and plan.folder is not None:
            if os.path.realpath(plan.folder.path) == os.path.realpath(run.training.folder.path):
                raise UserError("this run is already open here")
        share = None if self.session is None else self.session.share
        trouble = self._show(plan)
        if trouble and plan.train and plan.model is not None:
            plan = plan.to_look_at(f"the run cannot go on here: {trouble}")
            trouble = self._show(plan)
        if trouble and self.session is None and self._shown is not None:
            self._show(self._shown)
        if self.session is not None and share is not None:
            self.session.share = share
        if trouble:
            raise UserError(trouble)
        if plan.notes:
            self.say("; ".join(plan.notes), alarm=True)
        if plan.photographs is not None and not plan.train:
            recipe = plan.photographs
            self._photographs = Loading("", lambda loading: load_scene(recipe, loading, render=False)).start()

    def _show(self, plan: Plan) -> str | None:
        """Let go of what is on show, and build ``plan``; the trouble with that, if there is any.

        A run's folder is claimed, and what was trained is saved, before anything is given up.
        """
        with contextlib.ExitStack() as claim:
            try:
                folder = plan.folder
                if plan.train:
                    assert plan.recipe is not None
                    folder = folder or RunFolder(free_folder(self.runs, folder_name(plan.recipe.source)))
                    claim.enter_context(folder.claimed(new=plan.folder is None))
                self._let_go()
                self._build(plan, folder, claim)
            except _TROUBLE as error:
                return reason(error)
        return None

    def _let_go(self) -> None:
        """UserError, and all stays as it is, when what was trained cannot be saved."""
        self.save()
        if self._photographs is not None:
            self._photographs.cancel()
        if self.session is not None:
            self.session.keeper.cancel()
        if self.run is not None:
            self.run.training.release()
            if self._shown is not None and (self.run.training.folder / MODEL).exists():
                self._shown = replace(self._shown, model=self.run.training.folder / MODEL)
        self.session = self.run = self._finishing = self._photographs = None
        backend.reset()

    def _build(self, plan: Plan, folder: RunFolder | None, claim: contextlib.ExitStack) -> None:
        if plan.train:
            assert folder is not None
            run = build_run(plan, folder, claim, arch=self.arch, guard=self._guard)
            self._adopt(run)
            if plan.folder is None:
                self.say(f"training in {short(folder.path)}")
            elif run.training.iteration and not run.over:
                self.say(f"going on from iteration {run.training.iteration:,}")
            return
        assert plan.model is not None
        model = build_model(plan, arch=self.arch)
        place = plan.model.parent
        self.session = self._make_session(model, scene=plan.scene, folder=place, file=plan.model)
        self._shown = plan

    # While the window is open

    def advance(self, budget: float) -> None:
        """To be called once a frame: takes over what was read, notices how the training ended, and evaluates it.

        Args:
            budget: seconds for evaluating; a part of it may take somewhat longer.
        """
        self._collect()
        run, session = self.run, self.session
        if run is None or session is None or run.over:
            return
        if session.failure is not None:
            self._end(run)
            self.say(f"the training ended: {session.failure}; what was saved last is kept, and can be restarted", True)
        elif run.training.done:
            self._evaluate(run, budget)

    @property
    def evaluating(self) -> float | None:
        """How far the evaluation of a run that is trained has come, 0..1; None while there is none."""
        return None if self._finishing is None else self._evaluated

    def stop(self) -> None:
        """Save the training and let go of its folder; one can go on looking, and with the next step on training."""
        run, session = self.run, self.session
        self.cancel()
        if run is None or session is None or run.over or run.training.done:
            self.say("nothing is being trained", alarm=True)
            return
        if session.training:
            session.toggle_training()
        if self._tried(self.save):
            run.training.release()
            self.say(f"stopped and saved at iteration {run.training.iteration:,}; go on here, or with: {run.again}")

    def save(self) -> None:
        """Keep what has been trained, unless an error ended it: then the last good checkpoint stays.

        Raises:
            UserError: it cannot be written.
        """
        run, session = self.run, self.session
        if run is None or run.over or not run.training.held or (session is not None and session.failure is not None):
            return
        with contextlib.suppress(FloatingPointError):  # then nothing is worth keeping
            run.training.save()

    def close(self) -> str | None:
        """Save, let go of everything, and return what to tell the person, if there is anything.

        Raises:
            UserError: it cannot be saved; everything has been let go of all the same.
        """
        self.cancel()
        if self._photographs is not None:
            self._photographs.cancel()
        run, session = self.run, self.session
        if session is not None:
            session.keeper.cancel()
        if run is None or session is None:
            return None
        try:
            self.save()
        finally:
            run.training.release()
        if session.failure is not None:
            return f"{session.failure}; what was saved last is kept: go on from it with: {run.again}"
        if not run.training.done:
            return f"saved at iteration {run.training.iteration:,}; go on with: {run.again}"
        return f"the training is done and saved; evaluate it with: {run.again}" if run.metrics is None else None

    def _evaluate(self, run: Run, budget: float) -> None:
        if self._finishing is None:
            self._finishing, self._evaluated = finishing(run.training, run.recipe), 0.0
            self.say("the training is done; evaluating it")
        until = time.perf_counter() + budget
        try:
            while True:
                done, total = next(self._finishing)
                self._evaluated = done / max(total, 1)
                if time.perf_counter() >= until:
                    return
        except StopIteration as end:
            run.metrics = end.value
            best = run.metrics["levels"][-1]["psnr"] if run.metrics else None
            quality = "" if best is None else f" ({best:.2f} dB)"
            self.say(f"trained and evaluated{quality}: {short(run.training.folder.path)}")
        except _TROUBLE as error:
            self.say(f"the evaluation failed: {reason(error)}; repeat it with: {run.again}", alarm=True)
        self._end(run)

    def _end(self, run: Run) -> None:
        run.over, self._finishing = True, None
        run.training.release()

    def _tried(self, what: Callable[[], object]) -> bool:
        """Whether ``what`` went well; if not, the person is told."""
        try:
            what()
        except _TROUBLE as error:
            self.say(reason(error), alarm=True)
            return False
        return True


def _training(recipe: Recipe) -> Loading:
    return Loading(f"loading {recipe.source}", lambda loading: plan_training(recipe, loading))
