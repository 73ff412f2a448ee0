"""The distance grid of an object of the library is made once, and is the same afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from udg_datagen.objects.grasp_object import GraspObject
from udg_sim.objects.library import ObjectLibrary


def _no_distances(*_: object) -> None:
    raise AssertionError("the distances are computed again")


def test_the_grid_is_taken_from_the_cache_to_the_last_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UDG_CACHE", str(tmp_path))
    model = ObjectLibrary().get("cube_30")
    plain = GraspObject(model.mesh, com=np.zeros(3))
    assert not (tmp_path / "grids").exists()
    made = GraspObject.from_model(model)
    with monkeypatch.context() as patch:
        patch.setattr(GraspObject, "distance", _no_distances)
        kept = GraspObject.from_model(model)
        with pytest.raises(AssertionError, match="computed again"):
            GraspObject.from_model(ObjectLibrary().get("ball_50"))
    points = np.random.default_rng(0).uniform(-0.05, 0.05, (1000, 3))
    for other in (made, kept):
        np.testing.assert_array_equal(other.grid_distance(points), plain.grid_distance(points))
        np.testing.assert_array_equal(other.grid_gradient(points), plain.grid_gradient(points))


def test_a_damaged_grid_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UDG_CACHE", str(tmp_path))
    model = ObjectLibrary().get("cube_30")
    good = GraspObject.from_model(model).grid_distance(np.array([[0.0, 0.0, 0.02]]))
    (path,) = (tmp_path / "grids").iterdir()
    path.write_bytes(path.read_bytes()[:100])
    assert GraspObject.from_model(model).grid_distance(np.array([[0.0, 0.0, 0.02]])) == good
