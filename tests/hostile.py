"""Headers that lie, for the tests of every kind of field: each entry in turn is taken out, or made into junk."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

JUNK: tuple[Any, ...] = (None, True, "1", "", [], {}, [[]], -(1 << 70), 1 << 70, -1e300, 1e300, 0.5, ["a", "b", "c"])
"""What JSON can hold and no entry of ours can be, but for the few that :func:`lies` is told of."""


def lies(header: dict[str, Any], harmless: dict[str, tuple[Any, ...]]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """(key, what it became, the header with it) for every entry of ``header`` and of its "field".

    An entry that is gone became "nothing". ``harmless`` lists junk that an entry may well be, by key.
    """
    for part in ("", "field"):
        for key in header[part] if part else header:
            allowed = harmless.get(key, ())
            for junk in JUNK:
                if not any(junk is fine or (type(junk) is type(fine) and junk == fine) for fine in allowed):
                    spoilt = copy.deepcopy(header)
                    (spoilt[part] if part else spoilt)[key] = junk
                    yield key, junk, spoilt
            without = copy.deepcopy(header)
            del (without[part] if part else without)[key]
            yield key, "nothing", without
