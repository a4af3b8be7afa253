"""Numbers to colours: the maps in which pictures of depth, cost and error are drawn, from a few anchor colours each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from taichi_rf.core.errors import UserError

_ANCHORS = {
    # S. van der Walt and N. Smith's maps of even lightness, made for matplotlib and given to the public domain (CC0)
    "viridis": "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26818e 21908c 1f9f88 28ae80 3ebc74 5dc963 82d34c "
    "abdc32 d5e21a fde725",
    "magma": "000004 0a0822 1d1146 36106a 50127c 691c81 822681 9c2e7f b63779 cf4170 e65163 f5695c fb8761 fea571 "
    "fec387 fde0a2 fcfdbf",
    # A. Mikhailov 2019, "Turbo, an improved rainbow colormap": more colours to tell apart, at uneven lightness
    "turbo": "30123b 4040a1 466be3 4293ff 29bbec 18dcc3 31f299 6bfd64 a3fd3c cced34 edd03a fdae35 fb8022 ec520f "
    "d23105 ac1701 7a0403",
}  # fmt: skip
_TABLES = {
    name: np.array([list(bytes.fromhex(colour)) for colour in colours.split()], np.float32) / 255
    for name, colours in _ANCHORS.items()
}

NAMES = tuple(_TABLES)


def apply(name: str, values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Colours (..., 3) in [0, 1] of ``values`` (...), of which those outside [0, 1] count as 0 or 1, and NaN as 0.

    Raises:
        UserError: there is no map of that name.
    """
    if name not in _TABLES:
        raise UserError(f"unknown colour map '{name}': choose one of {', '.join(NAMES)}")
    table = _TABLES[name]
    place = np.clip(np.nan_to_num(np.asarray(values, np.float32), nan=0.0), 0, 1) * (len(table) - 1)
    left = np.minimum(place.astype(np.intp), len(table) - 2)
    part = (place - left)[..., None].astype(np.float32)
    return table[left] * (1 - part) + table[left + 1] * part
