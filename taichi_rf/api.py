"""The Python API: train a scene, then load, slim, render and score what came of it.

    import taichi_rf as trf

    training = trf.train("lantern", iterations=300)
    for progress in training:
        print(progress.iteration, progress.psnr)
    training.save("lantern.trf")

Everything computes on one device, which :func:`init` chooses; without it the first function that needs one takes CUDA
where there is one, Metal on a Mac, a GPU that Vulkan offers, else the CPU. What the person who calls can mend raises
:class:`UserError`, whose text says what is wrong and what would be right. Nothing here prints.

Functions import what they need when they are called: starting Taichi takes a second, which nobody should wait for who
only wants to slim a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # for start-up time: numpy and Taichi are imported by the functions
    from taichi_rf.core.backend import Backend
    from taichi_rf.evaluation.evaluate import LevelScore
    from taichi_rf.kernels.rays import Camera
    from taichi_rf.rendering.model import Model
    from taichi_rf.training.configs.base import Config

Point = Sequence[float]
Precision = Literal["fine", "small", "tiny"]


def init(arch: str = "auto") -> Backend:
    """Choose the device: "auto", "cpu", "cuda", "vulkan" or "metal". Nothing happens if it runs already.

    Changing the device ends every model and training made before.

    Raises:
        UserError: there is no such device here.

    >>> import taichi_rf as trf
    >>> trf.init("cpu").arch
    'cpu'
    """
    from taichi_rf.core import backend

    return backend.init(arch)


def load(path: str | Path, level: int | None = None) -> Model:
    """Read a model file.

    Args:
        path: a ``.trf`` file, or the folder of a run.
        level: read no more than the first so many levels (tensor ranks, or levels of detail); all by default.

    Returns:
        The model: ``model.num_levels``; ``model.render(camera, level=4)``, a picture (height, width, 3);
        ``model.bytes_at(4)``, what a file of the first four levels takes.

    Raises:
        UserError: there is no such file, it is damaged, or there is not the memory that it takes.

    >>> import taichi_rf as trf
    >>> model = trf.load("tests/data/tensor.trf")
    >>> model.num_levels
    4
    >>> model.render(trf.camera(eye=(3, 2, 1), width=32, height=24), level=2).shape
    (24, 32, 3)
    """
    from taichi_rf.core import backend
    from taichi_rf.storage.model_file import load_model, model_path

    backend.current()
    return load_model(model_path(path), level)


def camera(
    eye: Point,
    target: Point = (0.0, 0.0, 0.0),
    *,
    up: Point = (0.0, 0.0, 1.0),
    width: int = 800,
    height: int = 800,
    field_of_view: float = 40.0,
) -> Camera:
    """A pinhole camera that stands at ``eye`` and looks at ``target``.

    Args:
        eye, target: (3,) in world units.
        up: (3,) what is upwards in the picture.
        width, height: of the picture, in pixels.
        field_of_view: from the picture's upper edge to its lower one, in degrees.

    Raises:
        ValueError: ``eye`` is ``target``, ``up`` is zero, or the picture has no pixels.

    >>> import taichi_rf as trf
    >>> trf.camera(eye=(4, 0, 0), width=640, height=480).position.tolist()
    [4.0, 0.0, 0.0]
    """
    import math

    from taichi_rf.kernels.rays import Camera, look_at

    focal = 0.5 * height / math.tan(math.radians(field_of_view) / 2)
    return Camera(look_at(eye, target, up), focal, focal, width / 2, height / 2, width, height)


@dataclass(frozen=True)
class Progress:
    """What a step of a training did.

    Attributes:
        iteration: steps that have been taken.
        fraction: of the whole training, 0 to 1.
        loss: mean squared error of the batch.
        psnr: of the batch, in dB; of training rays, and so no claim of quality: for that there is :func:`evaluate`.
        level: levels that train now.
        seconds: of training, in all.
    """

    iteration: int
    fraction: float
    loss: float
    psnr: float
    level: int
    seconds: float


class Training:
    """A training that goes on as long as somebody iterates over it, one step each; see :func:`train`.

    Leaving the loop pauses it, and another loop goes on from there. ``model`` can be rendered at any time.
    """

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer

    @property
    def model(self) -> Model:
        """The model as it is now."""
        model: Model = self._trainer.model
        return model

    @property
    def scene(self) -> Any:
        """The scene that it learns from: ``scene.train`` and ``scene.test`` hold cameras and images."""
        return self._trainer.scene

    @property
    def done(self) -> bool:
        """Whether all iterations have been taken."""
        return bool(self._trainer.done)

    def __iter__(self) -> Iterator[Progress]:
        trainer = self._trainer
        while not trainer.done:
            step = trainer.step()
            yield Progress(step.iteration, trainer.progress, step.loss, step.psnr, step.level, trainer.elapsed)

    def run(self) -> Training:
        """Take all steps that are left; returns itself."""
        for _ in self:
            pass
        return self

    def save(self, path: str | Path) -> list[int]:
        """Write the model as a ``.trf`` file; returns the bytes that each prefix of its levels takes.

        Raises:
            UserError: the file cannot be written.
        """
        from taichi_rf.storage.model_file import save_model

        return save_model(self.model, Path(path))


def train(
    scene: Any,
    *,
    method: str | None = None,
    preset: str = "quick",
    downscale: int = 1,
    views: int | None = None,
    **options: Any,
) -> Training:
    """Begin a training; iterating over what is returned takes its steps.

    Args:
        scene: a scene's folder, the name of a built-in one, a mesh file, or what ``scenes.load`` returns.
        method: "slimmerf", a tensor whose levels are ranks, or "vqad", an octree whose levels are levels of detail. By
            default the first, and for a mesh the second.
        preset: "quick" (minutes on two CPU cores), "balanced" or "paper".
        downscale, views: average so many pixels a side into one, learn from so many views: where ``scene`` is a name.
        options: entries of the configuration in place of the preset's, such as ``iterations=300`` or ``seed=1``; see
            :mod:`taichi_rf.training.configs`.

    Raises:
        UserError: there is no such scene, method, preset or option, or a value makes no sense.

    >>> import taichi_rf as trf
    >>> training = trf.train("lantern", downscale=16, views=8, iterations=3)
    >>> [progress.iteration for progress in training]
    [1, 2, 3]
    >>> training.model.render(training.scene.test.cameras[0], level=1).shape
    (25, 25, 3)
    """
    import scenes
    from taichi_rf.core import backend
    from taichi_rf.training.trainer import Trainer

    backend.current()
    if isinstance(scene, str | Path):
        scene = scenes.load(str(scene), downscale=downscale, views=views)
    return Training(Trainer(scene, _configuration(scene, method, preset, options)))


def _configuration(scene: Any, method: str | None, preset: str, options: dict[str, Any]) -> Config:
    """A preset with some entries replaced, each checked as those of a file are."""
    from taichi_rf.training.methods.registry import find_preset, names, read_config, suited, teacher_for

    mesh = getattr(scene, "shape", None) is not None
    found = find_preset(method or names(teacher_for(mesh=mesh))[0], preset, mesh=mesh)
    found = suited(found, scene)
    values = found.to_json()
    own = values["strategy"]
    for name, value in options.items():
        (own if name in own else values)[name] = value
    return read_config(values)


def slim(
    source: str | Path,
    output: str | Path,
    *,
    level: int | None = None,
    size: int | None = None,
    precision: Precision | None = None,
) -> int:
    """Write a smaller file of a model, without its scene and without training; returns its bytes.

    Args:
        source: a ``.trf`` file, or the folder of a run.
        output: the file to write; one that is there is replaced.
        level: keep the first so many levels. That alone copies a part of the file and needs no device.
        size: bytes that the file may take: the best precision and number of levels that fit are found.
        precision: code a tensor's numbers anew, for about 0.03 dB ("fine"), 0.1 dB ("small") or 0.4 dB ("tiny") by an
            estimate.

    Raises:
        UserError: nothing or both of ``size`` and ``precision`` is asked for, or it cannot be had of this model.

    >>> import taichi_rf as trf, tempfile, os
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     smaller = trf.slim("tests/data/tensor.trf", os.path.join(folder, "slim.trf"), level=2)
    >>> 0 < smaller < os.path.getsize("tests/data/tensor.trf")
    True
    """
    from taichi_rf.core.errors import UserError
    from taichi_rf.storage.model_file import model_path
    from taichi_rf.storage.trf import read_trf, truncate_trf, write_trf

    if size is not None and precision is not None:
        raise UserError("size and precision: one at a time")
    if level is None and size is None and precision is None:
        raise UserError("say what to make smaller: level, size or precision")
    path, written = model_path(source), Path(output)
    if precision is None:
        sizes = read_trf(path, level).prefix_bytes
        if size is None or sizes[-1] <= size:
            return truncate_trf(path, level or len(sizes), written)
    from taichi_rf.storage.compress import Compactor

    model = load(path, level)
    compactor = Compactor(model)
    if precision is not None:
        made, kept = compactor.losing(precision), model.num_levels
    else:
        assert size is not None
        made, kept = compactor.under(size)
    return write_trf(written, made.header, made.chunks[:kept])[-1]


def evaluate(
    model: Model | str | Path, scene: Any, *, views: int | None = None, downscale: int = 1
) -> list[LevelScore]:
    """Score every level of a model on a scene's test views, which were never trained on.

    Args:
        model: as :func:`load` returns it, or what it takes.
        scene: as :func:`train` takes it.
        views: how many test views, evenly spread; all by default.
        downscale: average so many pixels a side into one, where ``scene`` is a name.

    Returns:
        For every level ``level``, ``psnr`` (dB, mean over views), ``ssim`` and ``bytes`` of the file up to it.

    Raises:
        UserError: the scene has no test views.

    >>> import taichi_rf as trf
    >>> scores = trf.evaluate("tests/data/tensor.trf", "lantern", views=2, downscale=8)
    >>> [score.level for score in scores]
    [1, 2, 3, 4]
    """
    import scenes
    from taichi_rf.core import backend
    from taichi_rf.evaluation.evaluate import evaluate as score

    backend.current()
    if isinstance(model, str | Path):
        model = load(model)
    if isinstance(scene, str | Path):
        scene = scenes.load(str(scene), downscale=downscale, max_test_views=views, depth=False)
    sizes = [model.bytes_at(level) for level in range(1, model.num_levels + 1)]
    return score(model, scene.test, sizes, views=views).scores
