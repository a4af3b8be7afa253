"""Reads what a person asked for in a thread, without Taichi, while the window goes on.

A person who asks for something else cancels the thread: its result is dropped, and the program does not wait for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import scenes
from scenes.origin import judged
from taichi_rf.coding.headers import is_whole
from taichi_rf.core.errors import UserError
from taichi_rf.storage.metadata import is_builtin
from taichi_rf.storage.trf import load_checkpoint, read_trf
from taichi_rf.streaming.download import Incoming
from taichi_rf.training import checkpoint
from taichi_rf.training.configs.slimmerf import QUICK
from taichi_rf.training.run import MODEL, Recipe, RunFolder, recipe_beside


class Cancelled(Exception):
    """Nobody waits for the result any more."""


class Loading:
    """A piece of reading: how far it has come, and in the end its result or its error.

    Args:
        text: what is being done, for the person who waits.
        work: is given the Loading, to report to; what it returns is ``result``.
    """

    def __init__(self, text: str, work: Callable[[Loading], Any]) -> None:
        self.text = text
        self.progress: float | None = None
        """0..1, None where it is not known."""
        self.result: Any = None
        self.error: Exception | None = None
        self._work = work
        self._done, self._cancelled = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since it was asked for."""
        return time.monotonic() - self._began

    @property
    def done(self) -> bool:
        """Whether the work has ended, well or not."""
        return self._done.is_set()

    def start(self) -> Loading:
        """Work in a thread that ends with the program."""
        threading.Thread(target=self.run, name="loading", daemon=True).start()
        return self

    def run(self) -> None:
        """Work here and now."""
        try:
            self.result = self._work(self)
        except Exception as error:  # also a bug in a reader: the window lives on and says so
            self.error = error
        finally:
            self._done.set()

    def wait(self, seconds: float) -> bool:
        """Whether it is done, ``seconds`` from now at the latest."""
        return self._done.wait(seconds)

    def cancel(self) -> None:
        """Let the work end at the next opportunity; its result is not wanted."""
        self._cancelled.set()
        with self._lock:
            if self._process is not None:
                self._process.terminate()

    def report(self, text: str, progress: float | None = None) -> None:
        """For the work: say how far it is. Raises Cancelled when it need not go on."""
        if self._cancelled.is_set():
            raise Cancelled
        self.text, self.progress = text, progress

    def watch(self, command: list[str], environment: dict[str, str], line: Callable[[str], None]) -> None:
        """For the work: run ``command`` to its end and hand its lines to ``line``; cancelling ends it."""
        with self._lock:
            if self._cancelled.is_set():
                raise Cancelled
            self._process = subprocess.Popen(
                command, env=environment, text=True, start_new_session=True,  # Ctrl-C is for us to answer
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        process = self._process
        try:
            assert process.stdout is not None
            for text in process.stdout:
                line(text)
        finally:
            process.terminate()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
            with self._lock:
                self._process = None


@dataclass(frozen=True)
class Plan:
    """What is to be on show, read and checked as far as that goes without Taichi.

    With ``train`` the run is trained here: in ``folder``, or in a new one where that is None; ``scene`` is None when it
    still has to be rendered. Without it, the ``model`` in that file is looked at, and ``photographs`` says how to load
    its scene; ``folder`` is that of its run, if it lies there.
    """

    title: str
    recipe: Recipe | None = None
    folder: RunFolder | None = None
    model: Path | None = None
    """A file that was found to be good; None where there is none."""
    scene: Any = None
    photographs: Recipe | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    """Of the model."""
    train: bool = False
    incoming: Incoming | None = None
    """Brings a model to look at, whose header is there."""
    notes: tuple[str, ...] = ()
    """What the person should know, in sentences."""

    def dismiss(self) -> None:
        """Nobody will look at it any more: what is still coming need not."""
        if self.incoming is not None:
            self.incoming.close()

    def to_look_at(self, *reasons: str) -> Plan:
        """The model alone, and why. UserError where there is none."""
        notes = (*self.notes, *reasons)
        if self.model is None:
            raise UserError("; ".join(notes) or f"{self.title} holds no model yet")
        if reasons:
            notes = (*notes, "this is its model as it was saved last")
        return replace(self, train=False, scene=None, notes=notes)


def plan_training(recipe: Recipe, loading: Loading, ahead: Loading | None = None) -> Plan:
    """A new run of ``recipe``, whose scene ``ahead`` may be reading or have read.

    Raises:
        UserError: its scene cannot be read.
    """
    while ahead is not None and not ahead.wait(0.1):
        loading.report(ahead.text, ahead.progress)
    scene = load_scene(recipe, loading) if ahead is None or ahead.result is None else ahead.result
    return Plan(recipe.source, recipe=recipe, scene=scene, train=True, notes=_warnings(scene))


def plan_model(path: Path, loading: Loading) -> Plan:
    """A model to look at. UserError when nothing of it can be read.

    Its photographs are found if it lies in its run's folder, or its scene is built in: a path that it names is nothing
    to open.
    """
    notes, metadata = _check_model(path, loading)
    recipe, source, downscale = recipe_beside(path), metadata.get("source"), metadata.get("downscale", 1)
    folder = None if recipe is None else RunFolder(path.parent)
    if recipe is None and is_builtin(source) and is_whole(downscale, 1, 1 << 10):
        recipe = Recipe(QUICK, str(source), downscale)
    return Plan(str(path), folder=folder, model=path, metadata=metadata, notes=notes, photographs=recipe)


def plan_incoming(address: str, bandwidth: float | None, loading: Loading) -> Plan:
    """A model that is looked at while it comes, at no more than ``bandwidth`` bytes a second; ready with its header.

    Raises:
        UserError: it is not there, or no model.
    """
    incoming = Incoming(address, bandwidth=bandwidth).start()
    try:
        while not incoming.wait(lambda: incoming.outline is not None, 0.1):
            loading.report(incoming.progress.trouble or f"waiting for {address}")
        if incoming.error is not None:
            raise incoming.error
    except BaseException:
        incoming.close()
        raise
    return Plan(address, incoming=incoming)


def plan_run(folder: RunFolder, loading: Loading) -> Plan:
    """A run to go on with; to be looked at where it is finished, or where something that training needs is missing.

    Raises:
        UserError: there is no model to look at either.
    """
    notes: list[str] = []
    metadata: dict[str, Any] = {}
    recipe, model = None, None
    folder.settle()
    try:
        recipe = folder.recipe()
    except UserError as error:
        notes.append(str(error))
    if (folder / MODEL).exists():
        try:
            found_notes, metadata = _check_model(folder / MODEL, loading)
            notes, model = [*notes, *found_notes], folder / MODEL
        except UserError as error:
            notes.append(str(error))
    found = Plan(
        str(folder.path), recipe=recipe, folder=folder, model=model, metadata=metadata, photographs=recipe,
        notes=tuple(notes),
    )  # fmt: skip
    if recipe is not None and recipe.is_remote:
        found = replace(found, recipe=None, photographs=None)  # nor trained from the start by it
        return found.to_look_at(_remote(recipe))
    if recipe is None or (model is not None and folder.finished(recipe)):
        return found.to_look_at()
    try:
        loading.report(f"reading {folder / checkpoint.NAME}")
        load_checkpoint(folder / checkpoint.NAME)
    except UserError as error:
        return found.to_look_at(f"the run cannot go on: {error}")
    try:
        scene = load_scene(recipe, loading)
        return replace(found, scene=scene, train=True, notes=found.notes + _warnings(scene))
    except UserError as error:
        return replace(found, photographs=None).to_look_at(f"the run cannot go on without its scene: {error}")


def load_photographs(plan: Plan, loading: Loading) -> Any:
    """The scene of the model to look at, if that is sure to be what it was trained on.

    Raises:
        UserError: it cannot be read, is another one, or nothing says which one it was; it says which.
    """
    recipe = plan.photographs
    assert recipe is not None
    if recipe.is_remote:
        raise UserError(_remote(recipe))
    scene = load_scene(recipe, loading, render=False)
    assert plan.model is not None
    same, why = judged(plan.model, plan.metadata, scene)
    if not same:
        raise UserError(f"{scene.source} does not hold what the model was trained on{why}")
    return scene


def _remote(recipe: Recipe) -> str:
    return (
        f"its scene is on another machine of the network ({recipe.source}), which is not opened by looking; to go on "
        "training with it: python train.py --resume RUN"
    )


def load_scene(recipe: Recipe, loading: Loading, *, render: bool = True) -> Any:
    """The scene of ``recipe``; a built-in one that is not in the cache is rendered by a process of its own.

    Returns:
        None where that process could not do it: then the scene has to be rendered by this one's main thread.

    Raises:
        UserError: the scene cannot be read, or would have to be rendered and ``render`` is False.
    """
    text = title = f"loading {Path(recipe.source.removeprefix('builtin:')).name}"

    def begin(stage: str) -> None:
        nonlocal text
        text = title if stage == scenes.LOADING else stage

    def load() -> Any:
        return scenes.load(
            recipe.source,
            downscale=recipe.downscale,
            views=recipe.views,
            background=recipe.background,
            max_test_views=recipe.eval_views,
            progress=lambda done, total: loading.report(text, done / max(total, 1)),
            stage=begin,
            render=False,
            depth=recipe.config.wants_depth,
            follow_links=recipe.follow_links,
            world=recipe.world,
        )

    loading.report(text)
    try:
        return load()
    except scenes.NotRendered:
        if not render:
            raise
    _render_apart(recipe, loading)
    try:
        return load()
    except scenes.NotRendered:
        return None


def _warnings(scene: Any) -> tuple[str, ...]:
    """What is to be known about how ``scene`` was read; nothing where it is None, which is a built-in one."""
    return () if scene is None else scene.warnings


def _render_apart(recipe: Recipe, loading: Loading) -> None:
    """Have a built-in scene rendered into the cache; it says nothing if that fails."""
    name = recipe.source.removeprefix("builtin:")
    command = [sys.executable, "-m", "scenes", name, "--downscale", str(recipe.downscale)]
    for option, value in (("--views", recipe.views), ("--test-views", recipe.eval_views)):
        command += [option, str(value)] if value is not None else []
    text = f"rendering {name}, this once"
    loading.report(text)

    def line(words: str) -> None:
        done, _, total = words.strip().partition(" ")
        if done.isdigit() and total.isdigit():
            loading.report(text, int(done) / max(int(total), 1))

    try:
        loading.watch(command, {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}, line)
    except OSError:  # no process to be had
        return


def _check_model(path: Path, loading: Loading) -> tuple[tuple[str, ...], dict[str, Any]]:
    """What is wrong with a model of which a part can be used, and its metadata. UserError if none can."""
    loading.report(f"reading {path}")
    file = read_trf(path)
    metadata = file.header.get("metadata")
    return tuple(file.warnings), metadata if isinstance(metadata, dict) else {}
