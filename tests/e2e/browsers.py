"""Starts headless Chromium for tests of pages, and waits for what such pages come to show.

A machine that lacks the browser fails these tests; ``make test`` installs it.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable

from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    MoveTargetOutOfBoundsException,
    StaleElementReferenceException,
)

PATIENCE = 90.0  # seconds; the browser draws in software, on a busy machine
FRAME = 143  # pixels of a window's height that are not the page's
# What the browser says of a part of the page that is being laid out: it is gone, covered, without size or elsewhere.
NOT_YET = (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    MoveTargetOutOfBoundsException,
    StaleElementReferenceException,
)


def browser(size: tuple[int, int] | None = None, *, logs: bool = False) -> webdriver.Chrome:
    """A browser that draws in software and reaches nothing but this computer; the caller ends it with ``quit``.

    Args:
        size: width and height of the page, in pixels.
        logs: whether it keeps lists of what pages ask for and of what their scripts complain about.
    """
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or "chromium"
    arguments = [
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ]
    if size is not None:
        arguments.append(f"--window-size={size[0]},{size[1] + FRAME}")
    for argument in arguments:
        options.add_argument(argument)
    if logs:
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    driver.set_script_timeout(120)
    return driver


def patiently(look: Callable[[], object], what: str, say: Callable[[], object] = str) -> object:
    """What ``look`` finds as soon as it finds something."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(*NOT_YET):
            found = look()
            if found:
                return found
        time.sleep(0.02)
    raise AssertionError(f"waited in vain for {what}: {say()}")
