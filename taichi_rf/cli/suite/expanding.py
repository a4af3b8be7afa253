"""From a suite's definition to its runs: every combination of scene, variant and seed, looked up and checked before
anything runs."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import scenes
from taichi_rf.cli.suite.keys import Keys, text_of
from taichi_rf.cli.train import options as train_options
from taichi_rf.cli.train.recipe import new_recipe
from taichi_rf.core.errors import UserError
from taichi_rf.suite.definition import MOST_RUNS, Definition, known
from taichi_rf.suite.plan import PlannedRun, check_names
from taichi_rf.training.methods import registry
from taichi_rf.training.run import folder_name

LONGEST_FOLDER = 200
"""Bytes of a run's name; its log's has four more, and file systems take 255."""


@dataclass(frozen=True)
class Variant:
    """What is trained, whatever the scene: settings, by the names of options and entries of the configuration."""

    label: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class Found:
    """A scene that is there."""

    label: str
    source: str


def expand(definition: Definition, found: Sequence[Found]) -> tuple[PlannedRun, ...]:
    """All runs of a suite.

    Raises:
        UserError: a key or a value is unknown, a run would be refused by ``train.py``, two would share a folder, or
            there is none.
    """
    combinations = max(1, len(definition.variants)) * math.prod(map(len, definition.product.values()))
    count = max(1, len(found)) * combinations * len(definition.seeds)
    if count > MOST_RUNS:
        raise UserError(f"the suite {definition.name} has {count:,} combinations, which is more than {MOST_RUNS:,}")
    kept = variants(definition)
    checked = _Checked()
    exclude = [_exclusion(rule) for rule in definition.exclude]
    runs = []
    told = {variant.label: tuple(_arguments(variant)) for variant in kept}
    for scene, variant in itertools.product(found, kept):
        arguments = told[variant.label]
        for seed in definition.seeds:
            values = {**variant.settings, "scene": scene.label, "variant": variant.label, "seed": seed}
            if any(_matches(rule, values) for rule in exclude):
                continue
            checked(arguments, variant, scene)
            name = "-".join(re.sub(r"[^\w.]+", "-", part) for part in (scene.label, variant.label, f"seed{seed}"))
            if len(name.encode()) > LONGEST_FOLDER:
                raise UserError(f"the name of a run is longer than {LONGEST_FOLDER} bytes: {name[:60]}...")
            runs.append(PlannedRun(name, scene.label, scene.source, variant.label, seed, arguments))
            if not 0 <= seed < 2**31:
                raise UserError(f"seed {seed}: 0 to {2**31 - 1} is expected")
    if not runs:
        raise UserError(f"the suite {definition.name} has no runs: name scenes, and do not exclude all")
    check_names(runs)
    return tuple(runs)


def variants(definition: Definition) -> list[Variant]:
    """Every combination of variants and products. What goes with another method alone is left out of a variant, and
    combinations that are the same then are one."""
    keys = Keys()
    common = {keys.known(key): value for key, value in keys.flat(definition.settings).items()}
    axes = {keys.known(key): values for key, values in definition.product.items()}
    _repeated(definition, axes)
    kept: dict[str, Variant] = {}
    for (name, own), values in itertools.product(
        (definition.variants or {"": {}}).items(), itertools.product(*axes.values())
    ):
        settings = {**common, **{keys.known(key): value for key, value in keys.flat(own).items()}}
        chosen = dict(zip(axes, values))
        method = chosen.get("method", settings.get("method", registry.names()[0]))
        known([method], registry.names(), "--method")
        chosen = {key: value for key, value in chosen.items() if keys.goes_with(key, method)}
        settings |= chosen
        for key, value in settings.items():
            keys.check_choice(key, value)
        label = " ".join(filter(None, (name, *_label(chosen, axes)))) or method
        variant = Variant(label, {"method": method, **settings})
        if label in kept and kept[label] != variant:
            raise UserError(f"two variants of the suite would be called '{label}'")
        kept[label] = variant
    return list(kept.values())


def find_scenes(names: Sequence[str], data: Path | None, *, skip_missing: bool) -> tuple[list[Found], list[str]]:
    """Look scenes up: built-in ones, paths, and paths below ``data``.

    Returns:
        Those that are there, and the names of those that are not.

    Raises:
        UserError: one is not there and that is not to be passed over, or none is.
    """
    found, absent = [], []
    for name in names:
        try:
            source = _find(name, data)
        except UserError:
            if not skip_missing:
                raise
            absent.append(name)
            continue
        found.append(Found(folder_name(source), source))
    if names and not found:
        raise UserError(f"none of the suite's scenes is there ({', '.join(absent)}): say where with --data FOLDER")
    return found, absent


def _find(name: str, data: Path | None) -> str:
    if "://" in name:
        raise UserError(f"the scene '{name[:200]}' lies at an address: a folder is expected; mount or fetch it first")
    with contextlib.suppress(UserError):
        return scenes.find(name)
    if data is not None:
        with contextlib.suppress(UserError):
            return scenes.find(str(data / name))
        raise UserError(f"there is no scene '{name[:200]}', neither here nor in {data}{_near(name, data)}")
    try:
        return scenes.find(name)
    except UserError as error:
        raise UserError(f"{error} (or say with --data in which folder to look; --skip-missing leaves it out)") from None


def _near(name: str, data: Path) -> str:
    import difflib

    folder = (data / name).parent
    there = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    close = difflib.get_close_matches(Path(name).name, there, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""


def _repeated(definition: Definition, axes: dict[str, tuple[Any, ...]]) -> None:
    """UserError for a list that names something twice: its runs would share folders."""
    for name, values in (("scenes", definition.scenes), ("seeds", definition.seeds), *axes.items()):
        if not values and name != "scenes":
            raise UserError(f"the list of {name} is empty")
        texts = [text_of(value) for value in values]
        if len(set(texts)) < len(texts):
            twice = next(text for index, text in enumerate(texts) if text in texts[:index])
            raise UserError(f"two runs would share a folder: {twice[:100]} is listed twice among {name}")


def _label(chosen: dict[str, Any], axes: dict[str, tuple[Any, ...]]) -> Iterator[str]:
    """What tells a combination from the others: words as they are, numbers with the name of what they are."""
    for key, value in chosen.items():
        if len(axes[key]) > 1:
            text = text_of(value)
            yield text if isinstance(value, str) and not text[:1].isdigit() else f"{key.rpartition('.')[2]}{text}"


def _exclusion(rule: Any) -> dict[str, Any]:
    keys = Keys(more=("scene", "variant", "seed"))
    return {keys.known(key): value for key, value in keys.flat(rule).items()}


def _matches(rule: dict[str, Any], values: dict[str, Any]) -> bool:
    return bool(rule) and all(
        values.get(key) in (wanted if isinstance(wanted, list) else [wanted]) for key, wanted in rule.items()
    )


def _arguments(variant: Variant) -> Iterator[str]:
    """The options of ``train.py`` that say the variant."""
    keys, method = Keys(), variant.settings["method"]
    for key, value in variant.settings.items():
        if keys.goes_with(key, method):
            yield from keys.arguments(key, value)


class _Checked:
    """Refuses what ``train.py`` would refuse; reads each variant's options once, whatever the scene."""

    def __init__(self) -> None:
        self._read: dict[tuple[str, ...], train_options.TrainOptions] = {}
        self._known: set[tuple[tuple[str, ...], str]] = set()

    def __call__(self, arguments: tuple[str, ...], variant: Variant, scene: Found) -> None:
        """UserError for what ``train.py`` would refuse of ``arguments`` with ``scene``."""
        if (arguments, scene.source) in self._known:
            return
        self._known.add((arguments, scene.source))
        if arguments not in self._read:
            self._read[arguments] = _parsed(arguments, variant)
        options = dataclasses.replace(self._read[arguments], scene=scene.source)
        try:
            train_options.check(options)
            scenes.check_world(scene.source, options.world)
            new_recipe(options)
        except UserError as error:
            raise UserError(f"{scene.label}, {variant.label}: {error}") from None


def _parsed(arguments: tuple[str, ...], variant: Variant) -> train_options.TrainOptions:
    """The options of ``train.py``. UserError where it cannot read them."""
    try:
        with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(said):
            return train_options.parse(["scene", *arguments])
    except SystemExit:
        told = [line.strip("│ ").strip() for line in said.getvalue().splitlines() if line.strip("│╭╮╰╯─ ")]
        raise UserError(f"the variant '{variant.label}' is nothing to train.py: {' '.join(told)[:300]}") from None
