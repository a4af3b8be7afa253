"""What changes when: the order of pixels, the learning rate, the ranks (TRaIn), and milestones of the grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from taichi_rf.training.presets import Config

Pass = tuple[int, int, int, float]
"""A part of a step: (level, first ray, last ray + 1, weight of their mean loss)."""


class PixelOrder:
    """All pixels in a random order without replacement, epoch after epoch, at no memory and from any position.

    A Feistel network over the next power of four permutes; numbers beyond ``count`` walk on until they fall inside
    (cycle walking, Black and Rogaway 2002).
    """

    ROUNDS = 4

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self.half_bits = max(1, (max(count - 1, 1).bit_length() + 1) // 2)
        self.seed = seed

    def batch(self, start: int, size: int) -> np.ndarray:
        """Pixels number start .. start + size of the endless sequence, int64 in [0, count)."""
        positions = np.arange(start, start + size, dtype=np.int64)
        epochs, places = positions // self.count, positions % self.count
        result = self._permute(places, epochs)
        while (outside := result >= self.count).any():
            result[outside] = self._permute(result[outside], epochs[outside])
        return result

    def _permute(self, values: np.ndarray, epochs: np.ndarray) -> np.ndarray:
        mask = (1 << self.half_bits) - 1
        left, right = values >> self.half_bits, values & mask
        seed = np.uint64((self.seed * 0x9E3779B97F4A7C15) % (1 << 64))
        for r in range(self.ROUNDS):
            key = (epochs * self.ROUNDS + r).astype(np.uint64) + seed
            mixed = right.astype(np.uint64) ^ (key * np.uint64(0xD1B54A32D192ED03))
            mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
            mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xC4CEB9FE1A85EC53)
            left, right = right, left ^ ((mixed >> np.uint64(32)).astype(np.int64) & mask)
        return (left << self.half_bits) | right


@dataclass
class RankSchedule:
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
        if self.config.ranks == "plain":
            self.level = self.config.num_ranks

    def update(self, losses: Mapping[int, float], progress: float) -> str | None:
        """Report the photometric loss, by level, of the step that began at ``progress`` (0..1).

        The first began at zero and cannot fire.

        Returns the cause if a level was added ("loss" or "deadline"), else None.
        """
        loss = losses[max(losses)]
        change = abs(self.last_loss - loss) / max(loss, 1e-12)
        self.last_loss = loss
        if self.level >= self.config.num_ranks:
            return None
        cause = None
        if np.isfinite(change) and change > self.config.upsilon and progress - self.last_increment > self.config.eta:
            cause = "loss"
        elif progress >= self._deadline(self.level + 1):
            cause = "deadline"
        if cause:
            self.level += 1
            while self.level < self.config.num_ranks and progress >= self._deadline(self.level + 1):
                self.level += 1
            self.last_increment = progress
        return cause

    def _deadline(self, level: int) -> float:
        first, last = self.config.rank_deadlines
        return first + (last - first) * (level - 2) / max(1, self.config.num_ranks - 2)

    @property
    def highest(self) -> int:
        """The last level there will be."""
        return self.config.num_ranks

    def passes(self, rays: int, iteration: int, progress: float) -> list[Pass]:
        """What one step of ``rays`` rays that begins at ``progress`` does: all rays at the level there is."""
        return [(self.level, 0, rays, 1.0)]

    def state(self) -> dict[str, Any]:
        return {"level": self.level, "last_loss": self.last_loss, "last_increment": self.last_increment}

    def restore(self, state: dict[str, Any]) -> None:
        self.level = int(state["level"])
        self.last_loss = float(state["last_loss"])
        self.last_increment = float(state["last_increment"])


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
        if progress < self.config.prefix_from or not prefixes or place == 0:
            return super().passes(rays, iteration, progress)
        turn = group * (self.PERIOD - 1) + place - 1
        return [(prefixes[turn % len(prefixes)], 0, -(-rays // 2), 1.0)]


@dataclass
class JointLevels:
    """Levels of detail that train together, so that every prefix is a good model; ``level`` of them so far.

    "finest": every ray at the finest level alone. "random": one level a step, level l with probability proportional to
    2^l (VQAD's code). "split": each step's rays are shared out in those proportions, so that every level is in every
    step and none costs more. "all": every ray at every level, the losses weighted in those proportions.
    """

    config: Config
    level: int = 1

    @property
    def highest(self) -> int:
        """The last level there will be."""
        return self.config.lods

    def passes(self, rays: int, iteration: int, progress: float) -> list[Pass]:
        """What one step of ``rays`` rays does."""
        joint, level = self.config.joint, self.level
        shares = 2.0 ** np.arange(level)
        shares /= shares.sum()
        if joint == "random":
            rng = np.random.default_rng((self.config.seed, iteration, 2))
            return [(int(rng.choice(level, p=shares)) + 1, 0, rays, 1.0)]
        if joint == "all":
            return [(l + 1, 0, rays, float(shares[l])) for l in range(level)]
        if joint == "split":
            ends = [0, *(int(round(float(e) * rays)) for e in np.cumsum(shares))]
            return [(l + 1, ends[l], ends[l + 1], float(shares[l])) for l in range(level) if ends[l] < ends[l + 1]]
        return [(level, 0, rays, 1.0)]

    def update(self, losses: Mapping[int, float], progress: float) -> str | None:
        """Levels come with the tree, not with the loss."""
        return None

    def state(self) -> dict[str, Any]:
        return {"level": self.level}

    def restore(self, state: dict[str, Any]) -> None:
        self.level = int(state["level"])


def level_schedule(config: Config) -> RankSchedule | JointLevels:
    """Which levels train when, by the configuration."""
    if config.method == "vqad":
        return JointLevels(config)
    return PrefixRanks(config) if config.ranks == "prefix" else RankSchedule(config)


@dataclass
class LearningRate:
    """factor = decay^progress, counted anew from each restart (as the paper's code does at each upsampling)."""

    config: Config
    restarted_at: float = field(default=0.0)

    def factor(self, progress: float, *, prefix: bool = False) -> float:
        """The learning rate at ``progress``, over the initial one, of a step on the whole or on a prefix."""
        rate = float(self.config.decay ** (progress - self.restarted_at))
        return rate * self.config.prefix_rate if prefix else rate


ORDER = ("shrink", "filter", "upsample", "grow", "quantise")
"""Of milestones that are due at once."""


class Milestones:
    """Things that happen once, in order of their fraction: (fraction, name, argument)."""

    def __init__(self, entries: list[tuple[float, str, int]]) -> None:
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
