"""Asks the Vulkan loader what devices there are, and writes them as JSON: ``vulkan_query.py FILE``.

Run as a script, in a process of its own: loading every driver of a machine runs code that may crash. It needs nothing
but Python's standard library, and imports nothing of this package, so that it starts in a moment.
"""

import ctypes
import json
import sys
from typing import Any

APPLICATION_INFO, INSTANCE_INFO = 0, 1
FEATURES2, ATOMIC_FLOAT_FEATURES = 1000059000, 1000260000
VERSION_1_0, VERSION_1_3 = 1 << 22, 1 << 22 | 3 << 12
SUCCESS, INCOMPLETE, INCOMPATIBLE_DRIVER = 0, 5, -9
COMPUTE = 2
MOST_DEVICES = 64
TYPES = ("other", "integrated", "discrete", "virtual", "cpu")
"""VkPhysicalDeviceType."""
EXTENSIONS = (
    b"VK_KHR_surface", b"VK_KHR_get_physical_device_properties2", b"VK_KHR_external_memory_capabilities",
    b"VK_KHR_external_semaphore_capabilities", b"VK_EXT_debug_utils",
)  # fmt: skip
"""Those that Taichi 1.7 asks for. Loader and layers put devices in an order that depends on them and on the version,
and a device is known to Taichi by its place in that order."""

_NAME, _STORAGE = 20, 324  # bytes into VkPhysicalDeviceProperties: deviceName, limits.maxStorageBufferRange
_BUFFER_ADD = 1  # which of VkPhysicalDeviceShaderAtomicFloatFeaturesEXT is shaderBufferFloat32AtomicAdd


class _Application(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int), ("next", ctypes.c_void_p), ("name", ctypes.c_char_p), ("version", ctypes.c_uint32),
        ("engine", ctypes.c_char_p), ("engine_version", ctypes.c_uint32), ("api_version", ctypes.c_uint32),
    ]  # fmt: skip


class _Instance(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int), ("next", ctypes.c_void_p), ("flags", ctypes.c_uint32),
        ("application", ctypes.POINTER(_Application)), ("layer_count", ctypes.c_uint32), ("layers", ctypes.c_void_p),
        ("extension_count", ctypes.c_uint32), ("extensions", ctypes.POINTER(ctypes.c_char_p)),
    ]  # fmt: skip


class _Extension(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char * 256), ("version", ctypes.c_uint32)]


class _Features(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("next", ctypes.c_void_p), ("values", ctypes.c_uint32 * 64)]


class _Queues(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint32), ("rest", ctypes.c_uint32 * 5)]


def loader() -> Any:
    """The Vulkan loader of this system. OSError where there is none."""
    if sys.platform == "win32":
        return ctypes.WinDLL("vulkan-1.dll")
    return ctypes.CDLL("libvulkan.so.1")


def devices(vulkan: Any) -> list[dict[str, Any]]:
    """What there is, in the loader's order, which is Taichi's: entries ``index``, ``name``, ``type`` (of
    :data:`TYPES`), ``api`` (such as "1.3"), ``compute`` (whether it has a queue for it), ``atomic_add`` (whether 32-bit
    floats are added to memory by the hardware) and ``storage`` (bytes that a kernel can address in one buffer).

    Args:
        vulkan: a library with the functions of Vulkan 1.0; later ones are used where they are there.

    Raises:
        RuntimeError: the loader refuses; its code is named.
    """
    instance = _instance(vulkan)
    try:
        count = ctypes.c_uint32(MOST_DEVICES)
        handles = (ctypes.c_void_p * MOST_DEVICES)()
        _check(vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), handles), (SUCCESS, INCOMPLETE))
        return [_described(vulkan, index, ctypes.c_void_p(handles[index])) for index in range(count.value)]
    finally:
        vulkan.vkDestroyInstance(instance, None)


def _instance(vulkan: Any) -> ctypes.c_void_p:
    """Made as Taichi makes it, so that devices come in the same order."""
    count = ctypes.c_uint32(0)
    vulkan.vkEnumerateInstanceExtensionProperties(None, ctypes.byref(count), None)
    there = (_Extension * max(count.value, 1))()
    vulkan.vkEnumerateInstanceExtensionProperties(None, ctypes.byref(count), there)
    names = [entry.name for entry in there[: count.value] if entry.name in EXTENSIONS]
    array = (ctypes.c_char_p * max(len(names), 1))(*names)
    instance = ctypes.c_void_p()
    for version in (VERSION_1_3, VERSION_1_0):
        application = _Application(APPLICATION_INFO, None, b"Taichi RF", 1 << 22, b"No Engine", 1 << 22, version)
        wanted = _Instance(INSTANCE_INFO, None, 0, ctypes.pointer(application), 0, None, len(names), array)
        code = vulkan.vkCreateInstance(ctypes.byref(wanted), None, ctypes.byref(instance))
        if code != INCOMPATIBLE_DRIVER:
            break
    _check(code, (SUCCESS,))
    return instance


def _described(vulkan: Any, index: int, device: ctypes.c_void_p) -> dict[str, Any]:
    properties = ctypes.create_string_buffer(4096)
    vulkan.vkGetPhysicalDeviceProperties(device, properties)
    words = (ctypes.c_uint32 * 1024).from_buffer(properties)
    version, kind = words[0], words[4]
    return {
        "index": index,
        "name": properties.raw[_NAME : _NAME + 256].split(b"\0")[0].decode("utf-8", "replace"),
        "type": TYPES[kind] if kind < len(TYPES) else TYPES[0],
        "api": f"{version >> 22 & 0x7F}.{version >> 12 & 0x3FF}",
        "compute": _computes(vulkan, device),
        "atomic_add": _adds(vulkan, device) if version >= 1 << 22 | 1 << 12 else False,
        "storage": int(words[_STORAGE // 4]),
    }


def _computes(vulkan: Any, device: ctypes.c_void_p) -> bool:
    count = ctypes.c_uint32(MOST_DEVICES)
    queues = (_Queues * MOST_DEVICES)()
    vulkan.vkGetPhysicalDeviceQueueFamilyProperties(device, ctypes.byref(count), queues)
    return any(queue.flags & COMPUTE for queue in queues[: count.value])


def _adds(vulkan: Any, device: ctypes.c_void_p) -> bool:
    """Of a device of version 1.1 or later. A driver leaves alone what it does not know, which then stays zero."""
    if not hasattr(vulkan, "vkGetPhysicalDeviceFeatures2"):
        return False
    atomics = _Features(ATOMIC_FLOAT_FEATURES, None)
    features = _Features(FEATURES2, ctypes.cast(ctypes.pointer(atomics), ctypes.c_void_p))
    vulkan.vkGetPhysicalDeviceFeatures2(device, ctypes.byref(features))
    return bool(atomics.values[_BUFFER_ADD])


def _check(code: int, good: tuple[int, ...]) -> None:
    if code not in good:
        raise RuntimeError(f"Vulkan answers {code}")


if __name__ == "__main__":
    found = json.dumps(devices(loader()))
    with open(sys.argv[1], "w", encoding="utf-8") as answer:  # not stdout, on which drivers may print
        answer.write(found)
