"""A run folder: what a training leaves on disk, from the first checkpoint to the report.

    config.json    everything needed to repeat the training    metrics.json   quality and size of every level
    checkpoint     the exact state, to resume from             events.jsonl   what the schedule did, and evaluations
    model.trf      the model, progressive                      report.png     curves and pictures; thumbnail.png one

One process at a time writes to a folder, and nothing that it holds is replaced before there is something better.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from taichi_rf.core import folder_lock as folderlock
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import append_line, read_json, write_json, writing
from taichi_rf.core.version import VERSION
from taichi_rf.rendering.model import Model
from taichi_rf.storage.model_file import save_model
from taichi_rf.storage.world import KEY, World
from taichi_rf.training import checkpoint
from taichi_rf.training.configs.base import Config
from taichi_rf.training.methods.registry import read_config
from taichi_rf.training.trainer import StepInfo, Trainer

CONFIG, MODEL, METRICS = "config.json", "model.trf", "metrics.json"
EVENTS, REPORT, THUMBNAIL, LOCK = "events.jsonl", "report.png", "thumbnail.png", ".lock"
NEW = ".new"
"""Of the folder in a run's folder where the run that is to replace it begins."""
FILES = (checkpoint.NAME, MODEL, METRICS, EVENTS, REPORT, THUMBNAIL, CONFIG)
SAVE_SECONDS = 60.0
"""Training time between two checkpoints."""


@dataclass(frozen=True)
class Recipe:
    """Everything needed to repeat a training: what ``config.json`` holds."""

    config: Config
    source: str
    downscale: int | Literal["auto"] = 1  # ``auto`` until the scene is loaded
    views: int | None = None
    background: str = "white"
    eval_views: int | None = None
    arch: str = "auto"
    follow_links: bool = False
    """Whether images may be read to which links lead out of the scene's folder."""
    world: World = field(default_factory=World)
    """What was said of how the folder becomes a scene."""

    @property
    def is_remote(self) -> bool:
        """Whether the scene lies on another machine of the network. Who only looks at a run leaves it alone: a run can
        come from anybody, and Windows sends credentials to whatever machine a path names."""
        return self.source.replace("\\", "/").startswith(("//", "/??/"))

    def to_json(self) -> dict[str, Any]:
        """As values of JSON, the content of ``config.json``."""
        scene = {key: value for key, value in asdict(self).items() if key not in ("config", "arch")}
        scene[KEY] = self.world.said()
        return {"version": VERSION, "arch": self.arch, "scene": scene, "config": self.config.to_json()}

    @staticmethod
    def from_json(values: Any, where: Path) -> Recipe:
        """The inverse of :meth:`to_json`; UserError for anything that it did not write."""
        try:
            scene = {**values["scene"], KEY: World.from_json(values["scene"].get(KEY, {}))}  # 0.1.0 said nothing
            recipe = Recipe(read_config(values["config"]), arch=values["arch"], **scene)
        except (KeyError, TypeError, UserError) as error:
            raise UserError(f"{where} is not the configuration of a run ({error})") from None
        numbers = (recipe.downscale, recipe.views, recipe.eval_views)
        if not isinstance(recipe.follow_links, bool):
            raise UserError(f"{where} is not the configuration of a run: its follow_links is neither true nor false")
        if not isinstance(recipe.source, str) or not all(n is None or isinstance(n, int) for n in numbers):
            raise UserError(f"{where} is not the configuration of a run: its scene is malformed")
        return recipe


def recipe_beside(model: Path) -> Recipe | None:
    """How the model in that file was trained, if it lies in the folder of a run."""
    try:
        return RunFolder(model.parent).recipe()
    except UserError:
        return None


class RunFolder:
    """A folder that may hold a run."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(os.path.abspath(path))
        """Absolute, so that it stays the same folder wherever the process goes."""

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def __str__(self) -> str:
        return short(self.path)

    @property
    def holds_run(self) -> bool:
        """Whether any file of a run is in the folder."""
        return any((self / name).exists() for name in FILES)

    def recipe(self) -> Recipe:
        """What ``config.json`` says. UserError if there is none, or it is broken."""
        if not (self / CONFIG).exists():
            raise UserError(f"{self} is not the folder of a run: it has no {CONFIG}")
        return Recipe.from_json(read_json(self / CONFIG), Path(short(self / CONFIG)))

    def finished(self, recipe: Recipe) -> bool:
        """Whether what ``recipe`` asks for has been trained and evaluated, going by ``metrics.json``."""
        try:
            metrics = read_json(self / METRICS)
            if recipe.config.max_seconds is not None:
                return bool(metrics["train_seconds"] >= recipe.config.max_seconds)
            return bool(metrics["iterations"] >= recipe.config.iterations)
        except (UserError, KeyError, TypeError):
            return False

    @contextlib.contextmanager
    def claimed(self, *, new: bool, overwrite: bool = False) -> Iterator[None]:
        """Hold the folder for writing. A ``new`` run makes the folder, and removes it if nothing came to be in it.

        Raises:
            UserError: it cannot be written, another process is writing to it, or it holds a run that may not be
                overwritten.
        """
        made: list[Path] = []
        if new:
            made = [p for p in (self.path, *self.path.parents) if not p.exists()]
            with writing(str(self), self.path):
                self.path.mkdir(parents=True, exist_ok=True)
        elif not self.path.is_dir():
            raise UserError(f"there is no folder {self} to resume from")
        try:
            with folderlock.locked(self / LOCK, str(self)):
                self._take_over()
                if new and not overwrite and self.holds_run:
                    raise UserError(
                        f"{self} already holds a run: go on with --resume {self}, replace it with --overwrite, or "
                        "choose another --out"
                    )
                yield
        finally:
            for folder in made:
                with contextlib.suppress(OSError):  # not empty: something came to be in it
                    folder.rmdir()

    def begin(self, recipe: Recipe, trainer: Trainer) -> None:
        """Put a new run where another may have been, with a first checkpoint to resume from.

        Whatever ends this, a full disk or a kill, the earlier run is whole or the new one is, for whoever claims the
        folder next: the new one is written beside the earlier one, its configuration last, and then takes its place.
        """
        try:
            with writing(self / NEW):
                (self / NEW).mkdir()
            trainer.save(self / NEW)
            write_json(self / NEW / CONFIG, recipe.to_json())
        except BaseException:
            self._forget_new()
            raise
        self._take_over()

    def settle(self) -> None:
        """Let a new run take its place here where a process was killed over that, if nobody writes here."""
        if (self / NEW / CONFIG).exists():
            with contextlib.suppress(UserError), self.claimed(new=False):
                pass

    def _take_over(self) -> None:
        """Let the run in ``NEW``, if it is whole, take the place of what is here; its configuration comes last, so that
        this can be begun again wherever it was interrupted."""
        if (self / NEW / CONFIG).exists():
            for name in FILES:
                with writing(self / name):
                    if name in (checkpoint.NAME, CONFIG):
                        with contextlib.suppress(FileNotFoundError):  # it is here already
                            os.replace(self / NEW / name, self / name)
                    else:
                        (self / name).unlink(missing_ok=True)
        self._forget_new()

    def _forget_new(self) -> None:
        """Remove ``NEW``, first what makes it whole."""
        with contextlib.suppress(OSError):
            (self / NEW / CONFIG).unlink()
        shutil.rmtree(self / NEW, ignore_errors=True)

    def room_warning(self, trainer: Trainer) -> str | None:
        """A sentence when the disk may not hold the checkpoints (the new one is written beside the old one)."""
        needed = 2 * checkpoint.size_limit(trainer)
        free = shutil.disk_usage(self.path).free
        if free >= needed:
            return None
        return f"only {free / 1e6:.0f} MB are free where {self} lies, and checkpoints may need {needed / 1e6:.0f} MB"


class Training:
    """A trainer whose steps keep its run folder up to date. A viewer's session takes it for the trainer itself.

    Args:
        guard: the context in which a part of a step is taken, such as one that puts off signals.
        claim: holds the folder for writing; it is let go of by :meth:`release` and taken back by the next step. None
            when the caller sees to that.
        cold: compile all kernels before the first step, see :meth:`warm_up`.
        save_seconds: training time between two checkpoints; ``SAVE_SECONDS`` by default.
    """

    def __init__(
        self,
        trainer: Trainer,
        folder: RunFolder,
        *,
        guard: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
        claim: contextlib.ExitStack | None = None,
        cold: bool = False,
        save_seconds: float | None = None,
    ) -> None:
        self.trainer, self.folder, self.cold = trainer, folder, cold
        self._warming: Generator[float, bool | None, None] | None = None
        self._guard, self._claim = guard, claim
        self._save_seconds = save_seconds
        self._released_with: tuple[int, ...] | None = None  # the checkpoint when the claim was given up
        self._whole = True
        self._saved_at, self._saved_iteration = trainer.elapsed, trainer.iteration
        self._events, self.warmth = 0, 0.0  # that are written; how much is compiled, 0..1
        with writing(folder / EVENTS):
            (folder / EVENTS).unlink(missing_ok=True)  # may hold more than the checkpoint knows of
        self._write_events()

    @property
    def model(self) -> Model:
        """The model as it is now."""
        return self.trainer.model

    @property
    def scene(self) -> Any:
        """The scene that it learns from."""
        return self.trainer.scene

    @property
    def iteration(self) -> int:
        """Steps that have been taken."""
        return self.trainer.iteration

    @property
    def progress(self) -> float:
        """Fraction of the training that is over, 0 to 1."""
        return self.trainer.progress

    @property
    def done(self) -> bool:
        """Whether the training is over."""
        return self.trainer.done

    @property
    def level(self) -> int:
        """Levels that train now."""
        return self.trainer.level

    def step(self) -> StepInfo:
        """One step of the trainer, and a checkpoint if the last is ``SAVE_SECONDS`` of training old."""
        while (info := self.part()) is None:
            pass
        return info

    def in_parts(self) -> None:
        """As the trainer's ``in_parts``."""
        self.trainer.in_parts()

    def part(self) -> StepInfo | None:
        """A part of a step or of :meth:`warm_up`, as the trainer's ``part``; whole steps may write a checkpoint."""
        self._reclaim()
        if self.cold:
            self.warm_up()
            return None
        with self._guard():
            self._whole = False
            info = self.trainer.part()
            self._whole = True
        if info is not None:
            self._write_events()
            if self.trainer.elapsed - self._saved_at >= (self._save_seconds or SAVE_SECONDS):
                self.save()
        return info

    def warm_up(self) -> None:
        """Compile some of what training runs, until it is ``cold`` no more; that is no training time, and the model is
        not to be looked at meanwhile. Nothing is saved if it is interrupted."""
        self._whole = False
        try:
            self._warming = self._warming or self.trainer.warming()
            self.warmth = next(self._warming)
        except StopIteration:
            self._whole, self.cold, self._warming, self.warmth = True, False, None, 1.0
        except BaseException:
            self._warming = None
            raise

    @property
    def whole(self) -> bool:
        """Whether the state is one between two parts of a step. After something broke a part off it is not."""
        return self._whole

    def save(self, *, anyway: bool = False) -> None:
        """Write the checkpoint, and the model as it is now; ``anyway`` even if nothing is newer than what is there.

        A step that was broken off in its middle is not saved: the last good checkpoint stays.
        """
        if not self._whole:
            return
        if self.trainer.iteration == self._saved_iteration and (self.folder / MODEL).exists() and not anyway:
            return
        self.trainer.save(self.folder.path)
        save_model(self.model, self.folder / MODEL)
        self._saved_at, self._saved_iteration = self.trainer.elapsed, self.trainer.iteration

    @property
    def held(self) -> bool:
        """Whether the folder is this process's to write to."""
        return self._released_with is None

    def release(self) -> None:
        """Let go of the folder, so that another process may go on with the run; save first."""
        if self._warming is not None:  # the model becomes what it was while there is a device
            with contextlib.suppress(StopIteration):
                self._warming.send(True)
            self._warming = None
        if self._claim is not None and self._released_with is None:
            self._released_with = self._identity()
            self._claim.close()

    def _reclaim(self) -> None:
        """Hold the folder again. UserError if another process holds it, or has trained on meanwhile."""
        if self._claim is None or self._released_with is None:
            return
        with contextlib.ExitStack() as claim:
            claim.enter_context(self.folder.claimed(new=False))
            if self._identity() != self._released_with:
                raise UserError(f"another process went on with {self.folder} meanwhile: open it again")
            self._claim, self._released_with = claim.pop_all(), None

    def _identity(self) -> tuple[int, ...]:
        """What tells one checkpoint from another without reading it."""
        try:
            found = os.stat(self.folder / checkpoint.NAME)
        except OSError:
            return ()
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _write_events(self) -> None:
        for event in self.trainer.events[self._events :]:
            append_line(self.folder / EVENTS, event)
            self._events += 1


@dataclass
class Run:
    """A run that this process trains."""

    training: Training
    recipe: Recipe
    metrics: dict[str, Any] | None = None
    """Of the whole run; None as long as it has not been evaluated."""
    over: bool = False
    """Nothing will be done to it any more, and its folder has been let go of."""

    @property
    def again(self) -> str:
        """The command that goes on with it."""
        return f"python train.py --resume {shlex.quote(str(self.training.folder))}"


def short(path: Path) -> str:
    """``path`` as one would type it here: relative where it lies below the working directory."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def free_folder(parent: Path, name: str) -> Path:
    """The first of parent/name-1, -2, ... that does not exist."""
    number = 1
    while (parent / f"{name}-{number}").exists():
        number += 1
    return parent / f"{name}-{number}"


def folder_name(source: str) -> str:
    """What the run of a scene is called: the scene's own name as far as it makes a file's."""
    return re.sub(r"[^\w.-]+", "-", Path(source.removeprefix("builtin:")).resolve().name) or "scene"
