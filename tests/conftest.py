"""What every test shares: software Vulkan as the stand-in for a GPU, and the ``backend`` fixture."""

from __future__ import annotations

import gc
import glob
import os

import pytest

# Before Taichi is imported: the software driver, on two threads, so that the GPU path runs the same everywhere.
_lavapipe = sorted(glob.glob("/usr/share/vulkan/icd.d/lvp_icd*.json"))
if _lavapipe:
    os.environ.setdefault("VK_ICD_FILENAMES", _lavapipe[0])
os.environ.setdefault("LP_NUM_THREADS", "2")
os.environ.setdefault("TI_SKIP_VERSION_CHECK", "ON")


@pytest.fixture(params=["cpu", "vulkan"])
def backend(request: pytest.FixtureRequest):
    """The test runs once with Taichi on the CPU and once on Vulkan; arrays of the other arch are dead by then."""
    from taichi_rf.core import backend as taichi_backend

    gc.collect()  # arrays of the arch that may be about to end
    return taichi_backend.init(request.param)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything on the CPU first, then everything on Vulkan: Taichi is restarted once rather than for each test.

    Of several workers (``-n``), one has all of a file's tests on a device: they share its compiled kernels.
    """
    items.sort(key=_on_vulkan)
    for item in items:
        item.add_marker(pytest.mark.xdist_group(f"{item.path.name}@{'vulkan' if _on_vulkan(item) else 'cpu'}"))


def _on_vulkan(item: pytest.Item) -> bool:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return any(isinstance(value, str) and value == "vulkan" for value in parameters.values())
