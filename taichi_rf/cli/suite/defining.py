"""From the command line to a suite's definition: the file's, with what the command line says otherwise."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from taichi_rf.cli.options import Suite as Options
from taichi_rf.cli.suite.keys import Keys
from taichi_rf.core.errors import UserError
from taichi_rf.suite.definition import Definition, known, read_definition

HERE = Path(__file__).resolve().parents[3] / "suites"
"""Suites that come with the repository."""
SMALLER = ("downscale", "max_seconds", "iterations", "eval_views")
"""Options that make a suite less than what it is written to be."""
_TIMES = ("max_seconds", "iterations")  # one of them says how long a run trains


def define(options: Options) -> Definition:
    """The suite of the file, or of the command line alone, with what the command line says otherwise: that holds for
    every run, whatever the suite or a variant of it says.

    Raises:
        UserError: there is no such file, or the command line says what the suite compares.
    """
    definition = Definition("suite", ()) if options.suite is None else read_definition(_file(options.suite))
    sizes, said = _smaller(options), _said(options.set_)
    lists = {key: values for key, plural in _PLURAL.items() if (values := getattr(options, plural))}
    replaced = {*sizes, *(_TIMES if sizes.keys() & set(_TIMES) else ())}
    of_variants = {_entry(key) for own in definition.variants.values() for key in Keys().flat(own)}
    swept = set(map(_entry, definition.product))
    for flag, key, compared in (
        *((f"--set {key}", _entry(key), of_variants | swept) for key in said),
        *((f"--{_PLURAL[key]}", key, of_variants) for key in lists.keys() - {"preset"}),
        *((f"--{_dashed(key)}", key, swept) for key in replaced),
    ):
        if key in compared:
            raise UserError(f"{flag} does not go with a suite that compares values of it")
    changed = replace(
        definition,
        scenes=options.scenes or definition.scenes,
        seeds=options.seeds or definition.seeds,
        settings={**_without(definition.settings, {*replaced, *map(_entry, said)}, {**said, **sizes}), **said, **sizes},
        variants={name: _without(own, replaced) for name, own in definition.variants.items()},
        product={**definition.product, **lists},
    )
    if not changed.scenes:
        raise UserError("name a suite's file, or --scenes: python -m taichi_rf suite --scenes lantern --seeds 0 1")
    return changed


_PLURAL = {"method": "methods", "preset": "presets", "ranks": "ranks"}
"""Options of the suite that name several values of a setting."""


def reduced(options: Options) -> Iterator[str]:
    """What the command line made smaller than the suite says, as options of it."""
    for key, value in _smaller(options).items():
        yield f"--{_dashed(key)} {value:g}"
    if options.suite is not None:
        yield from (f"--presets {preset}" for preset in options.presets)
        yield from (f"--set {text}" for text in options.set_)


def _entry(key: str) -> str:
    """A setting by its own name, whatever part stands before it: ``upsilon`` of ``ranks.upsilon``."""
    return key.rpartition(".")[2]


def _without(settings: Mapping[str, Any], replaced: set[str], by: Container[str] = ()) -> dict[str, Any]:
    """``settings`` without those that are replaced; what replaces them by the same name, ``by``, keeps its place, so
    that the command of a run stays the same."""
    return {key: value for key, value in Keys().flat(settings).items() if key in by or _entry(key) not in replaced}


def _smaller(options: Options) -> dict[str, Any]:
    values = {key: value for key in SMALLER if (value := getattr(options, key)) is not None}
    if options.minutes is not None:
        values["max_seconds"] = 60.0 * options.minutes
    return values


def _said(texts: tuple[str, ...]) -> dict[str, Any]:
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set {text[:100]}: a name and a value are expected, such as max_seconds=60")
        found[key.strip().replace("-", "_")] = {"true": True, "false": False}.get(value.strip().lower(), value.strip())
    return found


def _file(name: str) -> Path:
    """A suite's file: as it was named, or one of those that come with the repository."""
    path = Path(name)
    if path.exists() or path.suffix == ".toml":
        return path
    there = sorted(path.stem for path in HERE.glob("*.toml"))
    known([name], there, f"there is no file {name}, and the folder of suites")
    return HERE / f"{name}.toml"


def _dashed(key: str) -> str:
    return key.replace("_", "-")
