"""Entries of a configuration by their names, as ``train.py --set`` and suites of runs say them: ``upsilon=0.2``.

A part may stand before the name: ``strategy`` (as in ``config.json``), the method, or a group of the method's own, such
as ``ranks`` in ``ranks.upsilon``. Values are numbers, words, true or false, none, or lists with commas.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from taichi_rf.coding.checks import shown
from taichi_rf.core.errors import UserError
from taichi_rf.training.configs.base import Config, names_of
from taichi_rf.training.limits import check_entries

FIXED = ("method", "strategy", "preset")
"""Entries that say which configuration it is; they have options of their own."""

INTERNAL = ("begun",)
"""Entries that the program writes down of a training, and nobody says."""

_TRUTH = {"true": True, "yes": True, "false": False, "no": False}


def entry_names(config: Config) -> list[str]:
    """All entries that can be set, the method's own among them."""
    return sorted((names_of(Config) | names_of(type(config.strategy))) - {*FIXED, *INTERNAL})


def find_name(config: Config, name: str) -> str:
    """The entry that ``name`` means, which may have a part before it and a dash for an underscore.

    Raises:
        UserError: there is none; the message names the nearest.
    """
    part, _, last = name.strip().replace("-", "_").rpartition(".")
    known = entry_names(config)
    groups = type(config.strategy).GROUPS
    if last in known:
        own = last in names_of(type(config.strategy))
        if not part or (own and part in ("strategy", config.method)) or last in groups.get(part, ()):
            return last
    close = difflib.get_close_matches(last[:100], known, n=1, cutoff=0.55)
    if last in INTERNAL:
        raise UserError(f"'{name[:100]}' cannot be set: it is written down by a training that begins with a model")
    if last in FIXED:
        raise UserError(f"'{name[:100]}' cannot be set: it has an option of its own")
    if last in known:
        raise UserError(f"the configuration has no '{name[:100]}': '{last}' stands in it without '{part[:50]}'")
    hint = f"; did you mean '{close[0]}'?" if close else f": there are {', '.join(known)}"
    raise UserError(f"the configuration of {config.method} has no '{name[:100]}'{hint}")


def read_settings(config: Config, texts: Iterable[str]) -> dict[str, Any]:
    """What texts such as ``upsilon=0.2`` say of ``config``.

    Returns:
        Entries by name, for :meth:`Config.changed`.

    Raises:
        UserError: a text has no ``=``, an entry is unknown or named twice, or a value is of another type or outside its
            range.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set {text[:100]}: an entry and its value are expected, such as upsilon=0.2")
        key = find_name(config, name)
        if key in found:
            raise UserError(f"--set names '{key}' twice")
        found[key] = _read(value.strip(), _kind(config, key), key)
    check_settings(config, found)
    return found


def check_settings(config: Config, entries: dict[str, Any]) -> None:
    """UserError for a value of another type or outside its range, or that does not go with the others."""
    own = names_of(type(config.strategy))
    check_entries({key: value for key, value in entries.items() if key not in own}, Config)
    check_entries({key: value for key, value in entries.items() if key in own}, type(config.strategy))
    config.changed(**entries)


def _kind(config: Config, key: str) -> Any:
    return get_type_hints(type(config.strategy) if key in names_of(type(config.strategy)) else Config)[key]


def _read(text: str, kind: Any, key: str) -> Any:
    """The value that ``text`` is for an entry of type ``kind``."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        if text.lower() in ("none", "null"):
            return None
        return _read(text, next(part for part in get_args(kind) if part is not type(None)), key)
    if origin is Literal or kind is str:
        return text
    if origin is tuple:
        inner = text.strip("[]() ")
        return tuple(_read(part.strip(), get_args(kind)[0], key) for part in inner.split(",")) if inner else ()
    if kind is bool:
        if text.lower() not in _TRUTH:
            raise UserError(f"--set {key}={text[:50]}: true or false is expected")
        return _TRUTH[text.lower()]
    try:
        return int(text) if kind is int else float(text)
    except ValueError:
        expected = "a whole number" if kind is int else "a number"
        raise UserError(f"--set {key}: {expected} is expected, not {shown(text)}") from None
