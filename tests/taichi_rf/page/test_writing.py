"""What the command writes: one file that needs nothing else, and refusals that say what to do."""

from __future__ import annotations

import re
import zlib

import numpy as np
import pytest

from taichi_rf.cli import page as command
from taichi_rf.cli.options import Page
from taichi_rf.core.errors import UserError
from taichi_rf.page import build
from taichi_rf.page.writing import embedded, unembedded
from taichi_rf.storage.trf import outline, read_trf
from tests.page_models import page_text, spoilt, write_model


def held(text: str) -> bytes:
    found = re.search(r'<script type="text/plain" id="model">([^<]*)</script>', text)
    assert found is not None
    return unembedded(found[1])


def own_code(text: str) -> str:
    """The script that the page holds deflated."""
    found = re.search(r'<script type="text/plain" id="code">([^<]*)</script>', text)
    assert found is not None
    return zlib.decompress(unembedded(found[1])).decode()


def test_the_page_holds_the_file_and_twice_the_same(tmp_path):
    path = write_model("compressed_tensor", tmp_path / "model.trf")
    for name in ("a.html", "b.html"):
        command.run(Page(str(path), tmp_path / name))
    text = (tmp_path / "a.html").read_text()
    assert held(text) == path.read_bytes()
    assert text == (tmp_path / "b.html").read_text()
    assert len(build.script_of("main.js")) < 150_000  # the page's own code
    assert len(text) - 1.24 * len(path.read_bytes()) < 65_000  # which is deflated
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "b.html", "model.trf"]


def test_a_level_and_a_precision_are_chosen(tmp_path):
    path = write_model("tensor", tmp_path / "model.trf")
    command.run(Page(str(path), tmp_path / "two.html", level=2, precision="as-is"))
    (tmp_path / "two.trf").write_bytes(held((tmp_path / "two.html").read_text()))
    assert read_trf(tmp_path / "two.trf").chunks == read_trf(path).chunks[:2]


def test_a_split_page_lies_beside_its_model(tmp_path):
    path = write_model("octree", tmp_path / "model.trf")
    (tmp_path / "out").mkdir()
    page = tmp_path / "out" / "web.html"
    command.run(Page(str(path), page, split=True))
    assert (tmp_path / "out" / "web.trf").read_bytes() == path.read_bytes()
    text = page.read_text()
    assert held(text) == b""
    assert '"file": "web.trf"' in text
    assert "connect-src 'self'" in text
    # an address is not a name: what a browser would read as a query, an escape or a scheme is encoded
    odd = tmp_path / "out" / "50% #1? a:b<i>.html"
    command.run(Page(str(path), odd, split=True))
    assert '"file": "50%25%20%231%3F%20a%3Ab%3Ci%3E.trf"' in odd.read_text()
    # of a model that lies there already no copy is made
    before = path.stat().st_mtime_ns
    command.run(Page(str(path), tmp_path / "model.html", split=True))
    assert path.stat().st_mtime_ns == before
    with pytest.raises(UserError, match=r"web\.html is there already: .*--overwrite"):
        command.run(Page(str(path), page, split=True))
    page.unlink()
    with pytest.raises(UserError, match=r"web\.trf is there already"):
        command.run(Page(str(path), page, split=True))
    command.run(Page(str(path), page, split=True, overwrite=True))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"output": "page.txt"}, "ends in .html"),
        ({"level": 5}, "level 5 is not in .*: choose 1 to 4"),
        ({"level": 0}, "levels start at 1"),
        ({"size": "much"}, "--size much"),
        ({"size": "1MB", "precision": "fine"}, "leave --precision"),
        ({"caption": "x" * 601}, "600 characters"),
        ({"model": "nowhere.trf"}, "does not exist"),
    ],
)
def test_what_cannot_be_written_is_refused_and_nothing_is_left(options, said, tmp_path):
    path = write_model("compressed_tensor", tmp_path / "model.trf")
    given = {"model": str(path), **options}
    output = tmp_path / given.pop("output", "page.html")
    with pytest.raises(UserError, match=said):
        command.run(Page(output=output, **given))
    assert [p.name for p in tmp_path.iterdir()] == ["model.trf"]


def test_a_damaged_model_is_refused(tmp_path):
    path = spoilt(write_model("compressed_tensor", tmp_path / "model.trf"), -5)
    with pytest.raises(UserError, match="rank|level"):
        command.run(Page(str(path), tmp_path / "page.html"))
    command.run(Page(str(path), tmp_path / "page.html", level=3))
    (tmp_path / "three.trf").write_bytes(held((tmp_path / "page.html").read_text()))
    assert len(outline(tmp_path / "three.trf")[1]) == 3


def test_the_page_evaluates_nothing_and_asks_nobody(tmp_path):
    text = page_text(write_model("solid", tmp_path / "model.trf"))
    code = re.sub(r'<script type="text/plain".*?</script>', "", text, flags=re.DOTALL) + own_code(text)
    assert own_code(text) == build.script_of("main.js")
    assert not re.findall(r"\beval\(|new Function|innerHTML|document\.write|https?://(?!www\.w3\.org/2000/svg)", code)
    assert "default-src 'none'" in code
    assert "connect-src" not in code
    for module in (build.WEB).glob("*.js"):
        assert len(module.read_text().splitlines()) <= 400, module.name


def test_modules_are_put_in_order_and_circles_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "WEB", tmp_path)
    imports = 'import {\n  b,\n} from "./b.js";\nimport c from "./c.glsl";\n'
    (tmp_path / "a.js").write_text(f'// first\n{imports}b(c); // why\nlet d = "e // f";\n')
    (tmp_path / "b.js").write_text("/** Doubles. */\nexport function b(x) {\n  return 2 * x;\n}\n")
    (tmp_path / "c.glsl").write_text('"</script>"\n')
    script = build.script_of("a.js")
    assert script.index("module_b_js =") < script.index("module_a_js =")
    assert "Doubles" not in script
    assert "first" not in script
    assert "b(c);\nlet d = " in script
    assert '"e // f"' in script
    assert "</script" not in script
    (tmp_path / "b.js").write_text('import { a } from "./a.js";\n')
    with pytest.raises(ValueError, match=r"a\.js -> b\.js -> a\.js"):
        build.script_of("a.js")


@pytest.mark.parametrize("size", range(30))
def test_bytes_of_any_number_come_back_and_end_no_element(size):
    for data in (bytes([255]) * size, bytes(size), bytes(range(size))):
        assert unembedded(embedded(data)) == data
    every = embedded(np.random.default_rng(0).bytes(1 << 16))
    assert len(every) < 1.231 * (1 << 16)
    assert "<" not in every
    assert every.isprintable()
    assert " " not in every
