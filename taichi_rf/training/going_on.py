"""Going on with what was trained: a run that is made longer, and a new run that begins with a model.

A run that is made longer is at the point of its schedule where a training of the new length would be: the learning rate
is what it would be there, and what is behind stays as it is. A run that begins with a model has the second half of a
schedule before it: the learning rate falls from where half of a training would have brought it to where a whole one
ends, and the box is not cut again. Prefixes of ranks are trained from the same fraction on as in any training: until
then all steps are on the whole, so that two halves have as many steps on the whole as one training of both lengths.
"""

from __future__ import annotations

from typing import Any, cast

from taichi_rf.core.errors import UserError
from taichi_rf.training.configs.base import Config
from taichi_rf.training.configs.slimmerf import SlimmerfConfig
from taichi_rf.training.strategies.base import Begun
from taichi_rf.training.trainer import Trainer

HALF_WAY = 0.5
"""Of a schedule: where a training that begins with a model takes up the learning rate. In one go the rate is counted
from the last refinement of the grid before that, and so it is here."""


def begun_config(config: Config, header: dict[str, Any]) -> Config:
    """``config`` for a training that begins with the model of a file's checked ``header``: its densities mean what they
    meant, and the schedule is the second half of one.

    Raises:
        UserError: the method cannot begin with a model.
    """
    if not isinstance(config.strategy, SlimmerfConfig):
        raise UserError(f"--from goes with --method slimmerf, not with {config.method}")
    field = header["field"]
    entries: dict[str, Any] = {
        "activation": field.get("activation", config.strategy.activation),
        "density_shift": field.get("density_shift", config.density_shift),
        "distance_scale": header["distance_scale"],
        "begun": True,
        "shrink_at": 1.0,
        "occupancy_from": 0.0,
    }
    if not config.strategy.begun:  # else what it was made from has the second half of a schedule already
        own = config.strategy
        restarts = [at for at, _ in own.grids[1:] if at < HALF_WAY] if own.restart_on_upsample else []
        fallen = config.decay ** (HALF_WAY - max(restarts, default=0.0))
        entries |= {
            "factor_rate": own.factor_rate * fallen,
            "network_rate": config.network_rate * fallen,
            "decay": config.decay ** (1 - HALF_WAY),
        }
    return config.changed(**entries)


def begun_words(trainer: Trainer, begun: Begun, decoder: str) -> list[str]:
    """What a training that has just begun with a model keeps of it and what is anew, in sentences.

    Args:
        decoder: of the model.
    """
    config, own = trainer.config, cast(SlimmerfConfig, trainer.config.strategy)
    name, ranks = trainer.model.field.level_name, own.num_ranks
    grid = "x".join(map(str, begun.grid))
    kept = [f"{name}s 1 to {begun.kept}", f"grid of {grid}", "box"]
    anew = ["iterations", "optimiser"]
    if begun.grid != begun.before:
        kept[1] = f"grid brought from {'x'.join(map(str, begun.before))} to {grid}"
    if begun.decoder:
        kept.append(f"decoder ({decoder})")
    else:
        anew.append(f"colours, because decoder {config.decoder} takes the place of {decoder}")
    if begun.kept < begun.of:
        kept.append(f"but not {name}s {begun.kept + 1} to {begun.of}")
    if begun.kept < ranks:
        anew.append(f"{name}s {begun.kept + 1} to {ranks}, which are silent at first and come in one by one")
    reached = begun.grid[0] * begun.grid[1] * begun.grid[2]
    finer = [(at, nodes) for at, nodes in own.grids[1:] if nodes**3 > 1.06 * reached]
    if finer:
        again = ", where the learning rate begins again" if own.restart_on_upsample else ""
        anew.append("grids of " + ", ".join(f"{nodes}^3 at {at:.0%}" for at, nodes in finer) + again)
    return [f"kept: {', '.join(kept)}", f"anew: {', '.join(anew)}", rate_words(trainer)]


def longer_words(trainer: Trainer, before: Config) -> list[str]:
    """At what point of its schedule a training is that was made longer, or shorter, than ``before`` says, in
    sentences."""
    if before.max_seconds is not None:
        over = trainer.elapsed / before.max_seconds
    else:
        over = trainer.iteration / before.iterations
    made = "made longer" if trainer.progress < over else "made shorter"
    most = trainer.config.iterations
    end = f"{trainer.config.max_seconds:g} s" if trainer.config.max_seconds is not None else f"iteration {most:,}"
    left = trainer.milestones.entries[trainer.milestones.done :]
    come = ", ".join(f"{name} at {at:.0%}" for at, name, _ in left) or "nothing, so that grid and box stay"
    return [
        f"{made}, to {end}: {trainer.progress:.0%} of its schedule are over; still to come: {come}",
        rate_words(trainer),
    ]


def rate_words(trainer: Trainer) -> str:
    """How the learning rate goes from here to the end, in a sentence."""
    now, end = trainer.rate.factor(trainer.progress), trainer.rate.factor(1.0)
    rates = [f"{p.name} {p.rate * now:.2g} to {p.rate * end:.2g}" for p in trainer.model.parameters()]
    return f"learning rates from here to the end: {', '.join(rates)}"
