"""What a method is: the names of its parts, for the registry.

Strategy and sampler are named and looked up when a training begins, for they import Taichi, which a command line's
``--help`` and a window's first moment do without.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import Any, Literal

from taichi_rf.core.errors import UserError
from taichi_rf.training.configs.base import Config
from taichi_rf.training.schedule import LevelSchedule

Teacher = Literal["photographs", "mesh"]
"""What a training learns from."""


@dataclass(frozen=True)
class Method:
    """How one kind of field is trained from one kind of scene."""

    name: str
    about: str
    """What it is, for ``--help``: a few words."""
    learns_from: Teacher
    presets: dict[str, Config]
    """Named configurations; their ``strategy`` says of what type the method's own part is."""
    level_schedule: Callable[[Config], LevelSchedule]
    """Which levels train when."""
    strategy: str
    """A :class:`~taichi_rf.training.strategies.base.Strategy`, as "module:class"."""
    sampler: str
    """A :class:`~taichi_rf.training.samplers.base.Sampler`, as "module:class"; it is made from scene, configuration and
    strategy."""
    options: type
    """A dataclass of what ``train.py`` can be told for this method alone."""
    entries: Callable[[Any], dict[str, Any]]
    """From such options to entries of the configuration."""
    decoders: tuple[str, ...] = ()
    """What may be chosen to make colours; empty where there are none."""
    spaces: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Entries of the configuration by the kind of a scene's space and the preset, where they differ from those for a
    box; see :mod:`taichi_rf.kernels.spaces`."""
    settled: Callable[[int], Config] | None = None
    """The configuration that ``bench`` trains for so many steps before it measures; None where it measures nothing."""

    def strategy_type(self) -> Any:
        """The class that :attr:`strategy` names; this imports Taichi."""
        return resolve_name(self.strategy)

    def sampler_type(self) -> Any:
        """The class that :attr:`sampler` names; this imports Taichi."""
        return resolve_name(self.sampler)

    def preset(self, name: str) -> Config:
        """UserError where there is none of that name."""
        if name not in self.presets:
            raise UserError(f"there is no preset '{name}': choose one of {', '.join(self.presets)}")
        return self.presets[name]

    def suited(self, config: Config, scene: Any, said: Container[str] = ()) -> Config:
        """``config`` as suits the space of ``scene``: what a preset says otherwise for it, unless somebody has changed
        that very entry already, or has ``said`` it: an entry that is named has the preset's own value on purpose."""
        preset, space = self.presets.get(config.preset), getattr(scene, "space", None)
        if preset is None or space is None:
            return config
        entries = self.spaces.get(space.kind, {}).get(config.preset, {})
        return config.changed(
            **{key: value for key, value in entries.items() if key not in said and config.get(key) == preset.get(key)}
        )
