"""Builds the session on show and the run that is trained in it, saves and evaluates it, and lets go of it, all on
Taichi's thread.

There is one session at a time. Taichi is started anew for each, because it frees neither the fields nor the kernels of
an earlier training; no window may be open while that happens.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.streaming.transport import is_address
from taichi_rf.training.finish import finishing
from taichi_rf.training.run import MODEL, Recipe, Run, RunFolder, Training, folder_name, free_folder
from viewer.app.loading import Loading, Plan, load_photographs
from viewer.app.opening import Guard, Standing, build_model, build_run, compiled, device_for, reason
from viewer.overlay.stats import Message
from viewer.session.session import Session

_PASSING = (UserError, OSError, MemoryError, RuntimeError)
"""What goes wrong with files and devices, as opposed to bugs; with RuntimeError Taichi says that its memory is out."""
_TROUBLE = (*_PASSING, FloatingPointError)
_PHOTOGRAPHS = "the photographs of this model: "
_SOON = 1.0  # seconds that something may take without a word
_SAVE_AGAIN = 10.0  # seconds between two attempts to save a training that is done


class Display(Protocol):
    """A window that shows the session. It has to be closed before Taichi is started anew."""

    def open(self, text: str) -> None:
        """Show the window, with ``text`` until there is a picture."""

    def show(self, text: str, share: float | None) -> None:
        """Show how far what is being prepared has come, 0..1, or None where that is not known."""

    def close(self) -> None:
        """Let go of what is shown."""


class Stage:
    """The session on show, and the run that is trained in it.

    Args:
        arch: the device; "auto" for that of a run that is shown.
        runs: where the folders of new runs are made.
        guard: the context in which frames are drawn and parts of training steps taken, such as one that puts off
            signals.
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
        self.display: Display | None = None
        """Closed before Taichi ends and opened as soon as it runs again, with what is being prepared to read."""
        self.progress: Callable[[str, float], None] | None = None
        """Told how far what is being prepared has come, 0..1, where there is no display yet."""
        self.share = 0.85
        """Of the time, given to training in the sessions to come; each hands its own on to the next."""
        self.guard, self._make_session = guard, session
        self._said: Message | None = None
        self._shown: Plan | None = None  # what would bring back what is on show
        self._photographs: Loading | None = None  # of the model on show
        self._finishing: Generator[tuple[int, int], None, dict[str, Any]] | None = None
        self._evaluated = 0.0
        self._save_at = 0.0  # when a training that is done is to be saved again, because it could not be
        self._cancelled: str | None = None  # what was being recorded when it was let go of

    def say(self, text: str, alarm: bool = False) -> None:
        """A line for the person, in the session where there is one."""
        self._said = Message(text, alarm)
        if self.session is not None:
            self.session.say(text, alarm=alarm)

    @property
    def message(self) -> Message | None:
        """The session's message, or without a session what was said last."""
        return self._said if self.session is None else self.session.message

    # What is on show

    def adopt(self, training: Training, recipe: Recipe) -> Session:
        """Show a training that has begun; it is the studio's from now on, to save and to let go of."""
        return self._adopt(Run(training, recipe))

    def _adopt(self, run: Run) -> Session:
        training, folder = run.training, run.training.folder
        self.run, self._finishing = run, None
        self.session = self._make_session(trainer=training, save=training.save, folder=folder.path)
        self.session.share = self.share
        self._shown = Plan(str(folder.path), recipe=run.recipe, folder=folder, scene=training.scene, train=True)
        return self.session

    def show(self, plan: Plan) -> None:
        """Raises UserError when nothing of ``plan`` can be shown; what was on show has come back then."""
        if plan.train and plan.folder is not None and self._is_open(plan.folder):
            raise UserError("this run is already open here")
        before = None if self.session is None else Standing.of(self.session)
        shown = self._shown
        self._cancelled = None
        trouble = self._put_on(plan)
        if trouble and plan.train and plan.model is not None:
            plan = plan.to_look_at(f"the run cannot go on here: {trouble}")
            trouble = self._put_on(plan)
        if trouble and self.session is None:
            self._come_back(before)
        if self._shown is not shown and shown is not None:
            shown.dismiss()
        self._load_photographs()
        cancelled: list[str] = [] if self._cancelled is None else [f"the {self._cancelled} was cancelled"]
        if trouble:
            plan.dismiss()
            raise UserError("; ".join([trouble, *cancelled]))
        if plan.notes or cancelled:
            said = plan.notes or ([self.message.text] if self.message is not None else [])
            self.say("; ".join([*said, *cancelled]), alarm=bool(plan.notes))

    def _come_back(self, before: Standing | None) -> None:
        """Show again what was on show, as it was."""
        if self._shown is not None:
            self._put_on(self._shown)
        if before is not None and self.session is not None:
            before.restore(self.session)

    def _put_on(self, plan: Plan) -> str | None:
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
            except Exception as error:  # whatever a file can cause: there is no window now to say it in
                return reason(error)
        return None

    def _is_open(self, folder: RunFolder) -> bool:
        run = self.run
        if run is None or run.over or not run.training.held:
            return False
        return os.path.realpath(folder.path) == os.path.realpath(run.training.folder.path)

    def _let_go(self) -> None:
        """UserError, and all stays as it is, when what was trained cannot be saved."""
        self.save()
        if self._photographs is not None:
            self._photographs.cancel()
        if self.session is not None:
            self.share = self.session.share
            if self.session.keeper.job is not None:
                self._cancelled = self.session.keeper.job.what
            self.session.keeper.cancel()
        if self.run is not None:
            self.run.training.release()
            if self._shown is not None and (self.run.training.folder / MODEL).exists():
                self._shown = replace(self._shown, model=self.run.training.folder / MODEL)
        self.session = self.run = self._finishing = self._photographs = None
        if self.display is not None:
            self.display.close()
        backend.reset()

    def _build(self, plan: Plan, folder: RunFolder | None, claim: contextlib.ExitStack) -> None:
        backend.init(device_for(plan, self.arch))
        preparing = f"preparing {plan.title.removeprefix('builtin:')} ..."
        if self.display is not None:
            self.display.open(preparing)
        if plan.train:
            assert folder is not None
            run = build_run(plan, folder, claim, guard=self.guard)
            self._adopt(run)
            if plan.folder is None:
                self.say(f"training in {folder}")
            elif warnings := run.training.trainer.warnings:
                self.say("; ".join(warnings), alarm=True)
            elif run.training.iteration and not run.over:
                self.say(f"going on from iteration {run.training.iteration:,}")
            return
        model = build_model(plan)
        if plan.incoming is not None:
            place = Path() if is_address(plan.title) else Path(plan.title).parent
            self.session = self._make_session(model, folder=place, incoming=plan.incoming)
        else:
            assert plan.model is not None
            for share in compiled(model):
                if self.display is not None:
                    self.display.show(preparing, share)
                elif self.progress is not None:
                    self.progress(preparing, share)
            self.session = self._make_session(model, scene=plan.scene, folder=plan.model.parent, file=plan.model)
        self.session.share = self.share
        self._shown = plan

    # What becomes of a training

    def advance(self, budget: float) -> None:
        """To be called once a frame: notices how the training ended, evaluates it, and attaches photographs.

        Args:
            budget: seconds for evaluating; a part of it may take somewhat longer.
        """
        self._attach()
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
        if self._photographs is not None:
            self._photographs.cancel()
        if self._shown is not None:
            self._shown.dismiss()
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
            if not self._kept(run):
                return
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
            warnings = run.metrics["warnings"] if run.metrics else []
            said = [f"trained and evaluated{quality}: {run.training.folder}", *warnings]
            self.say("; ".join(said), alarm=bool(warnings))
        except _TROUBLE as error:
            self.say(f"the evaluation failed: {reason(error)}; repeat it with: {run.again}", alarm=True)
        self._end(run)

    def _kept(self, run: Run) -> bool:
        """Save a training that is done; whether it is saved. If not, that is tried again in some seconds."""
        if time.perf_counter() < self._save_at:
            return False
        try:
            self.save()
        except _PASSING as error:
            self._save_at = time.perf_counter() + _SAVE_AGAIN
            self.say(f"trained, but not saved: {reason(error)}; it is tried again every {_SAVE_AGAIN:.0f} s", True)
            return False
        return True

    def _end(self, run: Run) -> None:
        run.over, self._finishing = True, None
        run.training.release()

    def _load_photographs(self) -> None:
        """Begin to load those of the model on show; a scene that is not in the cache is not rendered for that."""
        shown = self._shown
        if self.session is None or shown is None or shown.train or shown.scene is not None or self._photographs:
            return
        if shown.photographs is not None:
            self._photographs = Loading("", lambda loading: load_photographs(shown, loading)).start()

    def _attach(self) -> None:
        """Take over the photographs that a thread has loaded."""
        photographs = self._photographs
        if photographs is not None and not photographs.done:
            self._tell(photographs)
        elif photographs is not None:
            self._photographs = None
            if photographs.error is None and self.session is not None and self._shown is not None:
                self.session.subject.scene = photographs.result
                self._shown = replace(self._shown, scene=photographs.result)
            elif self._shown is None or self._shown.folder is None:  # of a lone model nobody expects them
                return
            elif self.message is None or not self.message.alarm:
                self.say(f"its photographs are not at hand: {reason(photographs.error)}")

    def _tell(self, photographs: Loading) -> None:
        """Say how far the photographs are that come beside the model, unless there is something else to be read."""
        said = self.message
        if self.session is None or photographs.seconds < _SOON or photographs.progress is None:
            return
        if said is None or said.text.startswith(_PHOTOGRAPHS):
            text = f"{_PHOTOGRAPHS}{photographs.text}, {100 * photographs.progress:.0f} %"
            if said is None or said.text != text:
                self.session.subject.messages.say(text)

    def _tried(self, what: Callable[[], object]) -> bool:
        """Whether ``what`` went well; if not, the person is told."""
        try:
            what()
        except _TROUBLE as error:
            self.say(reason(error), alarm=True)
            return False
        return True
