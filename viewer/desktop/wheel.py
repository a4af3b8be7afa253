"""The mouse's wheel, which GGUI takes for its own panels and tells nobody about, and keys that it does not know.

An X server tells everybody who asks for raw events (XInput 2) when a wheel is turned or a key pressed, so a connection
of our own asks. Where there is no X11, or no libXi, :attr:`Wheel.works` says so, and the window shows buttons instead.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys
from ctypes import POINTER, byref, c_char_p, c_int, c_long, c_ubyte, c_uint, c_ulong, c_void_p
from typing import Any

_GENERIC_EVENT, _RAW_KEY_PRESS, _RAW_BUTTON_PRESS, _ALL_MASTERS = 35, 13, 15, 1  # of X.h and XI2.h
_FORWARDS, _BACKWARDS = 4, 5  # as which buttons a wheel is reported
_PAGES = ((0xFF55, -1), (0xFF56, 1))  # Page Up and Page Down, of keysymdef.h, and how far they turn
_POINTER_ROOT = 1  # who has the keyboard where it follows the pointer
_DEEPEST = 16  # windows within windows, under the pointer


class _Mask(ctypes.Structure):
    _fields_ = [("device", c_int), ("length", c_int), ("mask", POINTER(c_ubyte))]


class _Cookie(ctypes.Structure):
    """XGenericEventCookie, as large as Xlib's largest event."""

    _fields_ = [
        ("type", c_int), ("serial", c_ulong), ("sent", c_int), ("display", c_void_p), ("extension", c_int),
        ("kind", c_int), ("cookie", c_uint), ("data", c_void_p), ("padding", c_long * 24),
    ]  # fmt: skip


class _RawEvent(ctypes.Structure):
    """The beginning of XIRawEvent."""

    _fields_ = [
        ("type", c_int), ("serial", c_ulong), ("sent", c_int), ("display", c_void_p), ("extension", c_int),
        ("kind", c_int), ("time", c_ulong), ("device", c_int), ("source", c_int), ("detail", c_int),
    ]  # fmt: skip


_Handler = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p)


@_Handler
def _overlook(display: int | None, event: int | None) -> int:
    """A window that is looked at may be gone by now; Xlib would end the process for that."""
    return 0


class Wheel:
    """How far the wheel was turned over a window of this process since somebody asked. One for a process."""

    def __init__(self) -> None:
        self.works = False
        """Whether turning the wheel is told."""
        self._clicks = self._pages = 0
        if not sys.platform.startswith("linux"):
            return
        try:
            self._x11 = ctypes.CDLL(ctypes.util.find_library("X11") or "libX11.so.6")
            self._xi = ctypes.CDLL(ctypes.util.find_library("Xi") or "libXi.so.6")
        except OSError:
            return
        _declare(self._x11, self._xi)
        self._display = self._x11.XOpenDisplay(None)
        if not self._display:
            return
        self._x11.XSetErrorHandler(_overlook)
        opcode, unused, major, minor = c_int(), c_int(), c_int(2), c_int(0)
        found = self._x11.XQueryExtension(
            self._display, b"XInputExtension", byref(opcode), byref(unused), byref(unused)
        )
        if not found or self._xi.XIQueryVersion(self._display, byref(major), byref(minor)):
            return
        self._root, self._opcode = self._x11.XDefaultRootWindow(self._display), opcode.value
        self._pid = self._x11.XInternAtom(self._display, b"_NET_WM_PID", 0)
        bits = (c_ubyte * 4)()
        for kind in (_RAW_KEY_PRESS, _RAW_BUTTON_PRESS):
            bits[kind // 8] |= 1 << kind % 8
        self._steps = {self._x11.XKeysymToKeycode(self._display, key): step for key, step in _PAGES}
        mask = _Mask(_ALL_MASTERS, len(bits), ctypes.cast(bits, POINTER(c_ubyte)))
        self._xi.XISelectEvents(self._display, self._root, byref(mask), 1)
        self._x11.XFlush(self._display)
        self.works = True

    @property
    def turned(self) -> bool:
        """Whether there is something to :meth:`take`."""
        self._listen()
        return self._clicks != 0 or self._pages != 0

    def take(self) -> int:
        """Clicks of the wheel since the last time: forwards counts up, backwards down."""
        self._listen()
        clicks, self._clicks = self._clicks, 0
        return clicks

    def take_pages(self) -> int:
        """Pages turned since the last time: Page Down counts up, Page Up down. GGUI does not tell of these keys, which
        are all that a presenter's remote has."""
        self._listen()
        pages, self._pages = self._pages, 0
        return pages

    def _listen(self) -> None:
        if not self.works:
            return
        cookie = _Cookie()
        while self._x11.XPending(self._display):
            self._x11.XNextEvent(self._display, byref(cookie))
            if (cookie.type, cookie.extension) != (_GENERIC_EVENT, self._opcode):
                continue
            if not self._x11.XGetEventData(self._display, byref(cookie)):
                continue
            event = ctypes.cast(cookie.data, POINTER(_RawEvent)).contents
            kind, detail = event.kind, event.detail
            self._x11.XFreeEventData(self._display, byref(cookie))
            if kind == _RAW_KEY_PRESS:
                if detail in self._steps and self._has_keyboard():
                    self._pages += self._steps[detail]
            elif detail in (_FORWARDS, _BACKWARDS) and self._over_ours():
                self._clicks += 1 if detail == _FORWARDS else -1

    def _over_ours(self) -> bool:
        """Whether the pointer is over a window of this process, and not over one that lies on it."""
        window, child = self._root, c_ulong()
        unused, root, bits = c_int(), c_ulong(), c_uint()
        for _ in range(_DEEPEST):
            there = self._x11.XQueryPointer(
                self._display, window, byref(root), byref(child), *[byref(unused)] * 4, byref(bits)
            )
            if not there or not child.value:
                return False
            window = child.value
            if self._owner(window) == os.getpid():
                return True
        return False

    def _has_keyboard(self) -> bool:
        """Whether what is typed goes to a window of this process."""
        window, unused = c_ulong(), c_int()
        self._x11.XGetInputFocus(self._display, byref(window), byref(unused))
        if window.value <= _POINTER_ROOT:
            return window.value == _POINTER_ROOT and self._over_ours()
        return self._owner(window.value) == os.getpid()

    def _owner(self, window: int) -> int | None:
        """The process that says of a window that it is its own."""
        kind, form, count, after, value = c_ulong(), c_int(), c_ulong(), c_ulong(), c_void_p()
        failed = self._x11.XGetWindowProperty(
            self._display, window, self._pid, 0, 1, 0, 0, byref(kind), byref(form), byref(count), byref(after),
            byref(value),
        )  # fmt: skip
        if failed or not value.value:
            return None
        found = ctypes.cast(value, POINTER(c_ulong)).contents.value if form.value == 32 and count.value else None
        self._x11.XFree(value)
        return found


def _declare(x11: Any, xi: Any) -> None:
    """Tell ctypes what is no int: pointers and numbers of windows."""
    x11.XOpenDisplay.restype, x11.XOpenDisplay.argtypes = c_void_p, [c_char_p]
    x11.XDefaultRootWindow.restype, x11.XDefaultRootWindow.argtypes = c_ulong, [c_void_p]
    x11.XInternAtom.restype, x11.XInternAtom.argtypes = c_ulong, [c_void_p, c_char_p, c_int]
    for function in (x11.XPending, x11.XFlush):
        function.argtypes = [c_void_p]
    for function in (x11.XNextEvent, x11.XGetEventData, x11.XFreeEventData):
        function.argtypes = [c_void_p, c_void_p]
    x11.XFree.argtypes, x11.XSetErrorHandler.argtypes = [c_void_p], [_Handler]
    x11.XSetErrorHandler.restype = c_void_p
    x11.XQueryExtension.argtypes = [c_void_p, c_char_p, c_void_p, c_void_p, c_void_p]
    x11.XQueryPointer.argtypes = [c_void_p, c_ulong, *[c_void_p] * 7]
    x11.XGetWindowProperty.argtypes = [
        c_void_p, c_ulong, c_ulong, c_long, c_long, c_int, c_ulong, *[c_void_p] * 5,
    ]  # fmt: skip
    x11.XKeysymToKeycode.restype, x11.XKeysymToKeycode.argtypes = c_ubyte, [c_void_p, c_ulong]
    x11.XGetInputFocus.argtypes = [c_void_p, c_void_p, c_void_p]
    xi.XIQueryVersion.argtypes = [c_void_p, c_void_p, c_void_p]
    xi.XISelectEvents.argtypes = [c_void_p, c_ulong, c_void_p, c_int]
