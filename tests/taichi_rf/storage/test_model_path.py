"""Which file is meant by the name of a model."""

from __future__ import annotations

import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.storage.model_file import model_path


def test_run_folder_means_the_model_in_it(tmp_path):
    (tmp_path / "model.trf").write_bytes(b"")
    assert model_path(tmp_path) == tmp_path / "model.trf" == model_path(tmp_path / "model.trf")


def test_missing_model_is_the_users_error(tmp_path):
    with pytest.raises(UserError, match="holds no model.trf"):
        model_path(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        model_path(tmp_path / "nothing.trf")
