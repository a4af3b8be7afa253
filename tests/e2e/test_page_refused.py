"""A page that cannot be shown says why: its model, its code or its browser is not what it has to be."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from taichi_rf.page.writing import embedded
from tests.e2e.browsers import browser
from tests.e2e.pages import Opened
from tests.page_models import chunk_begins, page_text, spoilt, write_model


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    driver = browser(logs=True)
    yield driver
    driver.quit()


@pytest.mark.parametrize(
    ("where", "said"),
    [(3, "not a .trf"), (30, "header is damaged"), (-1, "base chunk is damaged"), (None, "WebGL2")],
)
def test_what_cannot_be_shown_is_said(where, said, chromium, tmp_path):
    path = write_model("solid", tmp_path / "model.trf")
    text, whole = page_text(path), embedded(path.read_bytes())
    if where == -1:
        path.write_bytes(path.read_bytes()[: chunk_begins(path)[1] - 1])
    elif where is not None:
        spoilt(path, where)
    page = tmp_path / "page.html"
    page.write_text(text.replace(whole, embedded(path.read_bytes())), encoding="utf-8")
    script = "HTMLCanvasElement.prototype.getContext = () => null"
    added = None
    if where is None:
        added = chromium.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})["identifier"]
    try:
        assert said in Opened(chromium, page.as_uri()).notice()
    finally:
        if added:
            chromium.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", {"identifier": added})


@pytest.mark.parametrize("wrong", ["\\", "\N{SNOWMAN}", "~~"])  # two digits of 8,280, which 13 bits do not hold
def test_a_text_that_stands_for_no_model_is_said(wrong, chromium, tmp_path):
    text = page_text(write_model("solid", tmp_path / "model.trf"))
    held = embedded((tmp_path / "model.trf").read_bytes())
    page = tmp_path / "page.html"
    page.write_text(text.replace(held, held[:100] + wrong + held[100 + len(wrong) :]), encoding="utf-8")
    assert "The model in this page is damaged" in Opened(chromium, page.as_uri()).notice()


@pytest.mark.parametrize("fault", ["a digit", "cut off", "another program", "an old browser"])
def test_a_page_whose_code_cannot_be_run_says_so(fault, chromium, tmp_path):
    text = page_text(write_model("solid", tmp_path / "model.trf"))
    before, code, behind = re.split(r'(?<=id="code">)([^<]*)', text)
    changed = {
        "a digit": code[:1000] + ("!!" if code[1000:1002] != "!!" else "##") + code[1002:],
        "cut off": code[:2000],
        "another program": embedded(
            zlib.compress(b"document.getElementById('notice-text').textContent = 'taken over'")
        ),
    }.get(fault, code)
    page, added = tmp_path / "page.html", None
    page.write_text(before + changed + behind, encoding="utf-8")
    if fault == "an old browser":
        script = "delete window.DecompressionStream"
        added = chromium.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})["identifier"]
    try:
        chromium.get(page.as_uri())
        said = {"an old browser": "needs a newer browser", "another program": "is not what it was"}
        waiting = WebDriverWait(chromium, 20)
        waiting.until(
            lambda driver: said.get(fault, "This page is damaged") in driver.find_element("id", "notice-text").text
        )
    finally:
        if added is not None:
            chromium.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", {"identifier": added})
