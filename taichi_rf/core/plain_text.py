"""Text that comes from outside, made safe to show: no character of it can move the cursor, hide or forge a line.

Names of files, what a scene's JSON says, a model's metadata and a server's answer all end up in messages.
"""

from __future__ import annotations

import unicodedata

_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Categories of characters that are escaped: controls, invisible formatting (which can turn the direction of a line
round), halves of surrogate pairs (bytes of a file's name that are no UTF-8), and separators of lines and paragraphs."""


def visible(text: str) -> str:
    """``text`` with every character that is not printed as itself replaced by its escape, such as ``\\x1b``."""
    if text.isprintable():
        return text
    return "".join(_escaped(c) if unicodedata.category(c) in _INVISIBLE else c for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python carries a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
