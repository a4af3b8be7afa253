"""What a suite is: scenes, variants and seeds whose product is run, and the published figures that stand beside.

It is read from a TOML file::

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
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taichi_rf.coding.headers import is_number
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import open_regular

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST_BYTES = 1 << 20
MOST_RUNS = 10_000
MOST = 1e15
"""Of any figure."""
AVERAGE = "average"
"""What stands in place of a scene for the mean over all."""

Values = Mapping[str, Any]

_KEYS = (
    "name", "about", "scenes", "seeds", "levels", "timed", "settings", "variants", "product", "exclude", "published"
)  # fmt: skip
_FIGURES = ("psnr", "ssim", "bytes", "chamfer")
_PUBLISHED = ("name", "variant", "scene", "levels", "source", *_FIGURES)


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
    try:
        values = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from None
    try:
        return _definition(values, path.stem)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _definition(values: Values, name: str) -> Definition:
    known(values, _KEYS, "a suite")
    return Definition(
        name=_text(values.get("name", name), "name"),
        scenes=_list(values.get("scenes", []), "scenes", str),
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
        exclude=tuple(_table(v, "exclude") for v in _list(values.get("exclude", []), "exclude", dict)),
        published=tuple(
            row for v in _list(values.get("published", []), "published", dict) for row in _published(v)
        ),
    )  # fmt: skip


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
    columns = {key: values.get(key) for key in _FIGURES}
    variant = values.get("variant")
    alone = _text(values.get("scene", AVERAGE), "published.scene")
    by_scene = [column for column in columns.values() if isinstance(column, dict)]
    if by_scene and "scene" in values:
        raise UserError(f"{name}: figures by scene do not go with 'scene'")
    rows = []
    for scene in dict.fromkeys(scene for column in by_scene for scene in column) if by_scene else [alone]:
        # A figure that stands alone beside others by scene is every scene's.
        own = {key: column.get(scene) if isinstance(column, dict) else column for key, column in columns.items()}
        for index, level in enumerate(levels or (None,)):
            entries = {key: _figure(column, index, len(levels), f"{name}: {key}") for key, column in own.items()}
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


def _figure(column: Any, index: int, count: int, where: str) -> float | None:
    if isinstance(column, list):
        if len(column) != count:
            raise UserError(f"{where} has {len(column)} figures for {count} levels")
        column = column[index]
    if column is None:
        return None
    if not is_number(column, -MOST, MOST):
        raise UserError(f"{where}: numbers are expected, none beyond {MOST:g}")
    return float(column)


def _list(value: Any, where: str, kind: type) -> tuple[Any, ...]:
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
    return {key: _table(inner, f"{where}.{key}") for key, inner in _table(value, where).items()}


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise UserError(f"'{where}' should be text")
    return value


def _truth(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise UserError(f"'{where}' should be true or false")
    return value
