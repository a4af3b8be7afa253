"""Means, spreads and averages of a suite against figures worked out by hand, and every kind of table."""

from __future__ import annotations

import csv
import json
import math

import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.suite import chart, tables
from taichi_rf.suite.definition import Published
from taichi_rf.suite.plan import FILE, Plan, PlannedRun, check_names, merged, read_plan, write_plan
from taichi_rf.suite.results import averages_over_others, changes, measured, notes, rows

# (scene, variant, seed): PSNR of level 1 and level 2
FIGURES = {
    ("a", "x", 0): (20.0, 30.0), ("a", "x", 1): (22.0, 31.0), ("a", "y", 0): (21.0, 40.0), ("a", "y", 1): (21.0, 40.0),
    ("b", "x", 0): (10.0, 20.0), ("b", "x", 1): (10.0, 21.0), ("b", "y", 0): (11.0, 30.0),
}  # fmt: skip
PUBLISHED = (
    Published("P", "average", "x", 1, 14.5, bytes=900.0, source="Table 1"),
    Published("Q|", "average", psnr=33.0, bytes=5000.0),
)


def plan_of(figures, published=PUBLISHED, **more) -> Plan:
    runs = tuple(PlannedRun(f"{s}-{v}-{n}", s, f"/data/{s}", v, n, ("--bits=4",)) for s, v, n in figures)
    return Plan("suite", runs, published=published, **more)


def written(folder, figures, shift=0.0):
    for (scene, variant, seed), psnr in figures.items():
        (folder / f"{scene}-{variant}-{seed}").mkdir(parents=True)
        levels = [
            {"level": i + 1, "psnr": None if value is None else value + shift, "ssim": 0.5, "bytes": 1000 * (i + 1)}
            for i, value in enumerate(psnr)
        ]
        metrics = {"levels": levels, "train_seconds": 10.0}
        (folder / f"{scene}-{variant}-{seed}" / "metrics.json").write_text(json.dumps(metrics))
    return folder


@pytest.fixture
def lines(tmp_path):
    folder, plan = written(tmp_path / "runs", FIGURES), plan_of([*FIGURES, ("b", "y", 1)])
    found, without = measured(folder, plan)
    assert [run.name for run in without] == ["b-y-1"]
    return rows(plan, found)


def line(lines, *key):
    return next(l for l in lines if (l.scene, l.variant, l.level) == key)


def test_means_and_spreads_are_those_of_the_seeds(lines):
    assert line(lines, "a", "x", 1).psnr == 21.0
    assert line(lines, "a", "x", 1).spread == pytest.approx(math.sqrt(2))  # of 20 and 22 about 21, over n - 1
    assert line(lines, "b", "y", 2).spread is None
    assert line(lines, "b", "y", 2).seeds == 1


def test_an_average_is_over_scenes_first_and_of_seeds_that_have_them_all(lines):
    both = line(lines, "average", "x", 1)  # seed 0: (20 + 10) / 2, seed 1: (22 + 10) / 2
    assert (both.psnr, both.spread, both.scenes) == (15.5, pytest.approx(math.sqrt(0.5)), ("a", "b"))
    assert line(lines, "average", "y", 1).psnr == 16.0  # seed 1 has no scene b
    assert line(lines, "average", "y", 1).seeds == 1


def test_averages_over_other_scenes_are_marked_and_not_compared(tmp_path):
    there = {key: value for key, value in FIGURES.items() if key != ("b", "y", 0)}  # of y, scene a alone is there
    plan = plan_of(FIGURES)
    some, every = (
        rows(plan, measured(written(tmp_path / name, figures), plan)[0])
        for name, figures in (("some", there), ("every", FIGURES))
    )
    assert (line(some, "average", "y", 1).scenes, line(some, "average", "y", 1).lacks) == (("a",), ("b",))
    assert "average of 1 of 2 scenes" in tables.markdown(plan, some)
    said = " ".join(notes(some))
    assert "The average of y is without b" in said
    assert "average: x" not in said  # 15.5 +- 0.7 over both scenes, 21 +- 0 over one
    assert "average: y" not in said
    averages = {c.new.variant for c in changes(some, every) if c.new.scene == "average"}
    assert (averages, averages_over_others(some, every)) == ({"x"}, ["y"])
    names = {name for name, ours, _ in chart._curves(some, "average") if ours}
    assert names == {"x", "y (1 of 2 scenes)"}


def test_seeds_that_have_other_scenes_are_not_mixed_into_one_average(tmp_path):
    figures = {("a", "x", 0): (20.0,), ("b", "x", 0): (10.0,), ("a", "x", 1): (30.0,), ("c", "x", 1): (40.0,)}
    plan = plan_of(figures, published=())
    average = line(rows(plan, measured(written(tmp_path, figures), plan)[0]), "average", "x", 1)
    assert (average.psnr, average.seeds, average.scenes, average.lacks) == (15.0, 1, ("a", "b"), ("c",))


def test_a_scene_without_a_psnr_leaves_its_average_without_one(tmp_path):
    figures = {("a", "x", 0): (20.0,), ("solid", "x", 0): (None,)}
    plan = plan_of(figures, published=())
    average = line(rows(plan, measured(written(tmp_path, figures), plan)[0]), "average", "x", 1)
    assert (average.psnr, average.ssim, average.scenes) == (None, 0.5, ("a", "solid"))


def test_published_figures_stand_beside_ours_or_on_their_own(lines):
    assert (line(lines, "average", "x", 1).published, line(lines, "average", "x", 2).published) == (14.5, None)
    alone = line(lines, "average", "Q|", None)
    assert (alone.published, alone.psnr, alone.ours) == (33.0, None, False)


def test_with_one_scene_a_published_average_stands_beside_it(tmp_path):
    one = {key: value for key, value in FIGURES.items() if key[0] == "a"}
    plan = plan_of(one)
    found = rows(plan, measured(written(tmp_path, one), plan)[0])
    assert line(found, "a", "x", 1).published == 14.5
    assert [l.variant for l in found if l.scene == "average"] == ["Q|"]


def test_chosen_levels_and_the_highest_are_shown(tmp_path):
    plan = plan_of(FIGURES)
    found = rows(plan, measured(written(tmp_path, FIGURES), plan)[0], [2])
    assert {l.level for l in found if l.ours} == {2}


def test_spreads_that_overlap_are_said(lines):
    said = " ".join(notes(lines))
    assert "a: x is not told from y at level 1" in said  # 21 +- 1.41 and 21
    assert "level 2" not in said.replace("levels", "")
    assert "single seed" in said


def test_the_same_figures_come_out_of_every_kind_of_table(lines):
    plan = plan_of(FIGURES, reduced=("--downscale 4",))
    text = tables.markdown(plan, lines)
    assert "with --downscale 4" in text
    assert "| average of 2 | x | 1 | 15.50 ± 0.71 |" in text
    assert "Q\\|" in text
    table = list(csv.DictReader(tables.comma_separated(lines).splitlines()))
    assert float(next(r for r in table if (r["scene"], r["variant"], r["level"]) == ("a", "x", "1"))["psnr"]) == 21.0
    assert r"15.50 $\pm$ 0.71" in tables.latex(plan, lines)
    assert json.loads(tables.as_json(plan, lines))["rows"][0]["psnr"] == 21.0


def test_a_chart_is_drawn_and_an_empty_one_refused(lines):
    picture = chart.draw(["suite", "about"], lines)
    assert picture.width == chart.WIDTH
    colours = {colour for _, colour in picture.getcolors(1 << 24)}
    assert {(0x21, 0x58, 0xD6), (0xD9, 0x56, 0x0B)} <= colours
    with pytest.raises(UserError, match="nothing to draw"):
        chart.draw(["suite"], [l for l in lines if not l.ours and l.psnr])


def test_what_got_worse_is_found(tmp_path):
    plan = plan_of(FIGURES)
    old = rows(plan, measured(written(tmp_path / "old", FIGURES), plan)[0])
    new = rows(plan, measured(written(tmp_path / "new", FIGURES, shift=-1.5), plan)[0])
    found = {(c.new.scene, c.new.variant, c.new.level): c.verdict for c in changes(old, new)}
    assert found["a", "y", 1] == "worse"  # no spread
    assert found["a", "x", 1] == "same"  # spreads of 1.41 each
    assert {c.verdict for c in changes(old, old)} == {"same"}


def test_a_plan_survives_its_file_and_spoilt_ones_are_refused(tmp_path):
    plan = plan_of(FIGURES, levels=(1, 2), absent=("lego",))
    write_plan(tmp_path, plan)
    assert read_plan(tmp_path) == plan
    values = json.loads((tmp_path / FILE).read_text())
    for key, value in (
        ("format", 0),
        ("runs", 3),
        ("runs", [{**values["runs"][0], "name": "../x"}]),
        ("levels", ["1"]),
    ):
        (tmp_path / FILE).write_text(json.dumps({**values, key: value}))
        with pytest.raises(UserError):
            read_plan(tmp_path)
    with pytest.raises(UserError, match="not the folder of a suite"):
        read_plan(tmp_path / "nowhere")


def test_runs_that_would_share_a_folder_and_runs_made_otherwise_are_refused():
    run = PlannedRun("lego-x", "lego", "/lego", "x", 0, ())
    with pytest.raises(UserError, match="would share the folder LEGO-X"):
        check_names([run, PlannedRun("LEGO-X", "LEGO", "/LEGO", "x", 0, ())])
    old, new = Plan("s", (run,)), Plan("s", (PlannedRun("lego-x", "lego", "/lego", "x", 0, ("--bits=4",)),))
    assert merged(new, old, []) == new  # nothing is there yet
    with pytest.raises(UserError, match="was made otherwise"):
        merged(new, old, ["lego-x"])
