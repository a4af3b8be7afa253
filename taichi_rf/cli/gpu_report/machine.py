"""What the report says of the machine, and which device is measured: the first part, on which all others wait."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from taichi_rf.cli.gpu_report.task import Keep, Task
from taichi_rf.core import backend
from taichi_rf.core.gpus import vulkan
from taichi_rf.core.version import VERSION

NVIDIA = ("name", "driver_version", "memory.total", "memory.used", "clocks.max.memory")
"""What is asked of each card of NVIDIA's."""
ASKING = 20.0
"""Seconds that the driver's own program may take to answer."""


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
    if device.arch == "vulkan" and not device.device:  # no GPU: Taichi takes what else there is
        found["software"] = True
        found["device"] = next((entry["name"] for entry in found.get("vulkan", ())), "")
    keep(found)


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cards() -> list[dict[str, str]]:
    """What ``nvidia-smi`` says of each card; none where it is missing or does not answer."""
    command = ["nvidia-smi", f"--query-gpu={','.join(NVIDIA)}", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=ASKING, check=True, text=True
        )
        return [dict(zip(NVIDIA, map(str.strip, line.split(",")))) for line in done.stdout.splitlines()]
    return []
