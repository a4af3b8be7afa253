"""What the card that CUDA computes on is called."""

from __future__ import annotations

import contextlib
import ctypes
import sys


def name() -> str:
    """Of the first card that CUDA shows, which is the one that Taichi takes; "" where that cannot be found out.

    Call it once Taichi has started on CUDA.
    """
    with contextlib.suppress(OSError, AttributeError):
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        device, text = ctypes.c_int(), ctypes.create_string_buffer(256)
        if not (driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0)):
            if not driver.cuDeviceGetName(text, len(text), device):
                return text.value.decode("utf-8", "replace")
    return ""
