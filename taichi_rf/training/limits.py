"""What a configuration that comes from a file may say: every entry's type and range.

Ranges are far wider than what is of use. They keep out what would end in a traceback, in an endless training, or in
more memory than any machine has.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from taichi_rf.coding.checks import number, shown, whole
from taichi_rf.core.errors import UserError

FRACTION = (0.0, 100.0)  # of the training; above 1 is never
WEIGHT = (0.0, 1e9)

Range = tuple[float, float]
"""Least and most."""

NONE = (0.0, -1.0)
"""Of a number for which no limits were written: nothing is within them."""

MOST_ENTRIES = 64
"""Of a list."""


def check_entries(values: Mapping[str, Any], kind: type) -> None:
    """Check entries of a configuration.

    Args:
        values: by name; all are fields of ``kind``.
        kind: a dataclass whose annotations say what type each entry is, and whose ``LIMITS`` say in what range.

    Raises:
        UserError: an entry is of another type or outside its range; it is named.
    """
    annotations = get_type_hints(kind)
    for key, value in values.items():
        _check(value, annotations[key], key, kind.LIMITS.get(key, NONE))  # type: ignore[attr-defined]


def _check(value: Any, kind: Any, key: str, limits: Range) -> None:
    where, origin = f"the configuration's '{key}'", get_origin(kind)
    if origin in (Union, types.UnionType):  # X | None
        if value is not None:
            _check(value, next(part for part in get_args(kind) if part is not type(None)), key, limits)
    elif origin is Literal:
        if not isinstance(value, str) or value not in get_args(kind):
            raise UserError(f"{where} should be one of {', '.join(get_args(kind))}, not {shown(value)}")
    elif origin is tuple:
        parts = get_args(kind)
        count = None if parts[-1] is Ellipsis else len(parts)
        if not isinstance(value, tuple | list) or len(value) > MOST_ENTRIES or count not in (None, len(value)):
            raise UserError(f"{where} should be a list{'' if count is None else f' of {count}'}, not {shown(value)}")
        for item in value:
            _check(item, parts[0], key, limits)
    elif kind is bool:
        if not isinstance(value, bool):
            raise UserError(f"{where} should be true or false, not {shown(value)}")
    elif kind is str:
        if not isinstance(value, str):
            raise UserError(f"{where} should be text, not {shown(value)}")
    elif kind is int:
        whole(value, int(limits[0]), int(limits[1]), where)
    else:
        number(value, *limits, where)
