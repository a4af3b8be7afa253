"""Reads command lines with tyro: ``--version``, and help that names no default that is none and none twice."""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import tyro

from taichi_rf.core.version import VERSION

_NO_DEFAULTS = ("None", "False")  # the help text says what happens then; of a switch it need not be said
_LAST_LINE = "--version says which version this is."


def parse(options: Any, program: str, arguments: list[str] | None = None, *, description: str | None = None) -> Any:
    """What the command line says, an instance of ``options`` (a dataclass, or a union of them, one a command).

    Args:
        options: each field's comment is its help. A default that is a value is added to it.
        program: what the help calls the program.
        arguments: by default those of this process.
        description: what the program is for; by default the class's docstring.

    Raises:
        SystemExit: the command line cannot be read, or help or the version was asked for.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if "--version" in arguments:
        sys.stdout.write(f"Taichi RF {VERSION}\n")
        raise SystemExit(0)
    for option_class in _classes(options):
        _name_real_defaults(option_class)
    return tyro.cli(
        options,
        prog=program,
        description=f"{description or options.__doc__} {_LAST_LINE}",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def _classes(options: Any) -> Iterator[type]:
    """The dataclasses that ``options`` is made of, bases and those of fields among them."""
    if not dataclasses.is_dataclass(options):
        for part in get_args(options):
            yield from _classes(part)
        return
    assert isinstance(options, type)
    yield from (base for base in options.__mro__ if dataclasses.is_dataclass(base))
    for hint in get_type_hints(options).values():
        yield from _classes(hint)


def _name_real_defaults(option_class: type) -> None:
    """Have tyro say "Default: 3." for a default of 3, and nothing for one of None.

    It asks the annotation of every field, which is why annotations are changed here.
    """
    if "_tells_defaults" in vars(option_class):
        return
    hints = get_type_hints(option_class, include_extras=True)
    option_class.__annotations__ = {
        name: Annotated[hints[name], tyro.conf.arg(help_behavior_hint=_hint)]
        for name in option_class.__annotations__
        if get_origin(hints[name]) is not typing.ClassVar
    }
    option_class._tells_defaults = True  # type: ignore[attr-defined]


def _hint(default: str) -> str:
    return "" if default in _NO_DEFAULTS else f"Default: {default}."
