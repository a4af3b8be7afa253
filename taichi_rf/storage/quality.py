"""How good the pictures of a level are, in decibels, and whether somebody has measured that on these very bytes.

A training measures its levels as they are stored (``level_psnr`` of the metadata). What codes them anew changes the
bytes and not that list; it writes beside it what each level has lost since by estimate (``coding_loss``), so a list of
losses says that the numbers are no longer measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from taichi_rf.coding.headers import is_number
from taichi_rf.fields.base import COMPACT
from taichi_rf.storage.levels import stated

MOST = 100.0
"""dB: more is a broken file's, as is a loss of more."""


@dataclass(frozen=True)
class Decibels:
    """The PSNR of one level on held-out views: ``value`` in dB, and whether it was ``measured`` or is an estimate."""

    value: float
    measured: bool = True

    def text(self, digits: int = 2) -> str:
        """Such as "29.46", or "≈ 28.8" for an estimate, of which one digit is all that counts; the unit is dB."""
        return f"{self.value:.{digits}f}" if self.measured else f"≈ {self.value:.1f}"


def decibels(metadata: Mapping[str, Any], level: int) -> Decibels | None:
    """What a model's metadata, as :func:`metadata_of` gives them, say of a level; None where that is not known."""
    found = stated(metadata, "level_psnr", level)
    if found is None or abs(found) > MOST:
        return None
    if "coding_loss" not in metadata:
        return Decibels(found)
    lost = stated(metadata, "coding_loss", level)
    return Decibels(found - (lost if is_number(lost, 0, MOST) and lost is not None else 0.0), measured=False)


def metadata_of(header: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata in a file's header. Where its levels were coded anew and nobody wrote what that has cost, the list
    of losses is there and empty: what was measured are other bytes."""
    metadata, field = header.get("metadata"), header.get("field")
    found = dict(metadata) if isinstance(metadata, dict) else {}
    codings = header.get("decoder_coding"), field.get("coding") if isinstance(field, dict) else None
    return {"coding_loss": [], **found} if COMPACT in codings else found
