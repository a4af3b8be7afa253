"""Check single entries of a file's JSON header; a message names the entry's key."""

from typing import Any

from taichi_rf.core.errors import UserError


def wrong(key: str, expected: str) -> UserError:
    """What to raise for an entry that is not what it should be; ``expected`` continues "should be"."""
    return UserError(f"the header's '{key}' should be {expected}")


def is_number(value: Any, low: float, high: float) -> bool:
    """Whether ``value`` is a number, and not a truth value, from ``low`` to ``high``; NaN is not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def is_whole(value: Any, low: int, high: int) -> bool:
    """Whether ``value`` is an int, and not a truth value, from ``low`` to ``high``."""
    return type(value) is int and low <= value <= high


def are_whole(values: Any, count: int, low: int, high: int) -> bool:
    """Whether ``values`` is a list of ``count`` ints from ``low`` to ``high``."""
    return isinstance(values, list) and len(values) == count and all(is_whole(value, low, high) for value in values)


def are_numbers(values: Any, count: int, low: float, high: float) -> bool:
    """Whether ``values`` is a list of ``count`` numbers from ``low`` to ``high``."""
    return isinstance(values, list) and len(values) == count and all(is_number(value, low, high) for value in values)
