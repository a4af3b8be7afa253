"""Which hardware Vulkan offers, found out without starting a driver in this process.

Taichi takes the Vulkan device with the highest score, and that of a software driver of a late version is not below that
of every GPU. So the device is chosen here, and Taichi is told its number.
"""

from __future__ import annotations

import glob
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from taichi_rf.core.gpus import child

SECONDS = 20.0
"""Within which all drivers have to be loaded and to answer. It takes a moment, but for a disk that is busy."""

NODES = (
    "/dev/dri/renderD*",
    "/dev/nvidiactl",
    "/dev/nvidia[0-9]*",
    "/dev/dxg",
    "/dev/kgsl*",
    "/dev/mali*",
    "/dev/pvr*",
)
"""Files by which drivers of GPUs are reached. A system other than Windows that has none of them has no GPU for Vulkan,
and loading software drivers only to hear that takes a second or more."""

SOFTWARE = ("llvmpipe", "lavapipe", "softpipe", "swiftshader", "basic render driver")
"""In the names of devices that are programs, whatever type they say they are of."""
TRANSLATED = ("microsoft direct3d12",)
"""In the names of devices that are another interface underneath. They lack much that Taichi relies on."""

_BY_WORTH = ("discrete", "integrated", "virtual")
_QUERY = Path(__file__).with_name("vulkan_query.py")


@dataclass(frozen=True)
class Device:
    """What Vulkan says of one device; ``index`` is its place in the loader's order, by which Taichi knows it."""

    index: int
    name: str
    type: str
    """"discrete", "integrated", "virtual", "cpu" or "other"."""
    api: str
    compute: bool
    atomic_add: bool
    """Whether floats are added to memory by the hardware; else Taichi tries again until nobody came between."""
    storage: int
    """Bytes that a kernel can address in one buffer."""

    @property
    def software(self) -> bool:
        """Whether it is a program that computes on the CPU."""
        return self.type == "cpu" or any(name in self.name.lower() for name in SOFTWARE)

    @property
    def trusted(self) -> bool:
        """Whether it is taken without being asked for: a GPU with a driver of its own."""
        translated = any(name in self.name.lower() for name in TRANSLATED)
        return self.type in _BY_WORTH and self.compute and not self.software and not translated


def may_have_gpu() -> bool:
    """Whether this system has what a driver of a GPU needs; on Windows it is not known."""
    return os.name == "nt" or any(glob.glob(pattern) for pattern in NODES)


@cache
def devices() -> tuple[Device, ...]:
    """All devices of Vulkan, software among them, in Taichi's order; none where the loader is missing or broken, or a
    driver crashes or does not answer. On a Mac nobody is asked: Taichi brings a loader of its own, and Metal."""
    return () if sys.platform == "darwin" else asked([sys.executable, "-I", "-S", str(_QUERY)])


def asked(command: Sequence[str], seconds: float = SECONDS) -> tuple[Device, ...]:
    """What ``command`` writes into the file that is named as its last argument, as :func:`devices`; nothing where it
    crashes, or takes longer than ``seconds``. What it prints is not looked at: drivers print, too."""
    try:
        with tempfile.TemporaryDirectory(prefix="taichi-rf-", ignore_cleanup_errors=True) as folder:
            answer = Path(folder) / "devices.json"
            if not child.ran([*command, str(answer)], seconds, what="the Vulkan drivers to say which GPUs there are"):
                return ()
            return tuple(_read(entry) for entry in json.loads(answer.read_bytes()))
    except (OSError, ValueError, TypeError, KeyError):
        return ()


def _read(entry: dict[str, Any]) -> Device:
    return Device(
        int(entry["index"]),
        str(entry["name"]),
        str(entry["type"]),
        str(entry["api"]),
        bool(entry["compute"]),
        bool(entry["atomic_add"]),
        int(entry["storage"]),
    )


def best(found: Sequence[Device], visible: str | None = None) -> Device | None:
    """The GPU to compute on: a discrete one before an integrated one, else the first; None where there is none.

    Args:
        visible: what ``TI_VISIBLE_DEVICE`` says: the number of the only device that may be taken.
    """
    able = [device for device in found if device.trusted and visible in (None, "", str(device.index))]
    return min(able, key=lambda device: _BY_WORTH.index(device.type), default=None)


def hardware() -> Device | None:
    """The GPU that ``auto`` takes where there is neither CUDA nor Metal; None where there is none."""
    return best(devices(), os.environ.get("TI_VISIBLE_DEVICE")) if may_have_gpu() else None
