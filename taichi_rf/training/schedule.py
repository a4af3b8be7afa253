"""What changes when: the levels that train, the learning rate, and milestones of the field."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from taichi_rf.training.configs.base import Config
from taichi_rf.training.configs.slimmerf import SlimmerfConfig
from taichi_rf.training.configs.vqad import VqadConfig
from taichi_rf.training.state import Arrays, Entries, Owner

Pass = tuple[int, int, int, float]
"""A part of a step: (level, first ray, last ray + 1, weight of their mean loss)."""


class LevelSchedule(Owner, ABC):
    """Which levels train when; ``level`` of them do so far. Its state is under "ranks" in a checkpoint."""

    level: int

    @property
    @abstractmethod
    def highest(self) -> int:
        """The last level there will be."""

    @abstractmethod
    def passes(self, rays: int, iteration: int, progress: float) -> list[Pass]:
        """What one step of ``rays`` rays that begins at ``progress`` does."""

    @abstractmethod
    def update(self, losses: Mapping[int, float], progress: float) -> str | None:
        """Report the photometric loss, by level, of the step that began at ``progress`` (0..1).

        Returns:
            The cause if a level was added ("loss" or "deadline"), else None.
        """

    def moving_above(self, level: int) -> int | None:
        """After a step whose highest level is ``level``: how many levels, from the first on, rest while those above
        them up to it are updated. None where nothing rests."""
        return None

    def state(self) -> dict[str, Any]:
        return {"ranks": {"level": self.level}}

    def check(self, its: Entries) -> None:
        its.table_of("ranks").whole("level", self.highest, low=1)

    def restore(self, arrays: Arrays, state: dict[str, Any]) -> None:
        self.level = int(state["ranks"]["level"])


@dataclass
class RankSchedule(LevelSchedule):
    """How many levels take part: all from the start ("plain"), or TRaIn.

    TRaIn (Algorithm 1, Yuan 2024): after a step with photometric loss L[t], one level more if
    |L[t-1] - L[t]| / L[t] > upsilon and t - t_last > eta. L[-1] is infinite and t_last starts at 0. The rule promises
    nothing, so deadlines add what is still missing: level k of K by the k-th of K - 1 even steps of ``rank_deadlines``.
    """

    config: Config
    level: int = 1
    last_loss: float = float("inf")
    last_increment: float = 0.0

    def __post_init__(self) -> None:
        if self._own.ranks in ("plain", "bcd"):
            self.level = self._own.num_ranks

    @property
    def _own(self) -> SlimmerfConfig:
        return cast(SlimmerfConfig, self.config.strategy)

    def update(self, losses: Mapping[int, float], progress: float) -> str | None:
        """As in the base class. The first step began at zero and cannot fire."""
        loss = losses[max(losses)]
        change = abs(self.last_loss - loss) / max(loss, 1e-12)
        self.last_loss = loss
        if self.level >= self._own.num_ranks:
            return None
        cause = None
        if np.isfinite(change) and change > self._own.upsilon and progress - self.last_increment > self._own.eta:
            cause = "loss"
        elif progress >= self._deadline(self.level + 1):
            cause = "deadline"
        if cause:
            self.level += 1
            while self.level < self._own.num_ranks and progress >= self._deadline(self.level + 1):
                self.level += 1
            self.last_increment = progress
        return cause

    def _deadline(self, level: int) -> float:
        first, last = self._own.rank_deadlines
        return first + (last - first) * (level - 2) / max(1, self._own.num_ranks - 2)

    @property
    def highest(self) -> int:
        return self._own.num_ranks

    def passes(self, rays: int, iteration: int, progress: float) -> list[Pass]:
        """What one step of ``rays`` rays that begins at ``progress`` does: all rays at the level there is."""
        return [(self.level, 0, rays, 1.0)]

    def state(self) -> dict[str, Any]:
        own = {"last_loss": self.last_loss, "last_increment": self.last_increment}
        return {"ranks": {"level": self.level, **own}}

    def check(self, its: Entries) -> None:
        super().check(its)
        ranks = its.table_of("ranks")
        ranks.number("last_loss", math.inf)
        ranks.number("last_increment", 1.0)

    def restore(self, arrays: Arrays, state: dict[str, Any]) -> None:
        super().restore(arrays, state)
        self.last_loss = float(state["ranks"]["last_loss"])
        self.last_increment = float(state["ranks"]["last_increment"])


class PrefixRanks(RankSchedule):
    """TRaIn, and from ``prefix_from`` two of three steps train a prefix of the ranks there are, as a model of its own.

    The prefixes are the powers of two from 2 on, and what lies between them comes by itself. They take turns. Half of
    the rays are enough for them.
    """

    PERIOD = 3
    """Of so many steps the first is on the whole."""

    @property
    def prefixes(self) -> list[int]:
        """Ranks that are trained besides all that there are."""
        return [1 << k for k in range(1, self.level.bit_length()) if 1 << k < self.level]

    def update(self, losses: Mapping[int, float], progress: float) -> str | None:
        """As TRaIn's, of steps on the whole."""
        return super().update(losses, progress) if self.level in losses else None

    def passes(self, rays: int, iteration: int, progress: float) -> list[Pass]:
        """What one step does: all rays at the level there is, or half of them at a prefix."""
        prefixes = self.prefixes
        group, place = divmod(iteration, self.PERIOD)
        if progress < self._own.prefix_from or not prefixes or place == 0:
            return super().passes(rays, iteration, progress)
        turn = group * (self.PERIOD - 1) + place - 1
        return [(prefixes[turn % len(prefixes)], 0, -(-rays // 2), 1.0)]


class RanksInTurn(RankSchedule):
    """Block-coordinate descent: all ranks are there from the start, and one group of them trains while the others
    rest.

    Groups end at the powers of two from 2 on and at the last rank. They take turns of ``TURN`` steps. A group is
    trained as the end of the prefix that it completes, on all rays: it learns what the ranks before it leave, and ranks
    behind it are not rendered. SlimmeRF says of the method that it fluctuates and has no figures; groups and turns are
    ours.
    """

    TURN = 16

    @property
    def groups(self) -> list[int]:
        """The last rank of each."""
        return [*(1 << k for k in range(1, 7) if 1 << k < self.level), self.level]

    def passes(self, rays: int, iteration: int, progress: float) -> list[Pass]:
        """What one step does: all rays at the prefix that ends with the group whose turn it is."""
        groups = self.groups
        return [(groups[iteration // self.TURN % len(groups)], 0, rays, 1.0)]

    def moving_above(self, level: int) -> int:
        """The last rank of the group before the one that ends with ``level``."""
        return max((end for end in self.groups if end < level), default=0)


@dataclass
class JointLevels(LevelSchedule):
    """Levels of detail that train together, so that every prefix is a good model; ``level`` of them so far.

    "finest": every ray at the finest level alone. "random": one level a step, level l with probability proportional to
    2^l (VQAD's code). "split": each step's rays are shared out in those proportions, and count the same, so that every
    level is in every step and none costs more. "all": every ray at every level, the losses weighted in those
    proportions.
    """

    config: Config
    level: int = 1

    @property
    def _own(self) -> VqadConfig:
        return cast(VqadConfig, self.config.strategy)

    @property
    def highest(self) -> int:
        return self._own.lods

    def passes(self, rays: int, iteration: int, progress: float) -> list[Pass]:
        """What one step of ``rays`` rays does."""
        joint, level = self._own.joint, self.level
        shares = 2.0 ** np.arange(level)
        shares /= shares.sum()
        if joint == "random":
            rng = np.random.default_rng((self.config.seed, iteration, 2))
            return [(int(rng.choice(level, p=shares)) + 1, 0, rays, 1.0)]
        if joint == "all":
            return [(l + 1, 0, rays, float(shares[l])) for l in range(level)]
        if joint == "split":
            ends = [0, *(int(round(float(e) * rays)) for e in np.cumsum(shares))]
            spans = [(l + 1, ends[l], ends[l + 1]) for l in range(level) if ends[l] < ends[l + 1]]
            return [(l, begin, end, (end - begin) / rays) for l, begin, end in spans]
        return [(level, 0, rays, 1.0)]

    def update(self, losses: Mapping[int, float], progress: float) -> str | None:
        """Levels come with the tree, not with the loss."""
        return None


def rank_schedule(config: Config) -> RankSchedule:
    """Which ranks train when, by the configuration."""
    kinds = {"prefix": PrefixRanks, "bcd": RanksInTurn}
    return kinds.get(cast(SlimmerfConfig, config.strategy).ranks, RankSchedule)(config)


@dataclass
class LearningRate(Owner):
    """factor = decay^progress, counted anew from each restart (as the paper's code does at each upsampling)."""

    config: Config
    restarted_at: float = field(default=0.0)

    def factor(self, progress: float, *, prefix: bool = False) -> float:
        """The learning rate at ``progress``, over the initial one, of a step on the whole or on a prefix."""
        rate = float(self.config.decay ** (progress - self.restarted_at))
        return rate * self.config.strategy.rate_of_fewer_levels if prefix else rate

    def state(self) -> dict[str, Any]:
        return {"rate_restarted_at": self.restarted_at}

    def check(self, its: Entries) -> None:
        its.number("rate_restarted_at", 1.0)

    def restore(self, arrays: Arrays, state: dict[str, Any]) -> None:
        self.restarted_at = state["rate_restarted_at"]


Milestone = tuple[float, str, int]
"""(fraction of the training, name, argument)"""

ORDER = ("shrink", "filter", "upsample", "grow", "quantise")
"""Of milestones that are due at once."""


class Milestones(Owner):
    """Things that happen once, in order of their fraction."""

    def __init__(self, entries: list[Milestone]) -> None:
        # stable: what is due at once happens in the order given
        self.entries = sorted((e for e in entries if e[0] < 1), key=lambda e: (e[0], ORDER.index(e[1])))
        self.done = 0

    def due(self, progress: float) -> tuple[str, int] | None:
        """The next one if its time has come; call again until None."""
        if self.done < len(self.entries) and progress >= self.entries[self.done][0]:
            _, name, argument = self.entries[self.done]
            self.done += 1
            return name, argument
        return None

    def state(self) -> dict[str, Any]:
        return {"milestones_done": self.done}

    def check(self, its: Entries) -> None:
        its.whole("milestones_done", len(self.entries))

    def restore(self, arrays: Arrays, state: dict[str, Any]) -> None:
        self.done = state["milestones_done"]
