"""What LLVM is told that this processor is called, where it does not know it.

Taichi 1.7.4 compiles with LLVM 15, which knows processors by family and model up to 2022. AMD's Zen 4 and Zen 5 are
"generic" to it, and for a generic processor it makes vectors of 128 bits: of four numbers, where these processors
compute with eight or sixteen at once. On a Zen 5, quiet, in turn within one run: training lego with spherical harmonics
70 and 50 ms a step, with the MLP 290 and 161, an octree 61 and 50, a picture 86 and 63.

Nothing in Taichi sets the name, so the function that returns it is replaced in memory, before Taichi starts. That is
done only if it is found under its name in the library's table of symbols, and really says "generic"; where the system
forbids it, everything stays as it is. Which instructions may be used LLVM finds out apart from the name, bit by bit, so
that none is used that this processor lacks.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import mmap
import os
import platform
import struct
import sys
from pathlib import Path
from typing import Any

SYMBOL = b"_ZN4llvm3sys14getHostCPUNameEv"
"""``llvm::sys::getHostCPUName()``, which returns a pointer to characters, and how many these are."""
UNKNOWN = b"generic"

WIDE = ("knm", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})
"""Vectors of 512 bits. LLVM's names for others with AVX-512 ask for 256: a step took 53.5 ms with "x86-64-v4"."""
MIDDLE = ("x86-64-v3", {"avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"})
"""Vectors of 256 bits. A step took 55 ms."""

FLAGS = Path("/proc/cpuinfo")
ENOUGH = 32
"""Bytes of a function that can be written over."""


class _Text(ctypes.Structure):
    """``llvm::StringRef``."""

    _fields_ = (("characters", ctypes.c_void_p), ("count", ctypes.c_size_t))


_kept: list[Any] = []
"""What the machine code points at, which has to stay."""


@functools.cache
def name_processor() -> str | None:
    """Tell LLVM a name that stands for what this processor can, if LLVM does not know it. Call before Taichi starts.

    Returns:
        The name, or None where nothing was changed.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64" or os.environ.get("TAICHI_RF_PROCESSOR") == "as-is":
        return None
    name = fitting(flags())
    with contextlib.suppress(OSError, ValueError, struct.error):
        if name is not None:
            address = _address()
            if address is not None and _called(address) == UNKNOWN and _replace(address, name.encode()):
                return name
    return None


def flags() -> set[str]:
    """What this processor can, as Linux calls it."""
    with contextlib.suppress(OSError), FLAGS.open() as lines:
        for line in lines:
            if line.startswith("flags"):
                return set(line.partition(":")[2].split())
    return set()


def fitting(found: set[str]) -> str | None:
    """The name for a processor of these flags; None where LLVM's own guess is as good."""
    for name, needed in (WIDE, MIDDLE):
        if needed <= found and MIDDLE[1] <= found:
            return name
    return None


def symbols(library: mmap.mmap, wanted: tuple[bytes, ...]) -> dict[bytes, tuple[int, int]]:
    """Value and size of symbols in an ELF library of 64 bits, of those that its table has (System V ABI, "Symbol
    Table").

    Raises:
        ValueError, struct.error: this is no such library.
    """
    if library[:6] != b"\x7fELF\x02\x01":
        raise ValueError("no ELF file of 64 bits")
    (table,) = struct.unpack_from("<Q", library, 0x28)
    size, count = struct.unpack_from("<HH", library, 0x3A)
    if table + size * count > len(library):
        raise ValueError("an ELF file that ends early")
    sections = [struct.unpack_from("<IIQQQQIIQQ", library, table + size * i) for i in range(count)]
    found: dict[bytes, tuple[int, int]] = {}
    for _, kind, _, _, offset, length, link, _, _, entry in sections:
        if kind != 2 or entry != 24 or link >= count:  # SHT_SYMTAB
            continue
        texts, texts_length = sections[link][4], sections[link][5]
        for name in wanted:
            at = library.find(b"\0" + name + b"\0", texts, texts + texts_length)
            if at < 0:
                continue
            place = struct.pack("<I", at + 1 - texts)
            where = library.find(place, offset, offset + length)
            while where >= 0 and (where - offset) % entry:  # the same bytes elsewhere in an entry
                where = library.find(place, where + 1, offset + length)
            if where >= 0:
                found[name] = struct.unpack_from("<QQ", library, where + 8)
    return found


def _address() -> int | None:
    """Where the function is in this process."""
    from taichi._lib.core import taichi_python

    path = taichi_python.__file__
    start = b"PyInit_taichi_python"  # exported, so that the system says where it is
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as library:
        found = symbols(library, (SYMBOL, start))
    if SYMBOL not in found or start not in found or found[SYMBOL][1] < ENOUGH:
        return None
    loaded = ctypes.cast(getattr(ctypes.CDLL(path), start.decode()), ctypes.c_void_p).value
    return None if loaded is None else loaded - found[start][0] + found[SYMBOL][0]


def _called(address: int) -> bytes:
    """What the function at ``address`` returns."""
    text = ctypes.CFUNCTYPE(_Text)(address)()
    return ctypes.string_at(text.characters, text.count)


def _replace(address: int, name: bytes) -> bool:
    """Have the function at ``address`` return ``name``; False where the system forbids it."""
    text = ctypes.create_string_buffer(name)
    # endbr64; mov rax, text; mov rdx, length; ret: a pointer and a number are returned (System V ABI for x86-64, 3.2.3)
    numbers = struct.pack("<Q", ctypes.addressof(text)), struct.pack("<I", len(name))
    code = b"\xf3\x0f\x1e\xfa\x48\xb8" + numbers[0] + b"\x48\xc7\xc2" + numbers[1] + b"\xc3"
    page = mmap.PAGESIZE
    first = address // page * page
    pages = (ctypes.c_void_p(first), ctypes.c_size_t(-(-(address + len(code)) // page) * page - first))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    if protect(*pages, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) != 0:
        return False
    _kept.append(text)
    ctypes.memmove(address, code, len(code))
    protect(*pages, mmap.PROT_READ | mmap.PROT_EXEC)
    return True
