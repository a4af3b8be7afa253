"""Sizes of files as text, in multiples of 1000 bytes."""

import re

from taichi_rf.core.errors import UserError


def megabytes(size: float) -> str:
    """Return a size in bytes as text, in MB of 10^6 bytes or, below 0.1 MB, in kB."""
    if size < 1e5:
        return f"{size / 1e3:.1f} kB"
    return f"{size / 1e6:.2f} MB" if size < 1e6 else f"{size / 1e6:.1f} MB"


def amount_and_unit(size: float) -> tuple[str, str]:
    """A size in bytes in three figures, and its unit, such as ("3.25", "MB"): for what is shown while it changes, so
    that its width does not; :func:`megabytes` is for running text."""
    if size < 1e5:
        return f"{size / 1e3:.1f}", "kB"
    return f"{size / 1e6:.2f}" if size < 1e7 else f"{size / 1e6:.1f}" if size < 1e8 else f"{size / 1e6:.0f}", "MB"


def bytes_of(text: str, option: str) -> int:
    """Bytes of a size such as "1MB", "1.5 M", "300kB" or "250000": multiples of 1000, as :func:`megabytes` prints them.

    Raises:
        UserError: it is no size; ``option`` says where it was given.
    """
    found = re.fullmatch(r"\s*([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([kKmMgG]?)[bB]?\s*", text)
    size = int(float(found[1]) * 1000.0 ** " kmg".index(found[2].lower() or " ")) if found else 0
    if size < 1:
        raise UserError(f"{option} {text[:40]}: a size is expected, such as 1MB or 300kB")
    return size
