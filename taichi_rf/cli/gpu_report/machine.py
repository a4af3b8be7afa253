"""What the report says of the machine, and which device is measured: the first part, on which all others wait."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from taichi_rf.cli.gpu_report.task import Keep, Task
from taichi_rf.core import backend
from taichi_rf.core.gpus import child, vulkan
from taichi_rf.core.version import VERSION

NVIDIA = ("name", "driver_version", "memory.total", "memory.used", "clocks.max.memory")
"""What is asked of each card of NVIDIA's."""
ASKING = 30.0
"""Seconds that the driver's own program, or Taichi, may take to answer."""
MOST_PRINTED = 1 << 20
"""Bytes of an answer that are looked at."""
_START = """
import taichi as ti
if {index!r}:
    ti._lib.core.set_vulkan_visible_device({index!r})
ti.init(arch=ti.vulkan, log_level=ti.TRACE, offline_cache=False)
"""


def machine(task: Task, keep: Keep) -> None:
    """Say what there is, and start the device that the others will use."""
    found: dict[str, Any] = {
        "version": VERSION,
        "python": platform.python_version(),
        "taichi": ".".join(map(str, backend.ti.__version__)),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cards": _cards(),
    }
    if vulkan.may_have_gpu() or task.arch == "vulkan":
        found["vulkan"] = [asdict(device) for device in vulkan.devices()]
    keep(found)
    device = backend.init(task.arch)
    found |= {"arch": device.arch, "device": device.device, "software": False}
    if device.arch == "vulkan":
        used = used_by_taichi(device.device) or device.device
        entry = next((entry for entry in vulkan.devices() if entry.name == used), None)
        found |= {"device": used, "software": entry.software if entry else not device.device}
    keep(found)


def used_by_taichi(name: str) -> str:
    """The Vulkan device that Taichi starts on where it is to be the one called ``name``, or any, by what it says itself
    in a process of its own; "" where it says nothing."""
    index = next((str(entry.index) for entry in vulkan.devices() if entry.name == name), "")
    printed = _printed([sys.executable, "-c", _START.format(index=index)], well=False)
    said = re.search(r'Vulkan Device "(.*)" supports', printed)
    return said[1] if said else ""


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cards() -> list[dict[str, str]]:
    """What ``nvidia-smi`` says of each card; none where it is missing or does not answer."""
    printed = _printed(["nvidia-smi", f"--query-gpu={','.join(NVIDIA)}", "--format=csv,noheader"])
    return [dict(zip(NVIDIA, map(str.strip, line.split(",")))) for line in printed.splitlines()]


def _printed(command: list[str], *, well: bool = True) -> str:
    """What ``command`` prints; "" where it is missing, takes longer than ``ASKING``, or, being asked to end ``well``,
    does not. Of one that need not, its complaints are there, too."""
    with contextlib.suppress(OSError), tempfile.TemporaryFile() as output:
        errors = subprocess.DEVNULL if well else subprocess.STDOUT
        if child.ran(command, ASKING, output=output, errors=errors) or not well:
            output.seek(0)
            return output.read(MOST_PRINTED).decode("utf-8", "replace")
    return ""
