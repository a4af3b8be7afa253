"""What README and docs name is there: modules, scripts and pictures."""

from __future__ import annotations

import re

import pytest

from tests.places import ROOT

DOCUMENTS = (
    "README.md", "docs/design.md", "docs/going-on.md", "docs/mesh.md", "docs/page.md", "docs/rendering.md",
    "docs/results.md", "docs/slimming.md", "docs/suites.md",
)  # fmt: skip
ELSEWHERE = ("", "taichi_rf/", "taichi_rf/training/", "docs/")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_modules_that_a_document_names_are_there(name):
    text = (ROOT / name).read_text()
    missing = [
        path
        for path in re.findall(r"`([\w/]+\.py)`", text)
        if "NAME" not in path and not any((ROOT / folder / path).is_file() for folder in ELSEWHERE)
    ]
    assert not missing


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_within_the_project_lead_somewhere(name):
    text, folder = (ROOT / name).read_text(), (ROOT / name).parent
    for target in re.findall(r"\]\(([^)#]+)", text):
        if not target.startswith("http"):
            assert (folder / target).exists(), target


def test_the_packages_that_the_design_lists_are_those_there_are():
    listed = set(re.findall(r"`((?:taichi_rf|viewer)/\w+)`", (ROOT / "docs/design.md").read_text()))
    there = {
        f"{root}/{path.name}"
        for root in ("taichi_rf", "viewer")
        for path in (ROOT / root).iterdir()
        if (path / "__init__.py").exists()
    }
    assert there <= listed


def test_no_module_is_longer_than_400_lines():
    long = {
        str(path.relative_to(ROOT)): count
        for root in ("taichi_rf", "viewer", "scenes", "tests", "examples")
        for path in (ROOT / root).rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 400
    }
    assert not long


def test_no_package_has_more_than_16_modules_and_none_begins_with_logic():
    for root in ("taichi_rf", "viewer", "scenes"):
        for package in (ROOT / root).rglob("__init__.py"):
            assert len(list(package.parent.glob("*.py"))) <= 17, package.parent  # __init__ among them
            assert not re.search(r"^\s*(def|class|if|for|while) ", package.read_text(), re.MULTILINE), package
