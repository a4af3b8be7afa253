"""What a suite is: scenes, variants and seeds whose product is run, and the published figures that stand beside.

It is read from a TOML file, which may come from anybody: it names nothing outside of this machine, its sizes are
bounded, and what it says is read before anything is looked for::

    about = "Prefixes, TRaIn and plain at every rank"
    scenes = ["lantern", "path/to/lego"]
    seeds = [0, 1]
    levels = [1, 2, 4, 8, 16]       # of tables; all by default
    timed = true                    # one run at a time

    [settings]                      # of every run: options of train.py, or entries of the configuration
    preset = "quick"
    [variants.kmeans]               # named settings, one set a variant
    codes = "kmeans"
    [product]                       # lists, of which every combination is a variant
    bits = [4, 6]
    [[exclude]]                     # runs that have all of this are left out
    scene = "lantern"
    bits = 6
    [[published]]                   # a figure to stand beside those of a variant, or on its own
    name = "VQAD, 6 bits"
    variant = "kmeans bits6"
    psnr = 30.76
    bytes = 490_000
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taichi_rf.coding.headers import is_number
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import depth, open_regular

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST_BYTES = 1 << 18
MOST_RUNS = 10_000
MOST_RULES, MOST_FIGURES = 256, 4096
"""Of what is left out, and of published figures."""
MOST_LEVEL = 1024
MOST = 1e15
"""Of any figure."""
LONGEST_NAME = 100
_DOTS, _DEPTH = 1000, 16
"""On a line of a file, and levels of tables in it: the parser takes the square of a name's dots in time."""
AVERAGE = "average"
"""What stands in place of a scene for the mean over all."""

Values = Mapping[str, Any]

_KEYS = (
    "name", "about", "scenes", "seeds", "levels", "timed", "settings", "variants", "product", "exclude", "published"
)  # fmt: skip
LIMITS = {"psnr": (-1e3, 1e3), "ssim": (-1.0, 1.0), "bytes": (0.0, MOST), "chamfer": (0.0, MOST)}
"""Least and most of each figure."""
_PUBLISHED = ("name", "variant", "scene", "levels", "source", *LIMITS)


@dataclass(frozen=True)
class Published:
    """One figure of a paper."""

    name: str
    scene: str = AVERAGE
    variant: str | None = None
    """Of ours, beside which it stands; None where it stands on its own."""
    level: int | None = None
    """None for all levels."""
    psnr: float | None = None
    ssim: float | None = None
    bytes: float | None = None
    source: str = ""
    chamfer: float | None = None
    """Of a solid, in lengths of the unit box."""


@dataclass(frozen=True)
class Definition:
    """A suite as somebody wrote it down; nothing in it has been looked for yet."""

    name: str
    scenes: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    about: str = ""
    levels: tuple[int, ...] = ()
    """That tables show; all where there are none."""
    timed: bool = False
    """Whether times are measured or trainings end by the clock, so that runs must not disturb each other."""
    settings: Values = field(default_factory=dict)
    variants: Mapping[str, Values] = field(default_factory=dict)
    product: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    exclude: tuple[Values, ...] = ()
    published: tuple[Published, ...] = ()


def read_definition(path: Path) -> Definition:
    """What the TOML file says.

    Raises:
        UserError: it cannot be read, or says something that no suite has; the message names the key and the nearest.
    """
    with open_regular(path) as (file, size):
        if size > MOST_BYTES:
            raise UserError(f"{path} is {size} bytes long, which is more than a suite can be ({MOST_BYTES} bytes)")
        data = file.read(MOST_BYTES)
    if any(line.count(b".") > _DOTS for line in data.splitlines()):
        raise UserError(f"{path} is no suite: it has a line with more than {_DOTS} dots")
    try:
        values = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from None
    if depth(values) > _DEPTH:
        raise UserError(f"{path} is no suite: it is nested deeper than {_DEPTH} levels")
    try:
        return _definition(values, path.stem)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _definition(values: Values, name: str) -> Definition:
    known(values, _KEYS, "a suite")
    check_name(_text(values.get("name", name), "name"))
    found = Definition(
        name=values.get("name", name),
        scenes=tuple(map(_local, _list(values.get("scenes", []), "scenes", str))),
        seeds=_list(values.get("seeds", [0]), "seeds", int),
        about=_text(values.get("about", ""), "about"),
        levels=_list(values.get("levels", []), "levels", int),
        timed=_truth(values.get("timed", False), "timed"),
        settings=_table(values.get("settings", {}), "settings"),
        variants=_tables(values.get("variants", {}), "variants"),
        product={
            key.replace("-", "_"): _list(v, f"product.{key}", object)
            for key, v in flat(_table(values.get("product", {}), "product")).items()
        },
        exclude=_list(values.get("exclude", []), "exclude", dict, MOST_RULES),
        published=tuple(
            row for v in _list(values.get("published", []), "published", dict) for row in _published(v)
        ),
    )  # fmt: skip
    for values in (found.settings, *found.variants.values(), found.product):
        if "follow_links" in {key.replace("-", "_") for key in flat(values)}:
            raise UserError(
                "'follow_links' is for the command line alone (--set follow_links=true): a file that came from "
                "somebody else could have any of this machine's images read"
            )
    if len(found.published) > MOST_FIGURES:
        raise UserError(f"there are {len(found.published):,} published figures, which is more than {MOST_FIGURES:,}")
    if not all(1 <= level <= MOST_LEVEL for level in found.levels):
        raise UserError(f"'levels' should be whole numbers from 1 to {MOST_LEVEL}")
    return found


def check_name(name: str) -> None:
    """UserError where ``name`` is not simply the name of a folder: a suite lies in ``runs/NAME``."""
    if not re.fullmatch(rf"\w[\w .,+()-]{{0,{LONGEST_NAME - 1}}}", name) or name.endswith((" ", ".")):
        raise UserError(
            f"'{name[:LONGEST_NAME]}' is no name for a suite: up to {LONGEST_NAME} letters, digits, spaces and .,+()-_ "
            'are expected, a letter or a digit first (a file can say it: name = "mine")'
        )


def _local(scene: str) -> str:
    """A scene that a file names. UserError where it lies on another machine, which the file's author would choose."""
    if "://" in scene or scene.replace("\\", "/").startswith("//"):
        raise UserError(f"the scene '{scene[:LONGEST_NAME]}' lies on another machine: name it with --scenes or --data")
    return scene


def known(values: Iterable[str], names: Iterable[str], of: str) -> None:
    """UserError where ``values`` has a key that is none of ``names``; it names the nearest."""
    names = list(names)
    for key in values:
        if key not in names:
            close = difflib.get_close_matches(str(key)[:100], names, n=1, cutoff=0.5)
            hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(names)}"
            raise UserError(f"{of} has no '{str(key)[:100]}': {hint}")


def flat(values: Values, before: str = "") -> dict[str, Any]:
    """Tables within tables as dotted keys: ``{"ranks": {"upsilon": 0.2}}`` is ``{"ranks.upsilon": 0.2}``."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return found


def _published(values: Values) -> list[Published]:
    """The figures of one table: by scene where one of them names scenes, by level where it is a list beside
    ``levels``."""
    known(values, _PUBLISHED, "a published figure")
    name = _text(values.get("name", ""), "published.name")
    if not name:
        raise UserError("a published figure has no 'name'")
    levels = _list(values.get("levels", []), "published.levels", int)
    if len(levels) > MOST_LEVEL or not all(1 <= level <= MOST_LEVEL for level in levels):
        raise UserError(f"{name}: 'levels' should be whole numbers from 1 to {MOST_LEVEL}")
    columns = {key: values.get(key) for key in LIMITS}
    variant = values.get("variant")
    alone = _text(values.get("scene", AVERAGE), "published.scene")
    by_scene = [column for column in columns.values() if isinstance(column, dict)]
    if by_scene and "scene" in values:
        raise UserError(f"{name}: figures by scene do not go with 'scene'")
    rows = []
    if len(levels) * sum(map(len, by_scene)) > MOST_FIGURES:
        raise UserError(f"{name} has more than {MOST_FIGURES:,} published figures")
    for scene in dict.fromkeys(scene for column in by_scene for scene in column) if by_scene else [alone]:
        # A figure that stands alone beside others by scene is every scene's.
        own = {key: column.get(scene) if isinstance(column, dict) else column for key, column in columns.items()}
        for index, level in enumerate(levels or (None,)):
            entries = {key: _figure(column, index, len(levels), name, key) for key, column in own.items()}
            rows.append(
                Published(
                    name,
                    scene,
                    None if variant is None else _text(variant, "published.variant"),
                    level,
                    source=_text(values.get("source", ""), "published.source"),
                    **entries,
                )
            )
    return rows


def _figure(column: Any, index: int, count: int, name: str, key: str) -> float | None:
    where, (low, high) = f"{name}: {key}", LIMITS[key]
    if isinstance(column, list):
        if len(column) != count:
            raise UserError(f"{where} has {len(column)} figures for {count} levels")
        column = column[index]
    if column is None:
        return None
    if not is_number(column, low, high):
        raise UserError(f"{where}: numbers are expected, from {low:g} to {high:g}")
    return float(column)


def _list(value: Any, where: str, kind: type, most: int = MOST_RUNS) -> tuple[Any, ...]:
    if isinstance(value, list) and len(value) > most:
        raise UserError(f"'{where}' has {len(value):,} entries, which is more than {most:,}")
    right = isinstance(value, list) and all(
        isinstance(item, kind) and not (kind is int and isinstance(item, bool)) for item in value
    )
    if not right:
        kinds = {str: "texts", int: "whole numbers", dict: "tables"}
        raise UserError(f"'{where}' should be a list of {kinds.get(kind, 'values')}")
    return tuple(value)


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"'{where}' should be a table")
    return value


def _tables(value: Any, where: str) -> dict[str, dict[str, Any]]:
    if len(_table(value, where)) > MOST_RUNS:
        raise UserError(f"'{where}' has {len(value):,} entries, which is more than {MOST_RUNS:,}")
    return {key: _table(inner, f"{where}.{key}") for key, inner in value.items()}


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise UserError(f"'{where}' should be text")
    return value


def _truth(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise UserError(f"'{where}' should be true or false")
    return value
