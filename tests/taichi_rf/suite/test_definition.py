"""A suite's file: what it says is read, and what no suite has is refused with the nearest name."""

from __future__ import annotations

import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.suite.definition import Published, read_definition
from tests.places import ROOT

SUITES = sorted((ROOT / "suites").glob("*.toml"))


@pytest.fixture
def written(tmp_path):
    def write(text: str):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return path

    return write


def test_a_file_is_read(written):
    suite = read_definition(
        written(
            'scenes = ["lantern"]\nseeds = [3]\n[settings]\nranks.upsilon = 0.2\n[product]\nbits = [4, 6]\n'
            '[variants.a]\ncodes = "none"\n[[exclude]]\nbits = 4\n'
        )
    )
    assert (suite.name, suite.scenes, suite.seeds) == ("mine", ("lantern",), (3,))
    assert suite.settings == {"ranks": {"upsilon": 0.2}}
    assert (suite.product, suite.variants) == ({"bits": (4, 6)}, {"a": {"codes": "none"}})
    assert suite.exclude == ({"bits": 4},)


def test_published_figures_are_by_level_or_by_scene(written):
    suite = read_definition(
        written(
            '[[published]]\nname = "A"\nlevels = [2, 4]\npsnr = [20.0, 25]\nbytes = [1000, 2000]\n'
            '[[published]]\nname = "B"\nvariant = "ours"\npsnr = { lego = 30.0, average = 31.5 }\nssim = 0.5\n'
            "bytes = { average = 7 }\n"
        )
    )
    assert suite.published == (
        Published("A", "average", None, 2, 20.0, None, 1000.0),
        Published("A", "average", None, 4, 25.0, None, 2000.0),
        Published("B", "lego", "ours", None, 30.0, 0.5, None),
        Published("B", "average", "ours", None, 31.5, 0.5, 7.0),
    )


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ('scene = ["lantern"]', "a suite has no 'scene': did you mean 'scenes'?"),
        ("scenes = 3", "'scenes' should be a list of texts"),
        ("seeds = [true]", "'seeds' should be a list of whole numbers"),
        ("timed = 1", "'timed' should be true or false"),
        ("scenes = [", "not valid TOML"),
        ("[variants]\na = 3", "'variants.a' should be a table"),
        ('[[published]]\nname = "A"\nlevels = [1, 2]\npsnr = [3.0]', "A: psnr has 1 figures for 2 levels"),
        ('[[published]]\nname = "A"\npsnr = "x"', "numbers are expected"),
        ("[[published]]\npsnr = 3.0", "a published figure has no 'name'"),
        ('[[published]]\nname = "A"\nvariant = ["x"]', "'published.variant' should be text"),
        ('[[published]]\nname = "A"\nscene = "x"\npsnr = { lego = 3.0 }', "figures by scene do not go with 'scene'"),
        ('[[published]]\nname = "A"\npsnr = 1e9', "A: psnr: numbers are expected, from -1000 to 1000"),
        ('[[published]]\nname = "A"\nlevels = [0]\npsnr = [1]', "A: 'levels' should be whole numbers from 1"),
        ('name = "../x"', "'../x' is no name for a suite"),
        ('name = "a/b"', "is no name for a suite"),
        ('name = ".hidden"', "is no name for a suite"),
        ('name = "a\\u001b"', "is no name for a suite"),
        (f'name = "{"a" * 101}"', "is no name for a suite"),
        ('scenes = ["https://host/lego"]', "lies on another machine"),
        ('scenes = ["\\\\\\\\host\\\\share"]', "lies on another machine"),
        ("[settings]\nfollow_links = true", "'follow_links' is for the command line alone"),
        ("[variants.a]\nfollow-links = true", "'follow_links' is for the command line alone"),
        ("[product]\nfollow_links = [true]", "'follow_links' is for the command line alone"),
        (f"seeds = {list(range(10_001))}", "'seeds' has 10,001 entries"),
        ("levels = [2000]", "'levels' should be whole numbers from 1 to 1024"),
        (f"[settings]\na{'.a' * 900} = 1", "nested deeper than 16 levels"),
        (f"[settings]\na{'.a' * 1001} = 1", "a line with more than 1000 dots"),
        (f"levels = {'[' * 3000}{']' * 3000}", "not valid TOML"),
        ("#" * (1 << 18) + "\n", "more than a suite can be"),
    ],
)
def test_what_no_suite_has_is_refused(written, text, because):
    path = written(text)
    with pytest.raises(UserError) as error:
        read_definition(path)
    assert because in str(error.value)
    assert str(path) in str(error.value)


def test_a_file_whose_own_name_is_none_for_a_suite_is_to_say_one(tmp_path):
    path = tmp_path / ".mine.toml"
    path.write_text("")
    with pytest.raises(UserError, match="is no name for a suite"):
        read_definition(path)
    path.write_text('name = "mine"')
    assert read_definition(path).name == "mine"


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_the_suites_that_come_with_it_can_be_read_and_have_published_figures(path):
    suite = read_definition(path)
    assert suite.about
    assert suite.scenes
    assert len(suite.seeds) >= 2
    assert suite.published


def test_there_are_suites():
    assert {"slimmerf-ranks", "slimmerf-table1", "slimmerf-sparse", "vqad-bits", "vqad-levels"} <= {
        path.stem for path in SUITES
    }
