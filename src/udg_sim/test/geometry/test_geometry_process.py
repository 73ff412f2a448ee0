"""Work on a user's geometry in another process: results, refusals and limits come back as they should."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from udg_description.errors import UdgError
from udg_sim.geometry.geometry_process import LimitError, run_job


def test_convex_parts_come_back(capfd: pytest.CaptureFixture[str]) -> None:
    box = trimesh.creation.box((1.0, 0.5, 0.3))
    inputs = {"vertices": np.asarray(box.vertices), "faces": np.asarray(box.faces), "method": np.array("coarse")}
    parts = run_job("parts", inputs, "box", aloud=False)
    assert len(parts) == 1
    assert trimesh.Trimesh(parts["part_0"], process=False).convex_hull.volume == pytest.approx(0.15, rel=1e-3)
    assert capfd.readouterr().err == ""


def test_a_refusal_is_the_same_line_as_in_this_process(tmp_path: Path) -> None:
    path = tmp_path / "flat.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nf 1 2 3\n")
    with pytest.raises(UdgError, match=r"^mesh .*flat.obj: is flat, it has no volume; a solid is needed$"):
        run_job("solid", {"path": np.array(str(path)), "all_bodies": np.array(False)}, "flat")


def test_what_takes_too_long_or_fails_is_named() -> None:
    ball = trimesh.creation.icosphere(subdivisions=6)
    inputs = {"vertices": np.asarray(ball.vertices), "faces": np.asarray(ball.faces)}
    with pytest.raises(LimitError, match="^its poses took longer than 1 s; a simpler mesh is needed$"):
        run_job("poses", inputs, "its poses", limit_s=1.0)
    with pytest.raises(LimitError, match="^its poses failed .*; a cleaner mesh is needed$"):
        run_job("poses", {"vertices": inputs["vertices"]}, "its poses")
