"""The names that a suite's settings may have: options of ``train.py``, and entries of a method's configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from taichi_rf.cli.train.options import Options
from taichi_rf.core.errors import UserError
from taichi_rf.storage.world import World
from taichi_rf.suite.definition import MOST, flat, known
from taichi_rf.training.configs.base import names_of
from taichi_rf.training.configs.named import INTERNAL, entry_names
from taichi_rf.training.methods.registry import METHODS

NOT_SETTINGS = ("scene", "out", "seed", "resume", "more", "begin_with", "overwrite", "view", "set_", "world", "threads")
"""Options of ``train.py`` that the suite says itself."""


LONGEST = 1000
"""Characters of a word."""
_HINTS = {**get_type_hints(World), **get_type_hints(Options)}


class Keys:
    """Tells options from entries of the configuration.

    Args:
        more: names that are known besides.
    """

    def __init__(self, more: Sequence[str] = ()) -> None:
        self.options = ({field.name for field in fields(Options)} | names_of(World)) - set(NOT_SETTINGS)
        self._more = tuple(more)
        self._owners: dict[str, set[str]] = {}
        """Methods by the entries that are theirs, with and without a part before them."""
        for method in METHODS:
            kind = type(_config(method).strategy)
            own = names_of(kind) - set(INTERNAL)
            for part, names in {"": own, "strategy.": own, f"{method.name}.": own}.items():
                self._own(method.name, part, names)
            for group, members in kind.GROUPS.items():
                self._own(method.name, f"{group}.", members)
        self._common = {name for method in METHODS for name in entry_names(_config(method))}
        self._common -= {*self._owners, *NOT_SETTINGS}

    def _own(self, method: str, part: str, names: Iterable[str]) -> None:
        for name in names:
            self._owners.setdefault(f"{part}{name}", set()).add(method)

    def flat(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Tables within tables as dotted keys, dashes as underscores."""
        return {key.replace("-", "_"): value for key, value in flat(values).items()}

    def known(self, key: str) -> str:
        """``key``. UserError where there is no such option and no such entry; it names the nearest."""
        if key not in self._owners:
            plain = {name for name in self._owners if "." not in name}
            known([key], sorted({*self.options, *plain, *self._common, *self._more}), "train.py")
        return key

    def check_choice(self, key: str, value: Any) -> None:
        """UserError where an option is one of a few words and ``value`` is none of them; it names the nearest."""
        kind = _HINTS.get(key)
        parts = [kind] if get_origin(kind) is Literal else [part for part in get_args(kind) if part is not type(None)]
        if parts and all(get_origin(part) is Literal for part in parts):
            known([str(value)], [word for part in parts for word in get_args(part)], f"--{key.replace('_', '-')}")

    def goes_with(self, key: str, method: str) -> bool:
        """Whether a setting is the method's own, or every method's."""
        owners = [m.name for m in METHODS if key in names_of(m.options)]
        if key in self.options:
            return not owners or method in owners
        return key in self._common or method in self._owners.get(key, ())

    def arguments(self, key: str, value: Any) -> Iterator[str]:
        """How ``train.py`` is told."""
        if key not in self.options:
            yield f"--set={key}={text_of(value)}"
        elif value is True:
            yield f"--{key.replace('_', '-')}"
        elif isinstance(value, list):
            yield f"--{key.replace('_', '-')}"
            yield from (_no_option(text_of(part), key) for part in value)
        elif value is not False:
            yield f"--{key.replace('_', '-')}={text_of(value)}"


def text_of(value: Any) -> str:
    """A value of TOML as a command line says it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(text_of, value))
    if isinstance(value, int | float):
        if not abs(value) <= MOST:
            raise UserError(f"a setting is no number beyond {MOST:g}: {str(value)[:50]}")
        return f"{value:.15g}" if isinstance(value, float) else str(value)
    if isinstance(value, str):
        if not value.isprintable() or len(value) > LONGEST:
            raise UserError(f"a setting is a word of up to {LONGEST} characters, all of them printable: {value[:50]!r}")
        return value
    raise UserError(f"a setting is a number, a word, true or false, or a list of these, not {str(value)[:50]}")


def _no_option(text: str, key: str) -> str:
    """``text``, which is to stand by itself on a command line. UserError where it would be read as an option there."""
    if text.startswith("-") and not re.fullmatch(r"-(\d+\.?\d*|\.\d+)", text):
        raise UserError(f"'{key}': {text[:50]} would be read as an option; a number without an exponent would not")
    return text


def _config(method: Any) -> Any:
    return next(iter(method.presets.values()))
