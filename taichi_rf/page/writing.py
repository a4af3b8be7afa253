"""A page that shows a model: one HTML file that holds everything, or one beside the model's file.

Nothing of a model's file is trusted to be harmless in HTML: text is escaped, and scripts but the page's own two may not
run, because the page's policy names these by their checksums. The first is short and inflates the other.
"""

from __future__ import annotations

import base64
import html
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

import numpy as np

from taichi_rf.core.plain_text import visible
from taichi_rf.kernels.spaces import read_space
from taichi_rf.page.build import WEB, script_of
from taichi_rf.storage.levels import best_level
from taichi_rf.storage.metadata import title
from taichi_rf.storage.quality import metadata_of
from taichi_rf.storage.trf import outline

DIGITS = np.array([byte for byte in range(0x21, 0x7F) if chr(byte) not in "&<\\"], np.uint8)
"""Of a model in a page: what is printable in ASCII, but for what means something in HTML and in strings."""
PAIR, ALONE = 13, 6
"""Bits of two digits, and of one."""

LONGEST_CAPTION = 600
"""Characters."""


@dataclass(frozen=True)
class Shown:
    """What a page is told of a model: its ``header``, ``sizes`` in bytes of the file up to each level, and the
    ``world_box`` (two corners) that one turns around."""

    header: Mapping[str, Any]
    sizes: list[int]
    world_box: list[list[float]]


def page_of_file(path: Path, *, caption: str = "", beside: str | None = None) -> str:
    """The page of the model in the file ``path``, which it holds; or which lies beside it under the name ``beside``.

    Raises:
        UserError: there is no model in that file, or it is damaged.
    """
    header, sizes = outline(path)
    box = read_space(header.get("space")).world_box(np.array(header["box"])).tolist()
    data = path.read_bytes() if beside is None else None
    return page_of(Shown(header, sizes, box), data, caption=caption, file=beside)


def page_of(model: Shown, data: bytes | None, *, caption: str = "", file: str | None = None) -> str:
    """The page as HTML.

    Args:
        model: what it shows.
        data: the ``.trf`` that it holds; None where that lies beside it.
        caption: a text on the picture, of ``LONGEST_CAPTION`` characters at most.
        file: the name of the ``.trf`` beside the page, where it holds none.
    """
    metadata = metadata_of(model.header)
    about = {
        "file": None if file is None else quote(os.fsencode(file), safe=""),
        "sizes": model.sizes,
        "worldBox": model.world_box,
        "level": best_level(metadata, len(model.sizes)),
    }
    script, start = script_of("main.js"), script_of("start.js")
    style = (WEB / "page.css").read_text(encoding="utf-8")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_checksum(start)} {_checksum(script)}",
            f"style-src {_checksum(style)}",
            "base-uri 'none'",
            "form-action 'none'",
            *(("connect-src 'self'",) if file is not None else ()),
        )
    )
    words = [metadata[key] for key in ("method", "preset") if isinstance(metadata.get(key), str)]
    return Template((WEB / "page.html").read_text(encoding="utf-8")).substitute(
        policy=policy,
        title=html.escape(title(metadata, "a radiance field")),
        subtitle=html.escape(visible(", ".join(word[:40] for word in words))),
        caption=html.escape("\n".join(visible(line) for line in caption[:LONGEST_CAPTION].splitlines())),
        style=style,
        about=json.dumps(about).replace("<", "\\u003c"),
        model="" if data is None else embedded(data),
        code=embedded(zlib.compress(script.encode(), 9)),
        start=start,
    )


def embedded(data: bytes) -> str:
    """``data`` as a page holds it: 13 bits in two of 91 digits, which take 23 per cent more where base64 takes a third.

    The first bit is the highest of the first byte. A rest of no more than 6 bits is one digit. Nothing in it can end
    the element that it is in, which takes a "<".
    """
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    pairs, rest = divmod(len(bits), PAIR)
    ends_alone = 0 < rest <= ALONE
    missing = 0 if rest == 0 else (ALONE if ends_alone else PAIR) - rest
    bits = np.append(bits, np.zeros(missing, np.uint8))
    whole = bits[: PAIR * (pairs + (rest > ALONE))].reshape(-1, PAIR) @ (1 << np.arange(PAIR)[::-1])
    found = DIGITS[np.stack(np.divmod(whole, len(DIGITS)), axis=1)].tobytes()
    if ends_alone:
        found += DIGITS[bits[-ALONE:] @ (1 << np.arange(ALONE)[::-1])].tobytes()
    return found.decode()


def unembedded(text: str) -> bytes:
    """The inverse of :func:`embedded`."""
    values = np.searchsorted(DIGITS, np.frombuffer(text.encode(), np.uint8))
    even = len(values) // 2 * 2
    whole = values[:even:2] * len(DIGITS) + values[1:even:2]
    bits = [whole[:, None] >> np.arange(PAIR)[::-1] & 1, values[even:, None] >> np.arange(ALONE)[::-1] & 1]
    joined = np.concatenate([part.ravel() for part in bits]).astype(np.uint8)
    return np.packbits(joined[: len(joined) // 8 * 8]).tobytes()


def _checksum(text: str) -> str:
    """How a policy names a script or a style sheet that may be used."""
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'"
