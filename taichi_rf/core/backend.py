"""The one module that imports and starts Taichi.

Everything else takes ``ti`` from here, so that the package can be swapped for a fork, and asks :func:`current`
which way of working suits the device: scatter gradients by owner (CPU) or by hardware atomics (GPU).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import os
import platform
import textwrap
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TI_SKIP_VERSION_CHECK", "ON")  # stops a thread that phones home
os.environ.setdefault("ENABLE_TAICHI_HEADER_PRINT", "0")

from taichi_rf.core.compile_cache import cache_of, provide_cache  # noqa: E402
from taichi_rf.core.cpu.processor_name import name_processor  # noqa: E402
from taichi_rf.core.cpu.worker_threads import alive, spread  # noqa: E402
from taichi_rf.core.errors import UserError  # noqa: E402
from taichi_rf.core.gpus import cuda, vulkan  # noqa: E402
from taichi_rf.core.memory import MORE_MEMORY, lacks_memory  # noqa: E402

provide_cache()  # before Taichi is imported, which looks for its folder then

import taichi as ti  # noqa: E402


class _Unwrapped:
    """Stands in for the TextWrapper by which Taichi breaks the line of source that belongs to each node of a kernel's
    syntax tree, for messages that hardly ever come: half of the time that a kernel takes to be read."""

    def __init__(self, width: int) -> None: ...

    def wrap(self, text: str) -> list[str]:
        return [text] if text.strip() else []


with contextlib.suppress(ImportError, AttributeError):  # another Taichi: then it takes its time
    _reading: Any = importlib.import_module(f"{ti.__name__}.lang.ast.ast_transformer_utils")
    if _reading.TextWrapper is textwrap.TextWrapper:
        _reading.TextWrapper = _Unwrapped

ARCHES = ("auto", "cpu", "cuda", "vulkan", "metal")


@dataclass(frozen=True)
class Backend:
    """The device in use.

    ``owner_computes``: gradients are gathered by one owner per block of memory (bit-identical from run to run) rather
    than scattered with atomics. On the CPU that is 16-30 times faster; on a GPU the opposite holds.
    """

    arch: str
    owner_computes: bool
    threads: int
    device: str = ""
    """What the GPU is called, where that is known."""
    processor: str | None = None
    """What LLVM was told that the processor is called, where it does not know it."""

    @property
    def label(self) -> str:
        """Such as "cpu" or "vulkan (AMD Radeon RX 7800 XT)", for people."""
        return f"{self.arch} ({self.device})" if self.device else self.arch


_current: Backend | None = None


def init(arch: str = "auto", *, threads: int | None = None) -> Backend:
    """Start Taichi on ``arch`` (one of :data:`ARCHES`) and return what was started.

    ``auto`` is CUDA where there is one, Metal on a Mac, a GPU that Vulkan offers (never a software driver, which looks
    the same to Taichi), else the CPU; what does not start is passed over. ``vulkan`` is a GPU, too, where there is one,
    and a software driver where there is none. Calling again with the same arch keeps the running backend and its
    memory.

    Raises:
        UserError: the arch is unknown or not available on this machine; the message lists what is.
    """
    if arch not in ARCHES:
        raise UserError(f"unknown arch '{arch}': choose one of {', '.join(ARCHES)}")
    if _current is not None and arch in ("auto", _current.arch):
        return _current
    if threads is None:  # macOS and Windows do not tell which cores are ours
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if arch == "auto":
        for gpu in ("cuda", "metal", "vulkan"):
            if (gpu != "vulkan" or vulkan.hardware() is not None) and available(gpu):
                with contextlib.suppress(UserError):
                    return _start(gpu, threads)
        return _start("cpu", threads)
    if not available(arch):
        raise UserError(f"arch '{arch}' is not available on this machine; available: {', '.join(_usable(arch))}")
    return _start(arch, threads)


def _start(arch: str, threads: int) -> Backend:
    """Start Taichi anew on an available arch. UserError where it does not."""
    global _current
    reset()
    gpu = vulkan.hardware() if arch == "vulkan" else None
    if gpu is not None:  # Taichi takes the device of the highest score, which a software driver may have
        ti._lib.core.set_vulkan_visible_device(str(gpu.index))
    processor = name_processor() if arch == "cpu" else None
    before = alive()
    # Taichi announces itself with print(), and logs an error's text that it raises as well.
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            ti.init(
                arch=getattr(ti, arch), log_level=ti.CRITICAL, cpu_max_num_threads=threads, random_seed=0,
                **cache_of(processor),
            )  # fmt: skip
        except RuntimeError as error:
            if not lacks_memory(error):
                raise UserError(f"Taichi cannot start on arch '{arch}': {' '.join(str(error).split())}") from error
            raise UserError(f"Taichi cannot start on arch '{arch}' for want of memory: {MORE_MEMORY}") from error
    got = "cpu" if ti.cfg.arch in (ti.x64, ti.arm64) else arch
    if got != arch:  # Taichi falls back to the CPU with a mere warning
        ti.reset()
        raise UserError(f"arch '{arch}' could not be started; try --arch cpu")
    if arch == "cpu":
        spread(before, threads)
    device = cuda.name() if arch == "cuda" else gpu.name if gpu is not None else ""
    _current = Backend(arch=arch, owner_computes=arch == "cpu", threads=threads, device=device, processor=processor)
    return _current


def available(arch: str) -> bool:
    """Whether Taichi can start on ``arch`` here, found out without starting it."""
    if arch == "cpu":
        return True
    if arch == "metal" and platform.system() != "Darwin":
        return False
    from taichi.lang.misc import is_arch_supported

    ti.set_logging_level(ti.CRITICAL)  # or it warns of every library that it looks for in vain
    return bool(is_arch_supported(getattr(ti, arch)))


def _usable(refused: str) -> list[str]:
    """Arches to take in place of the ``refused`` one. Drivers of Vulkan are asked in a process of their own."""
    others = [arch for arch in ARCHES[1:] if arch != refused]
    return [arch for arch in others if (vulkan.devices() if arch == "vulkan" else available(arch))]


def current() -> Backend:
    """The running backend; starts the default one when none runs."""
    return _current or init()


def reset() -> None:
    """Stop Taichi and free its memory. Every array made before is dead; using one is undefined."""
    global _current
    if _current is not None:
        gc.collect()
        _dead[:] = [thing for thing in gc.get_objects() if isinstance(thing, ti.Ndarray)]
        ti.reset()
        _current = None


_dead: list[Any] = []
"""Arrays that someone still held when Taichi stopped. They hold no memory, but each deletes by its address when it is
collected, and by then a live array may lie there: so they are kept."""
