"""Bandwidths as people write them."""

from __future__ import annotations

import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.streaming.rate import bandwidth


@pytest.mark.parametrize(
    ("text", "amount"),
    [("1M", 125_000), ("1Mbit/s", 125_000), ("500k", 62_500), ("125kB", 125_000), ("0.5MB/s", 500_000), ("8000", 1000)],
)
def test_bandwidths_are_bits_unless_they_say_bytes(text: str, amount: float) -> None:
    assert bandwidth(text) == amount


@pytest.mark.parametrize("text", ["", "fast", "-1M", "0", "1", "1T", "nan", "1e9M", "1 M B", "99999999G"])
def test_what_is_no_bandwidth_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="bits a second"):
        bandwidth(text)
