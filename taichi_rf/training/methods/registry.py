"""Every method that there is, and the one for a configuration and a scene.

A new method adds a configuration in ``configs/``, a strategy in ``strategies/``, a sampler if it learns from something
new, and its entry here.
"""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING, Any, Literal

from taichi_rf.coding.checks import shown
from taichi_rf.core.errors import UserError
from taichi_rf.training.configs import slimmerf, solid, vqad
from taichi_rf.training.configs.base import Config, StrategyConfig, names_of
from taichi_rf.training.limits import check_entries
from taichi_rf.training.methods.base import Method, Teacher
from taichi_rf.training.schedule import JointLevels, rank_schedule

TENSOR = "factors of a tensor, by rank"
OCTREE = "features on the corners of an octree's cells, by level of detail"

METHODS = (
    Method(
        "slimmerf", TENSOR, "photographs", slimmerf.PRESETS, rank_schedule,
        strategy="taichi_rf.training.strategies.vm:VMStrategy",
        sampler="taichi_rf.training.samplers.pixels:PixelSampler",
        options=slimmerf.SlimmerfOptions, entries=slimmerf.entries, decoders=("sh", "mlp"), spaces=slimmerf.SPACES,
        settled=slimmerf.settled,
    ),
    Method(
        "vqad", OCTREE, "photographs", vqad.PRESETS, JointLevels,
        strategy="taichi_rf.training.strategies.octree:OctreeStrategy",
        sampler="taichi_rf.training.samplers.pixels:PixelSampler",
        options=vqad.VqadOptions, entries=vqad.entries, decoders=("small",), spaces=vqad.SPACES,
        settled=vqad.settled,
    ),
    Method(
        "vqad", OCTREE, "mesh", solid.PRESETS, JointLevels,
        strategy="taichi_rf.training.strategies.solid:SolidStrategy",
        sampler="taichi_rf.training.samplers.points:PointSampler",
        options=vqad.VqadOptions, entries=solid.entries,
    ),
)  # fmt: skip


def names(teacher: Teacher | None = None) -> tuple[str, ...]:
    """Of all methods, or of those that learn from that; the first is the one to take where nothing is said."""
    return tuple(dict.fromkeys(m.name for m in METHODS if teacher in (None, m.learns_from)))


if TYPE_CHECKING:  # a type checker cannot know the choices that a command line shows
    MethodName = str
    PresetName = str
    DecoderName = str
else:
    MethodName = Literal[names()]
    PresetName = Literal[tuple(METHODS[0].presets)]
    DecoderName = Literal[tuple(dict.fromkeys(decoder for method in METHODS for decoder in method.decoders))]

PRESETS = tuple(METHODS[0].presets)
"""The names of the presets, which every method has."""


def teacher_of(scene: Any) -> Teacher:
    """What ``scene`` has to learn from."""
    return teacher_for(mesh=getattr(scene, "shape", None) is not None)


def teacher_for(*, mesh: bool) -> Teacher:
    """What a mesh, or else photographs, are called as something to learn from."""
    return "mesh" if mesh else "photographs"


def find(name: str, teacher: Teacher = "photographs") -> Method:
    """The method of that name that learns from that.

    Raises:
        UserError: there is none.
    """
    for method in METHODS:
        if method.name == name and method.learns_from == teacher:
            return method
    if name not in names():
        raise UserError(f"unknown method '{name}': choose one of {', '.join(names())}")
    others = " or ".join(f"--method {other}" for other in names(teacher))
    raise UserError(f"--method {name} cannot fit a {'mesh' if teacher == 'mesh' else 'scene'}: give {others}")


def suited(config: Config, scene: Any, said: Container[str] = ()) -> Config:
    """``config`` as suits ``scene``, see :meth:`Method.suited`: for a training that begins."""
    return find(config.method, teacher_of(scene)).suited(config, scene, said)


def find_preset(method: str, name: str, *, mesh: bool = False) -> Config:
    """The configuration called ``name`` of a method, for a mesh or for photographs.

    Raises:
        UserError: there is no such method or preset, or the method cannot fit a mesh.
    """
    return find(method, teacher_for(mesh=mesh)).preset(name)


def read_config(values: Any) -> Config:
    """The inverse of :meth:`Config.to_json`, for JSON that may come from anybody.

    Before methods had a part of their own, all entries of all methods lay side by side, in files of version 0.1.0 too:
    such are read as well, and what they say for another method is checked and left out.

    Raises:
        UserError: it is something else, such as a key that this version does not know, or a number out of its range.
    """
    if not isinstance(values, dict):
        raise UserError("the configuration is broken: it is no list of named entries")
    if values.get("method", METHODS[0].name) not in names():
        found = shown(values["method"])
        raise UserError(f"the configuration's 'method' should be one of {', '.join(names())}, not {found}")
    method = next(m for m in METHODS if m.name == values.get("method", METHODS[0].name))
    kind = type(next(iter(method.presets.values())).strategy)
    common = {key: value for key, value in values.items() if key in names_of(Config) and key != "strategy"}
    rest = {key: value for key, value in values.items() if key not in names_of(Config)}
    if "strategy" in values:
        own = values["strategy"]
        if not isinstance(own, dict):
            raise UserError(f"the configuration's 'strategy' should be a list of named entries, not {shown(own)}")
    else:
        own = {key: rest.pop(key) for key in names_of(kind) & rest.keys()}
        for other in {type(config.strategy) for m in METHODS for config in m.presets.values()}:
            check_entries({key: rest.pop(key) for key in names_of(other) & rest.keys()}, other)
    if unknown := {*rest, *(own.keys() - names_of(kind))}:
        raise UserError(f"the configuration has unknown entries: {', '.join(sorted(map(str, unknown)))}")
    check_entries(common, Config)
    check_entries(own, kind)
    strategy: StrategyConfig = kind(**_tuples(own))
    return Config(**{"method": method.name, **_tuples(common), "strategy": strategy})


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    """With tuples for JSON's lists."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
