"""Which GPU Vulkan offers: asked of a loader made of Python, judged by hand, and started through a fake of Taichi."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from dataclasses import asdict, replace
from typing import Any

import pytest

from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.core.gpus import child, vulkan, vulkan_query

CARD = vulkan.Device(0, "AMD Radeon RX 7800 XT (RADV NAVI32)", "discrete", "1.3", True, True, 1 << 32)
BUILT_IN = replace(CARD, index=1, name="Intel(R) UHD Graphics 770", type="integrated")
LAVAPIPE = replace(CARD, index=2, name="llvmpipe (LLVM 15.0.6, 256 bits)", type="cpu")


class FakeLoader:
    """Vulkan's functions over devices (name, type, version, queue flags, atomic add)."""

    def __init__(self, devices: list[tuple[str, int, int, int, bool]], newest: int = 1 << 22 | 3 << 12) -> None:
        self.devices, self.newest = devices, newest
        self.versions: list[int] = []
        self.destroyed = 0

    def vkEnumerateInstanceExtensionProperties(self, layer: Any, count: Any, there: Any) -> int:
        count._obj.value = 2
        if there is not None:
            there[0].name, there[1].name = b"VK_KHR_surface", b"VK_KHR_display"
        return 0

    def vkCreateInstance(self, wanted: Any, allocator: Any, instance: Any) -> int:
        info = wanted._obj
        self.versions.append(info.application.contents.api_version)
        self.extensions = [info.extensions[i] for i in range(info.extension_count)]
        if self.versions[-1] > self.newest:
            return vulkan_query.INCOMPATIBLE_DRIVER
        instance._obj.value = 77
        return 0

    def vkDestroyInstance(self, instance: Any, allocator: Any) -> None:
        assert instance.value == 77
        self.destroyed += 1

    def vkEnumeratePhysicalDevices(self, instance: Any, count: Any, handles: Any) -> int:
        count._obj.value = len(self.devices)
        for index in range(len(self.devices)):
            handles[index] = 1000 + index
        return 0

    def _device(self, handle: Any) -> tuple[str, int, int, int, bool]:
        return self.devices[handle.value - 1000]

    def vkGetPhysicalDeviceProperties(self, handle: Any, properties: Any) -> None:
        name, kind, version, _, _ = self._device(handle)
        # the structure as the specification declares it, down to the limit that is read
        properties[:20] = b"".join(n.to_bytes(4, "little") for n in (version, 1, 2, 3, kind))
        properties[20:276] = name.encode().ljust(256, b"\0")
        limits = 20 + 256 + 16 + 4  # after the name: a UUID of 16 bytes, and the padding before 64-bit numbers
        properties[limits + 28 : limits + 32] = (1 << 27).to_bytes(4, "little")

    def vkGetPhysicalDeviceQueueFamilyProperties(self, handle: Any, count: Any, queues: Any) -> None:
        count._obj.value = 1
        queues[0].flags = self._device(handle)[3]

    def vkGetPhysicalDeviceFeatures2(self, handle: Any, features: Any) -> None:
        class Atomics(ctypes.Structure):
            _fields_ = [("type", ctypes.c_int), ("next", ctypes.c_void_p), ("values", ctypes.c_uint32 * 12)]

        assert features._obj.type == 1000059000
        atomics = ctypes.cast(features._obj.next, ctypes.POINTER(Atomics)).contents
        assert atomics.type == 1000260000
        atomics.values[1] = self._device(handle)[4]


def test_the_query_reads_what_the_loader_writes() -> None:
    version = 1 << 22 | 3 << 12 | 250
    loader = FakeLoader(
        [("Intel(R) UHD", 1, version, 7, False), ("llvmpipe", 4, version, 2, True), ("odd", 9, version, 1, True)]
    )
    found = vulkan_query.devices(loader)
    assert found[0] == {
        "index": 0, "name": "Intel(R) UHD", "type": "integrated", "api": "1.3", "compute": True, "atomic_add": False,
        "storage": 1 << 27,
    }  # fmt: skip
    assert [entry["type"] for entry in found] == ["integrated", "cpu", "other"]
    assert [entry["compute"] for entry in found] == [True, True, False]
    assert loader.extensions == [b"VK_KHR_surface"]  # as Taichi asks, so that devices have the same numbers
    assert loader.destroyed == 1


def test_floats_are_added_by_hardware_where_a_device_of_version_1_1_says_so() -> None:
    new, old = 1 << 22 | 1 << 12, 1 << 22
    loader = FakeLoader([("a", 2, new, 2, True), ("b", 2, new, 2, False), ("c", 2, old, 2, True)])
    assert [entry["atomic_add"] for entry in vulkan_query.devices(loader)] == [True, False, False]


def test_an_old_loader_is_asked_for_its_version_and_a_refusal_is_an_error() -> None:
    old = FakeLoader([("a", 2, 1 << 22, 2, False)], newest=1 << 22)
    assert len(vulkan_query.devices(old)) == 1
    assert old.versions == [1 << 22 | 3 << 12, 1 << 22]
    with pytest.raises(RuntimeError, match="-9"):
        vulkan_query.devices(FakeLoader([], newest=0))


def test_a_discrete_gpu_is_taken_before_an_integrated_one_and_software_never() -> None:
    assert vulkan.best([LAVAPIPE, BUILT_IN, CARD]) == CARD
    assert vulkan.best([LAVAPIPE, BUILT_IN]) == BUILT_IN
    assert vulkan.best([LAVAPIPE]) is None
    assert vulkan.best([replace(LAVAPIPE, type="discrete")]) is None  # by its name
    assert vulkan.best([replace(CARD, name="SwiftShader Device (Subzero)", type="virtual")]) is None
    assert vulkan.best([replace(CARD, name="Microsoft Direct3D12 (Arc A770)")]) is None
    assert vulkan.best([replace(CARD, compute=False), replace(CARD, type="other")]) is None
    assert vulkan.best([CARD, replace(CARD, index=1)]) == CARD
    assert vulkan.best([]) is None


def test_the_device_that_the_person_made_visible_is_the_only_one() -> None:
    assert vulkan.best([CARD, BUILT_IN, LAVAPIPE], "1") == BUILT_IN
    assert vulkan.best([CARD, BUILT_IN, LAVAPIPE], "2") is None
    assert vulkan.best([CARD, BUILT_IN, LAVAPIPE], "nonsense") is None
    assert vulkan.best([CARD, BUILT_IN, LAVAPIPE], "") == CARD


def wrote(text: str) -> str:
    """Code that writes ``text`` as its answer."""
    return f"import sys; open(sys.argv[1], 'w').write({text!r})"


@pytest.mark.parametrize(
    "code",
    ["import os; os.abort()", "import time; time.sleep(60)", "print('[]')", wrote("[{]"), wrote("[{}]"), wrote("7")],
)
def test_a_loader_that_crashes_hangs_or_babbles_offers_nothing(code: str) -> None:
    seconds = 0.5 if "sleep" in code else 20
    assert vulkan.asked([sys.executable, "-I", "-S", "-c", code], seconds) == ()
    assert vulkan.asked(["/nowhere/python"]) == ()


def test_a_driver_that_prints_spoils_nothing_and_a_slow_one_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "UNTOLD", 0.05)
    code = f"print('driver: hello', flush=True); import time; time.sleep(0.3); {wrote(json.dumps([asdict(CARD)]))}"
    with pytest.warns(UserWarning, match="waiting for the Vulkan drivers .* up to 20 s"):
        assert vulkan.asked([sys.executable, "-I", "-S", "-c", code]) == (CARD,)


def test_a_killed_process_that_stays_is_waited_for_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    class Stuck:
        """A process that the kernel holds."""

        killed = False

        def __init__(self, *_: Any, **__: Any) -> None: ...

        def poll(self) -> None: ...

        def kill(self) -> None:
            self.killed = True

        def wait(self, seconds: float) -> int:
            waits.append(seconds)
            raise subprocess.TimeoutExpired("it", seconds)

    monkeypatch.setattr(child.subprocess, "Popen", Stuck)
    assert not child.ran(["it"], 0.5)
    assert 0.4 < waits[0] <= 0.5
    assert waits[1:] == [1.0]


def test_the_refusal_of_an_arch_loads_no_driver_of_vulkan_here(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(backend, "available", lambda arch: bool(asked.append(arch)) or arch == "cpu")
    for found, said in (((LAVAPIPE,), "cpu, vulkan"), ((), "cpu")):
        monkeypatch.setattr(vulkan, "devices", lambda found=found: found)
        with pytest.raises(UserError, match=f"arch 'cuda' is not available on this machine; available: {said}$"):
            backend.init("cuda")
    assert "vulkan" not in asked


def test_nobody_is_asked_where_there_is_nothing_to_drive_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vulkan, "may_have_gpu", lambda: False)
    monkeypatch.setattr(vulkan, "devices", lambda: pytest.fail("asked"))
    assert vulkan.hardware() is None


class Started(Exception):
    """In the place of Taichi's start."""


@pytest.fixture
def starting(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What ``backend.init`` would start, on a machine with these devices: (arch, number of the Vulkan device)."""

    def start(arch: str, devices: list[vulkan.Device], *, there: tuple[str, ...] = (), broken: str = "") -> Any:
        asked: list[Any] = []

        def init(arch: Any, **options: Any) -> None:
            if backend.ti.vulkan == arch and broken == "vulkan":
                raise RuntimeError("a driver that does not work")
            raise Started(arch)

        monkeypatch.setattr(backend, "_current", None)
        monkeypatch.setattr(vulkan, "may_have_gpu", lambda: True)
        monkeypatch.setattr(vulkan, "devices", lambda: tuple(devices))
        monkeypatch.setattr(backend, "available", lambda arch: arch in ("cpu", "vulkan", *there))
        monkeypatch.setattr(backend.ti._lib.core, "set_vulkan_visible_device", asked.append)
        monkeypatch.setattr(backend.ti, "init", init)
        monkeypatch.delenv("TI_VISIBLE_DEVICE", raising=False)
        with pytest.raises(Started) as started:
            backend.init(arch)
        name = next(n for n in backend.ARCHES[1:] if getattr(backend.ti, n) == started.value.args[0])
        return name, asked

    return start


def test_auto_takes_the_gpu_by_its_number_and_the_cpu_where_all_is_software(starting: Any) -> None:
    assert starting("auto", [LAVAPIPE, BUILT_IN]) == ("vulkan", ["1"])
    assert starting("auto", [LAVAPIPE]) == ("cpu", [])
    assert starting("auto", []) == ("cpu", [])
    assert starting("auto", [CARD], there=("cuda",)) == ("cuda", [])


def test_vulkan_is_the_gpu_where_there_is_one_and_software_when_asked_for(starting: Any) -> None:
    assert starting("vulkan", [LAVAPIPE, CARD]) == ("vulkan", ["0"])
    assert starting("vulkan", [LAVAPIPE]) == ("vulkan", [])


def test_a_gpu_that_does_not_start_is_passed_over_by_auto_only(starting: Any) -> None:
    assert starting("auto", [CARD], broken="vulkan")[0] == "cpu"
    with pytest.raises(UserError, match="a driver that does not work"):
        starting("vulkan", [CARD], broken="vulkan")


def test_a_device_is_named_where_it_is_known() -> None:
    assert backend.Backend("vulkan", False, 2, CARD.name).label == f"vulkan ({CARD.name})"
    assert backend.Backend("cpu", True, 2).label == "cpu"


def test_the_software_driver_of_this_machine_is_found_and_refused() -> None:
    found = vulkan.asked([sys.executable, "-I", "-S", str(vulkan._QUERY)], 120)
    software = [device for device in found if device.software]
    assert software  # what all tests of Vulkan run on
    assert all(device.compute and device.storage >= 1 << 27 for device in software)
    assert vulkan.best(software) is None
