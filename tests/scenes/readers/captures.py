"""Where the real captures are."""

from __future__ import annotations

from tests.places import DATA


def real(name: str) -> str:
    folder = DATA / name
    assert folder.is_dir(), f"test data '{folder}' is missing: set TAICHI_RF_DATA to the folder that holds {name}"
    return str(folder)
