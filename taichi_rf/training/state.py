"""The state of a training, owner by owner: what each part saves, checks and takes back.

Checkpoints are passed on like models, and what is in one may be anything. Every owner looks at each number of its own
before it takes anything over; arrays are looked at by :mod:`taichi_rf.training.restoring` as they are taken.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from taichi_rf.coding import checks
from taichi_rf.core.errors import UserError

Arrays = dict[str, np.ndarray]

MOST = 1 << 40
"""Of anything that is counted: more than there ever is, and far from where int64 ends."""
MAX_LOSS = 1e30
MAX_SECONDS = 1e12


class Owner:
    """A part of a training that has state which a checkpoint keeps.

    The entries of all owners lie side by side in the checkpoint, so that each has names of its own.
    """

    def arrays(self) -> Arrays:
        """Copies of the arrays that decide what comes next, by name."""
        return {}

    def state(self) -> dict[str, Any]:
        """What else decides what comes next, as JSON."""
        return {}

    def most_bytes(self) -> int:
        """Bytes that :meth:`arrays` can come to, at most."""
        return 0

    def check(self, its: Entries) -> None:
        """UserError where ``its`` entries are not what :meth:`state` can have returned."""

    def restore(self, arrays: Arrays, state: dict[str, Any]) -> None:
        """Take back what :meth:`arrays` and :meth:`state` returned. The entries have passed :meth:`check`; the arrays
        are checked here.

        Raises:
            UserError: an array is missing or wrong; the training is of no use then.
        """


class Entries:
    """The entries of a JSON object; UserError where it is none."""

    def __init__(self, table: Any, name: str) -> None:
        self.table, self.name = table, name

    def get(self, key: str) -> Any:
        """The entry ``key`` as it is."""
        return checks.entry(self.table, key, self.name)

    def whole(self, key: str, high: int = MOST, low: int = 0) -> int:
        """The entry ``key``, a whole number within its range."""
        return checks.whole(self.get(key), low, high, f"'{key}' of {self.name}")

    def number(self, key: str, high: float, low: float = 0.0) -> float:
        """The entry ``key``, a finite number within its range."""
        return checks.number(self.get(key), low, high, f"'{key}' of {self.name}")

    def truth(self, key: str) -> bool:
        """The entry ``key``, true or false."""
        return checks.truth(self.get(key), f"'{key}' of {self.name}")

    def table_of(self, key: str) -> Entries:
        """Of the object under ``key``."""
        return Entries(self.get(key), f"'{key}'")

    def tables(self, key: str) -> list[Entries]:
        """Of a list of objects."""
        value = self.get(key)
        if not isinstance(value, list):
            raise UserError(f"'{key}' of {self.name} should be a list, not {checks.shown(value)}")
        return [Entries(item, f"'{key}'") for item in value]
