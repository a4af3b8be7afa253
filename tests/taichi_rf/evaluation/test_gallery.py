"""The page of test views: self-contained, asking for nothing, and showing names as text whatever they are."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from taichi_rf.evaluation.gallery import SIDE, error_colours, gallery, view_of

BAD = "</h2><script>alert(1)</script><img src=https://example.com/x.png onerror='alert(2)'>\x1b[31m\u202e\""
PHOTOGRAPH = np.zeros((30, 40, 3), np.float32)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page(tmp_path, names: list[str]) -> tuple[str, Tags]:
    views = [view_of(name, 20.0 + i, 0.9, PHOTOGRAPH, PHOTOGRAPH + 0.1 * i) for i, name in enumerate(names)]
    gallery(tmp_path / "index.html", BAD, [("model", BAD)], views)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    return text, tags


def test_names_are_text_and_nothing_is_asked_for(tmp_path):
    text, tags = page(tmp_path, ["a", BAD])
    assert [tag for tag, _ in tags.tags].count("script") == 1
    assert "alert(1)" in "".join(tags.text)
    assert "\x1b" not in text
    assert "\u202e" not in text
    for tag, attributes in tags.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:"), tag
    policy = next(a["content"] for _, a in tags.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_every_view_has_photograph_picture_and_error_of_its_size(tmp_path):
    text, tags = page(tmp_path, ["a", "b"])
    images = [attributes for tag, attributes in tags.tags if tag == "img" and "src" in attributes]
    assert [image["alt"] for image in images[:3]] == ["photograph of a", "picture of a", "error of a"]
    assert len(images) == 6
    picture = Image.open(io.BytesIO(base64.b64decode((images[4]["src"] or "").split(",")[1])))
    assert picture.size == (40, 30) == (int(images[4]["width"] or 0), int(images[4]["height"] or 0))
    assert np.asarray(picture.convert("RGB")).mean() == pytest.approx(25.5, abs=3)
    assert len(re.findall(r'data-psnr="2[01]\.000000"', text)) == 2


def test_large_pictures_are_made_small_and_infinite_scores_are_a_dash():
    large = view_of("x", float("inf"), float("nan"), np.zeros((900, 1800, 3)), np.zeros((900, 1800, 3)))
    assert large.size == (SIDE, SIDE // 2)


def test_no_error_is_black_and_a_quarter_of_the_range_the_brightest():
    picture = np.zeros((1, 2, 3), np.float32)
    picture[0, 1, 1] = 0.25
    colours = error_colours(picture, np.zeros((1, 2, 3), np.float32))
    assert colours[0, 0].max() < 0.03
    assert colours[0, 1].min() > 0.7
