"""LLVM is told what a processor can that it does not know; where that is not possible, nothing changes."""

import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from taichi_rf.core.cpu import processor_name
from taichi_rf.core.cpu.processor_name import MIDDLE, SYMBOL, WIDE, fitting, name_processor, symbols

ROOT = Path(__file__).resolve().parents[4]
ASKED = """
import os, sys
from taichi_rf.core.cpu import processor_name
before = processor_name._called(processor_name._address()).decode()
told = processor_name.name_processor()
print(before, told, processor_name._called(processor_name._address()).decode())
"""
MEASURED = """
from taichi_rf.core import backend
from taichi_rf.core.backend import ti

backend.init("cpu")
x = ti.Vector.field(16, ti.f32, 64)
y = ti.Vector.field(16, ti.f32, 64)

@ti.kernel
def combine(n: int, a: float):
    for i in range(n):
        for k in ti.static(range(16)):
            y[i][k] = a * x[i][k] + (i + k)

for i in range(64):
    x[i] = [i * 16 + k for k in range(16)]
combine(64, 0.5)
print(backend.current().processor, y.to_numpy().sum())
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is changed")


def printed(script: str, **environment: str) -> list[str]:
    """The words of the last line that a fresh process prints."""
    done = subprocess.run(
        [sys.executable, "-c", script] if script is ASKED else [sys.executable, script],
        capture_output=True, text=True, cwd=ROOT, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TAICHI_RF_PROCESSOR": "", **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()  # Taichi may have said something before


@linux
def test_llvm_is_told_a_name_where_it_knows_none_and_keeps_its_own_otherwise():
    before, told, after = printed(ASKED)
    if before == "generic" and (name := fitting(processor_name.flags())) is not None:
        assert told == after == name
    else:
        assert told == "None"
        assert after == before


@linux
def test_a_processor_is_left_as_it_is_where_someone_says_so():
    before, told, after = printed(ASKED, TAICHI_RF_PROCESSOR="as-is")
    assert told == "None"
    assert after == before


@linux
@pytest.mark.parametrize("said", ["", "as-is"])
def test_kernels_compute_the_same_by_either_name(tmp_path, said):
    script = tmp_path / "measured.py"  # kernels are read from their file
    script.write_text(MEASURED)
    _, total = printed(str(script), TAICHI_RF_PROCESSOR=said)
    expected = sum(0.5 * (i * 16 + k) + (i + k) for i in range(64) for k in range(16))
    assert float(total) == expected


@linux
def test_a_name_brings_no_instruction_that_the_processor_lacks(tmp_path):
    """A Bulldozer has FMA4 and XOP, which nothing since has: taken at its word, products would be illegal here."""
    script = tmp_path / "measured.py"
    bulldozer = "from taichi_rf.core.cpu import processor_name as p\np.WIDE = p.MIDDLE = ('bdver4', set())\n"
    script.write_text(bulldozer + MEASURED)
    _, total = printed(str(script), XDG_CACHE_HOME=str(tmp_path))
    assert float(total) == sum(0.5 * (i * 16 + k) + (i + k) for i in range(64) for k in range(16))


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (WIDE[1] | MIDDLE[1] | {"sse"}, WIDE[0]),
        (MIDDLE[1] | {"avx512f"}, MIDDLE[0]),
        (MIDDLE[1] - {"fma"}, None),
        (WIDE[1], None),
        (set(), None),
    ],
)
def test_a_name_fits_that_asks_for_nothing_which_is_not_there(flags, name):
    assert fitting(flags) == name


def test_without_a_list_of_flags_nothing_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(processor_name, "FLAGS", tmp_path / "none")
    assert processor_name.flags() == set()
    (tmp_path / "some").write_text("processor : 0\nflags\t\t: fpu avx2 fma\n")
    monkeypatch.setattr(processor_name, "FLAGS", tmp_path / "some")
    assert processor_name.flags() == {"fpu", "avx2", "fma"}


@linux
@pytest.mark.parametrize("fault", ["another library", "no symbol", "known", "forbidden"])
def test_whatever_is_not_as_expected_leaves_everything_as_it_is(monkeypatch, fault):
    changed = []
    monkeypatch.setattr(processor_name, "flags", lambda: WIDE[1] | MIDDLE[1])
    monkeypatch.setattr(processor_name, "_address", lambda: None if fault == "no symbol" else 1)
    monkeypatch.setattr(processor_name, "_called", lambda address: b"znver3" if fault == "known" else b"generic")
    monkeypatch.setattr(processor_name, "_replace", lambda *given: changed.append(given) or fault != "forbidden")
    if fault == "another library":

        def refuse() -> None:
            raise ValueError

        monkeypatch.setattr(processor_name, "_address", refuse)
    assert name_processor.__wrapped__() is None
    assert bool(changed) == (fault == "forbidden")


@linux
@pytest.mark.parametrize("data", [b"", b"MZ" + bytes(100), b"\x7fELF\x02\x01", b"\x7fELF\x02\x01" + b"\xff" * 200])
def test_files_that_are_no_libraries_are_refused(tmp_path, data):
    path = tmp_path / "library"
    path.write_bytes(data or b"\0")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as library:
        with pytest.raises((ValueError, processor_name.struct.error)):
            symbols(library, (SYMBOL,))
