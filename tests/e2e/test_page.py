"""Pages of models in a real browser: what they show, what they say of spoilt files, and what a hand does to them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from taichi_rf.coding.arrays import pack_arrays
from taichi_rf.core.sizes import megabytes
from taichi_rf.fields.vm import factor_coding
from taichi_rf.page.build import script_of
from taichi_rf.page.writing import embedded
from tests.e2e.browsers import browser
from tests.e2e.pages import Opened, hosted
from tests.page_models import KINDS, PICTURES, SIDE, chunk_begins, page_text, spoilt, write_model

ALIKE = 60.0  # dB; half precision alone costs 70
PHONE = (390, 844)
SMALL = (160, 120)  # what is on the screen besides costs time


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    driver = browser(logs=True)
    yield driver
    driver.quit()


@pytest.fixture
def show(chromium: webdriver.Chrome, tmp_path: Path) -> Callable[..., Opened]:
    """Open the page of a model's file from the disk."""

    def show(path: Path, **options: object) -> Opened:
        caption = str(options.pop("caption", ""))
        page = tmp_path / "page.html"
        page.write_text(page_text(path, caption=caption), encoding="utf-8")
        return Opened(chromium, page.as_uri(), **options)  # type: ignore[arg-type]

    return show


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return -10 * np.log10(max(float(((a - b) ** 2).mean()), 1e-9) / 255**2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_shows_what_the_python_renderer_shows(kind, show, tmp_path):
    page = show(write_model(kind, tmp_path / "model.trf"), size=SMALL)
    state = page.loaded()
    last, times = state["levels"], state["times"]
    assert times["header"] <= times["read"] <= times["first"] <= times["loaded"]  # no picture waits for other levels
    with np.load(PICTURES) as pictures:
        for level in (1, last):
            wanted = pictures[f"{kind}.{level}"].astype(float)
            assert psnr(page.picture(level, SIDE), wanted) > ALIKE
            if kind in ("tensor", "contract"):
                assert psnr(page.picture(level, SIDE, direct=True), wanted) > ALIKE
        assert psnr(*(pictures[f"{kind}.{level}"].astype(float) for level in (1, last))) < 45  # levels do differ
    assert all(address.startswith(("file:", "about:", "data:", "blob:")) for address in page.asked_for())
    assert [entry["message"] for entry in page.driver.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_numbers_are_decoded_to_the_same_bits(chromium, tmp_path):
    """Numbers of all sizes, zeros alone and odd grids, coded by Python and decoded by the page's modules."""
    rng = np.random.default_rng(7)
    grids = [(5, 8, 3), (2, 2, 2), (17, 6, 9)]
    document = tmp_path / "modules.html"
    script = script_of("model.js") + script_of("digits.js")
    names = "{ arrays: module_arrays_js, tensor: module_tensor_js, digits: module_digits_js }"
    document.write_text(f'<!doctype html><script type="module">{script}\nwindow.parts = {names};</script>')
    page = Opened(chromium, document.as_uri())
    for grid in grids:
        texels = factor_coding.part_slices(grid)[-1].stop
        sizes = rng.choice([0, 1, 3, 40, 3000, 32767], (3, 4, 1), p=[0.1, 0.2, 0.2, 0.2, 0.2, 0.1])
        numbers = np.rint(sizes * rng.uniform(-1, 1, (3, 4, texels)) ** 3).astype(np.int32)
        steps = np.exp(rng.normal(-4, 2, (3, 4, factor_coding.PARTS))).astype(np.float16)
        levels = factor_coding.pack(numbers, steps, grid)
        basis = np.zeros((3, 3, 27), np.float16)
        chunks = [pack_arrays({**arrays, "basis": basis}, factor_coding.COMPRESSED) for arrays in levels]
        decoded = chromium.execute_async_script(
            """
            const [grid, chunks, done] = arguments;
            (async () => {
              const { arrays, tensor, digits } = window.parts;
              const field = { resolution: grid, coding: "compact" };
              const levels = new tensor.TensorLevels(field);
              const found = [];
              for (const [i, chunk] of chunks.entries()) {
                const read = await arrays.unpackArrays(
                  digits.unembedded(chunk), tensor.tensorSchema(field, i + 1), "it");
                found.push(btoa(String.fromCharCode(...new Uint8Array(levels.factors(read).buffer))));
              }
              return found;
            })().then(done, (error) => done(`${error}`));""",
            list(grid),
            [embedded(chunk) for chunk in chunks],
        )
        assert isinstance(decoded, list), decoded
        ours = np.stack([np.frombuffer(base64.b64decode(text), np.float32) for text in decoded])
        theirs = factor_coding.read(levels, grid)
        np.testing.assert_array_equal(ours.view(np.uint32), theirs.reshape(3, -1).view(np.uint32))
    assert page.script("return typeof window.parts") == "object"


def test_slider_keys_plot_and_wipe(show, tmp_path):
    psnrs = [15.0, 21.0, 24.0, 25.5]
    path = write_model("tensor", tmp_path / "model.trf", level_psnr=psnrs)
    page = show(path, caption="Drag me")
    page.sharp()
    assert "25.50 dB" in page.text()
    assert megabytes(path.stat().st_size) in page.text()
    assert "Drag me" in page.text()
    whole = page.screenshot()
    slider = page.driver.find_element(By.ID, "level")
    for _ in range(2):
        slider.send_keys(Keys.ARROW_LEFT)
    assert page.sharp()["shown"] == 2
    assert "21.00 dB" in page.text()
    width = slider.rect["width"]  # of the track, whose ends are half a handle within
    ActionChains(page.driver).move_to_element_with_offset(slider, round(12 - width / 2), 0).click().perform()
    state = page.sharp()
    assert (state["level"], state["shown"]) == (1, 1)
    first = page.screenshot()
    page.driver.find_elements(By.CSS_SELECTOR, "#curve .area")[3].click()
    assert page.sharp()["shown"] == 4
    np.testing.assert_allclose(page.screenshot(), whole, atol=2)

    page.driver.find_element(By.TAG_NAME, "body").send_keys("c")
    page.driver.find_element(By.ID, "other").send_keys(Keys.HOME)
    page.when(lambda s: s["sharp"] and s["compared"] == 1 and s["split"] == 0.5, "two levels side by side")
    line = page.driver.find_element(By.CSS_SELECTOR, "#line .knob")
    ActionChains(page.driver).click_and_hold(line).move_by_offset(-200, 0).release().perform()
    state = page.when(lambda s: s["sharp"] and abs(s["split"] - 0.25) < 0.02, "the line elsewhere")
    page.script("document.getElementById('line').style.visibility = 'hidden'; document.body.classList.add('bare')")
    # panels are gone, so that nothing is raised; the same view of both levels at the same size
    page.script("taichiRf.clear()")
    both = page.sharp() and page.screenshot()
    page.script("taichiRf.compare(); taichiRf.choose(1)")
    assert page.sharp()["shown"] == 1
    right = page.screenshot()
    page.script("taichiRf.choose(4)")
    assert page.sharp()["shown"] == 4
    left = page.screenshot()
    cut = round(800 * state["split"])
    np.testing.assert_allclose(both[:, cut + 2 :], right[:, cut + 2 :], atol=2)
    np.testing.assert_allclose(both[:, : cut - 2], left[:, : cut - 2], atol=2)
    assert np.abs(first - whole).max() > 40
    assert np.abs(left - right).max() > 40


def test_a_hand_turns_it_and_the_turntable_goes_on(show, tmp_path):
    page = show(write_model("tensor", tmp_path / "model.trf"))
    before = page.sharp()
    canvas = page.driver.find_element(By.ID, "view")
    ActionChains(page.driver).move_to_element(canvas).click_and_hold().move_by_offset(-150, 60).release().perform()
    state = page.when(lambda s: s["azimuth"] != before["azimuth"], "a turn")
    assert state["azimuth"] - before["azimuth"] == pytest.approx(np.pi * 150 / 600, abs=0.02)
    assert state["elevation"] - before["elevation"] == pytest.approx(np.pi * 60 / 600, abs=0.02)
    assert page.sharp()["frames"] > 0  # coarse ones came before the sharp one
    page.driver.find_element(By.ID, "turn").click()
    page.when(lambda s: s["turning"] and s["azimuth"] > state["azimuth"] + 0.01, "the turntable")
    page.driver.find_element(By.ID, "turn").click()
    page.driver.find_element(By.ID, "home").click()
    assert page.sharp()["azimuth"] == before["azimuth"]


def test_a_phone_shows_all_controls_and_takes_fingers(show, tmp_path):
    page = show(write_model("tensor", tmp_path / "model.trf", level_psnr=[15.0, 21.0, 24.0, 25.5]), size=PHONE)
    before = page.sharp()
    outside = page.script(
        """return [...document.querySelectorAll("#dock button, #dock input, #dock b, #name h1")].filter(part => {
             const box = part.getBoundingClientRect();
             return box.width && (box.left < 0 || box.right > innerWidth || box.top < 0 || box.bottom > innerHeight);
           }).map(part => part.id || part.tagName)"""
    )
    assert outside == []
    assert page.script("return document.documentElement.scrollWidth") == PHONE[0]

    def touch(kind: str, *places: tuple[int, int]) -> None:
        points = [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(places)]
        page.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (200, 300))
    touch("touchMove", (100, 300))
    touch("touchEnd")
    page.when(lambda s: s["azimuth"] - before["azimuth"] == pytest.approx(np.pi * 100 / 844, abs=0.02), "a turn")
    touch("touchStart", (180, 300), (220, 300))
    touch("touchMove", (140, 300), (220, 300))
    touch("touchMove", (140, 300), (260, 300))
    touch("touchEnd")
    page.when(lambda s: s["distance"] < 0.5 * before["distance"], "a pinch")


@pytest.mark.parametrize("how", ["cut", "spoilt"])
def test_of_a_damaged_file_the_good_levels_are_shown(how, show, chromium, tmp_path):
    path = write_model("compressed_tensor", tmp_path / "model.trf")
    text, begins = page_text(path), chunk_begins(path)
    whole = embedded(path.read_bytes())
    if how == "cut":
        path.write_bytes(path.read_bytes()[: begins[2] + 100])
    else:
        spoilt(path, begins[2] + 100)
    page = tmp_path / "page.html"
    page.write_text(text.replace(whole, embedded(path.read_bytes())), encoding="utf-8")
    opened = Opened(chromium, page.as_uri())
    state = opened.loaded()
    assert (state["levels"], state["total"]) == (2, 2)
    reason = "the file ends within it" if how == "cut" else "checksum"
    assert "rank 3 is damaged" in opened.toast()
    assert reason in opened.toast()
    assert opened.sharp()["shown"] == 2


@contextmanager
def graphics(chromium: webdriver.Chrome, name: str, most: int) -> Iterator[None]:
    """Pages that are opened meanwhile are told that WebGL's parameter ``name`` is ``most``."""
    source = f"""{{
        const asked = WebGL2RenderingContext.prototype.getParameter;
        WebGL2RenderingContext.prototype.getParameter = function (name) {{
            return name === this.{name} ? {most} : asked.call(this, name);
        }};
    }}"""
    added = chromium.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})["identifier"]
    try:
        yield
    finally:
        chromium.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", {"identifier": added})


@pytest.mark.parametrize(
    ("kind", "parameter", "most", "said"),
    [
        # an atlas of 5 x 5 x 5 bricks, of which only the last level has more
        ("octree", "MAX_3D_TEXTURE_SIZE", 25, "LOD 3 is too large to be shown on this device"),
        ("compressed_tensor", "MAX_UNIFORM_BLOCK_SIZE", 2 * 1008, "rank 3 is too large to be shown on this device"),
    ],
)
def test_of_a_model_that_is_too_large_for_the_device_the_levels_that_fit_are_shown(
    kind, parameter, most, said, show, chromium, tmp_path
):
    with graphics(chromium, parameter, most):
        page = show(write_model(kind, tmp_path / "model.trf"), size=SMALL)
        state = page.loaded()
        assert (state["levels"], state["total"]) == (2, 2)
        assert said in page.toast()
        assert "this shows 1 to 2" in page.toast()
        assert page.sharp()["shown"] == 2


def test_where_the_graphics_run_out_of_memory_the_levels_before_are_shown(show, chromium, tmp_path):
    source = """{
        const { texStorage3D, getError } = WebGL2RenderingContext.prototype;
        Object.assign(WebGL2RenderingContext.prototype, {
            texStorage3D(...of) { this.texels = of[3] * of[4] * of[5]; return texStorage3D.apply(this, of); },
            getError() { return this.texels > 25 ** 3 ? this.OUT_OF_MEMORY : getError.call(this); },
        });
    }"""
    added = chromium.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})["identifier"]
    try:
        page = show(write_model("octree", tmp_path / "model.trf"), size=SMALL)
        page.loaded()
        assert page.sharp()["shown"] == 2
        assert "(its graphics have not the memory for it): this shows 1 to 2" in page.toast()
        assert page.state()["total"] == 2
    finally:
        chromium.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", {"identifier": added})


def test_a_model_of_which_nothing_fits_is_refused_and_not_called_damaged(show, chromium, tmp_path):
    with graphics(chromium, "MAX_TEXTURE_SIZE", 16):
        said = show(write_model("tensor", tmp_path / "model.trf")).notice()
    assert "too large to be shown on this device: a texture would be 27 texels long, its graphics allow 16" in said
    assert "damaged" not in said


def test_sizes_in_a_header_are_known_before_memory_is_taken(chromium, tmp_path):
    """Of all levels: planes (8 bytes a texel and rank), vertices (64 bytes), cells (36; 64 more of the last)."""
    document = tmp_path / "modules.html"
    document.write_text(
        f'<!doctype html><script type="module">{script_of("model.js")}\nwindow.fitting = module_limits_js.fitting;'
        "</script>"
    )
    page = Opened(chromium, document.as_uri())

    def fits(limits: dict[str, int], field: dict[str, object], count: int) -> dict[str, object]:
        return page.driver.execute_script(
            "return fitting(arguments[0], {field: arguments[1]}, arguments[2])", limits, field, count
        )

    large = {"side": 16384, "side3": 2048, "layers": 2048, "block": 65536}
    tensor = {"kind": "vm", "resolution": [1024, 1024, 1024]}
    # a table of 256^3 bricks takes 2^28 bytes of 2^30, and three planes 3 * 2^23 a rank
    assert fits(large, tensor, 64)["levels"] == 32
    assert "1073.7 MB" in fits(large, tensor, 64)["why"]
    assert fits({**large, "layers": 20}, tensor, 64)["levels"] == 20
    assert fits({**large, "block": 16384}, tensor, 64)["levels"] == 16
    assert fits({**large, "side3": 255}, tensor, 64)["levels"] == 0
    assert fits(large, {**tensor, "resolution": [64, 64, 64]}, 64) == {"levels": 64, "why": ""}
    tree = {"kind": "octree", "base_depth": 5, "cells": [1 << 14, 1 << 17, 1 << 20, 1 << 23]}
    tree["vertices"] = [2 * cells for cells in tree["cells"]]
    # of the last level alone (64 * 2 + 36 + 64) * 2^23 bytes, 1.8 GB; of the one before an eighth, with all below
    assert fits(large, tree, 4)["levels"] == 3
    assert fits({**large, "side": 4096}, tree, 4)["levels"] == 3
    assert fits({**large, "side": 2048}, tree, 4)["levels"] == 2  # 2^21 vertices are 4096 rows of 512
    assert fits({**large, "side": 1024}, tree, 4)["levels"] == 0


def test_what_a_file_says_is_text_and_no_markup(show, tmp_path):
    name = "</title></script><img src=x onerror='document.title=1'>"
    path = write_model("tensor", tmp_path / "model.trf", scene=name, method="<b>x</b>")
    page = show(path, caption="<script>document.title = 2</script>")
    page.loaded()
    assert name in page.text()
    assert page.driver.title == name
    assert page.script("return document.images.length + document.querySelectorAll('#name b').length") == 0


@pytest.mark.parametrize("ranges", [True, False])
def test_a_split_page_fetches_what_is_wanted(ranges, chromium, tmp_path):
    name = "50% #1.trf"
    path = write_model("tensor", tmp_path / name, best_level=1)
    (tmp_path / "m.html").write_text(page_text(path, file=name), encoding="utf-8")
    begins = chunk_begins(path)
    breaks = [2000] if ranges else []  # then what lacks of the first level is asked for again
    with hosted(tmp_path, ranges=ranges, breaks=breaks) as (address, asked):
        page = Opened(chromium, f"{address}/m.html")
        assert page.sharp()["shown"] == 1
        if ranges:
            assert [part for file, part in asked if file == name][-1].endswith(f"-{begins[1] - 1}")
            assert page.state()["levels"] == 1
        page.driver.find_element(By.TAG_NAME, "body").send_keys(Keys.PAGE_DOWN)
        assert page.sharp()["shown"] == 2
        page.driver.find_element(By.TAG_NAME, "body").send_keys(Keys.END)
        assert page.sharp()["shown"] == 4
        requests = [part for file, part in asked if file == name]
        assert len(requests) == (5 if ranges else 1)
        with np.load(PICTURES) as pictures:
            assert psnr(page.picture(4, SIDE), pictures["tensor.4"].astype(float)) > ALIKE


def test_a_split_page_shows_what_is_there(chromium, tmp_path):
    path = write_model("tensor", tmp_path / "m.trf")
    page_file = tmp_path / "m.html"
    page_file.write_text(page_text(path, file="m.trf"), encoding="utf-8")
    path.write_bytes(path.read_bytes()[: chunk_begins(path)[3] + 50])
    with hosted(tmp_path) as (address, _):
        page = Opened(chromium, f"{address}/m.html")
        assert page.sharp()["shown"] == 3
        assert "rank 4 is damaged" in page.toast()
        path.unlink()
        assert "404" in Opened(chromium, f"{address}/m.html").notice()
    assert "--split" in Opened(chromium, page_file.as_uri()).notice()
