"""Values of untrusted JSON: numbers that are checked, quotations that are bounded, and warnings that are said once."""

from __future__ import annotations

import math
from typing import Any

from taichi_rf.core.errors import UserError

MAX_QUOTED = 60
"""Characters of a value that a message repeats."""
MAX_PATH = 200
"""Characters of a path or of another program's complaint that a message repeats."""


def kind(value: Any) -> str:
    """What a JSON value is, in a few words."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return bounded(repr(value), MAX_QUOTED)


def bounded(text: object, most: int = MAX_PATH) -> str:
    """``text`` with at most ``most`` characters, each of which every encoding of Unicode can hold."""
    whole = str(text)
    cut = whole if len(whole) <= most else whole[:most] + "..."
    return cut.encode("utf-8", "backslashreplace").decode()


def number(
    keys: dict[str, Any], key: str, where: str, *, low: float | None = None, default: float | None = None
) -> float:
    """``keys[key]`` as a finite number above ``low``.

    Raises:
        UserError: it is something else; ``where`` (file and frame) opens the message.
    """
    value = keys.get(key, default)
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError
        found = float(value)
    except (ValueError, OverflowError) as error:
        raise UserError(f"{where}, key '{key}': a finite number is expected, not {kind(value)}") from error
    if low is not None and found <= low:
        raise UserError(f"{where}, key '{key}': {found:g}; a number above {low:g} is expected")
    return found


class Notes:
    """Warnings, of each kind the first and how many more there were."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._count: dict[str, int] = {}

    def add(self, about: str, text: str) -> None:
        """Note ``text``, unless something of the kind ``about`` has been noted before."""
        self._first.setdefault(about, text)
        self._count[about] = self._count.get(about, 0) + 1

    def texts(self) -> tuple[str, ...]:
        """All of them, in the order in which they came."""
        return tuple(
            text if (more := self._count[about] - 1) == 0 else f"{text} ({more} more alike)"
            for about, text in self._first.items()
        )
