import errno
import json
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from udg_datagen.grasp_set import GraspSet
from udg_datagen.grasps import grasps as command
from udg_datagen.grasps.grasp_page import write_page
from udg_datagen.grasps.grasp_picture import draw_grasps
from udg_datagen.grasps.grasp_scene import GraspScene, arrow
from udg_datagen.grasps.grasps import GraspCommandError, _write, main
from udg_datagen.grasps.handmade import made_grasps, pressing
from udg_datagen.validation.validation import ValidationError
from udg_description.errors import UdgError
from udg_description.layout import SIDES
from udg_sim.objects.library import ObjectLibrary, ObjectModel, UnknownObjectError


@pytest.fixture(scope="module")
def box() -> ObjectModel:
    return ObjectLibrary().get("box_300")


@pytest.fixture(scope="module")
def pair(box: ObjectModel) -> GraspSet:
    x, y = np.eye(3)[:2]
    return made_grasps(box, SIDES, np.stack([pressing(box, "left", -x, y), pressing(box, "right", x, y)])[None])


def test_the_command_writes_grasps_picture_and_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            [
                "--object",
                "ball_70",
                "--strategy",
                "tripod",
                "--side",
                "left",
                "--n",
                "4",
                "--candidates",
                "16",
                "--validate",
                "lift",
                "--out",
                str(tmp_path),
            ]
        )
        == 0
    )
    printed = capsys.readouterr().out
    figures = json.loads(printed.splitlines()[-1])
    assert figures["n"] == 4 and figures["strategy"] == "tripod" and figures["sides"] == ["left"]
    assert set(figures["files"]) == {"grasps", "picture", "page"}
    assert all(Path(path).parent == tmp_path and Path(path).exists() for path in figures["files"].values())
    grasps = GraspSet.load(figures["files"]["grasps"])
    assert len(grasps) == 4 and grasps.object_id == "ball_70"
    assert list(figures["held_share"]) == list(grasps.tests) and grasps.tests[0].startswith("lift")
    assert "held lift" in printed


def test_files_of_the_same_name_are_numbered_and_no_two_objects_share_one(
    pair: GraspSet, box: ObjectModel, tmp_path: Path
) -> None:
    first = _write(pair, box, tmp_path, force=False)
    before = {path: path.read_bytes() for path in first.values()}
    second = _write(pair, box, tmp_path, force=False)
    assert {path.stem for path in second.values()} == {f"{next(iter(first.values())).stem}-2"}
    assert {path: path.read_bytes() for path in before} == before
    assert _write(pair, box, tmp_path, force=True) == first
    named = [
        replace(box, id=id)
        for id in (
            "a/杯子.obj@0.1",
            "b/瓶子.obj@0.1",
            "a/瓶子.obj@0.1",
            "a/my cup.obj@0.1",
            "a/my-cup.obj@0.1",
            "a/My Cup.obj@0.1",
        )
    ]
    stems = {next(iter(_write(pair, model, tmp_path, force=False).values())).stem for model in named}
    assert len({stem.casefold() for stem in stems}) == len(named) and not any(stem.endswith("-2") for stem in stems)


def test_a_full_disk_leaves_none_of_the_three(
    pair: GraspSet, box: ObjectModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(command, "write_page", full)
    with pytest.raises(OSError, match="No space left"):
        _write(pair, box, tmp_path, force=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (["--object", "no_such_thing"], UnknownObjectError, "not in the library"),
        (["--object", "ball_70", "--strategy", "hug"], GraspCommandError, "bimanual"),
        (["--object", "ball_70", "--side", "middle"], GraspCommandError, "left, right"),
        (["--object", "ball_70", "--pose", "77"], GraspCommandError, "resting poses 0 to"),
        (["--object", "ball_70", "--n", "0"], GraspCommandError, "at least 1"),
        (["--object", "ball_70", "--n", "9", "--candidates", "3"], GraspCommandError, "fewer"),
        (["--object", "ball_70", "--validate", "lift", "--friction", "-1"], ValidationError, "friction"),
        (["--object", "none.obj@0.1"], UdgError, "none.obj"),
    ],
)
def test_wrong_arguments_say_what_would_be_right(
    arguments: list[str], error: type[Exception], says: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=says):
        main([*arguments, "--out", str(tmp_path)])
    assert not list(tmp_path.iterdir())
    assert issubclass(error, UdgError)


def test_the_page_holds_all_that_it_shows(pair: GraspSet, box: ObjectModel, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_page(pair.with_test("lift 1 kg mu 0.6", np.array([True])), box.mesh, path)
    page = path.read_text()
    for outside in ("http://", "https://", "src=", "href=", "@import"):
        assert outside not in page
    start = page.index("const DATA = ") + len("const DATA = ")
    data = json.loads(page[start : page.index(";\n", start)])
    assert [hand["side"] for hand in data["hands"]] == list(SIDES)
    links = sum(len(hand["links"]) for hand in data["hands"])
    assert len(data["grasps"][0]["poses"]) == 4 * -(-data["frames"] * links * 16 * 4 // 3)
    assert ["lift 1 kg mu 0.6", "held"] in data["grasps"][0]["facts"]


def test_the_hands_are_drawn_at_the_object(pair: GraspSet, box: ObjectModel, tmp_path: Path) -> None:
    draw_grasps(pair, box.mesh, tmp_path / "pair.png", size_px=96)
    picture = iio.imread(tmp_path / "pair.png").astype(float)
    assert picture.shape == (96, 192, 3)
    red, blue = picture[..., 0] - picture[..., 2] > 60.0, picture[..., 2] - picture[..., 0] > 20.0
    assert red.mean() > 0.1  # the object
    assert blue.mean() > 0.005  # the left hand
    draw_grasps(pair.take(slice(0, 0)), box.mesh, tmp_path / "none.png", size_px=96)
    assert (tmp_path / "none.png").exists()


def test_the_scene_is_in_the_frame_of_the_table(pair: GraspSet, box: ObjectModel) -> None:
    scene = GraspScene(pair, box.mesh)
    assert scene.object().vertices[:, 2].min() == pytest.approx(0.0, abs=1e-3)
    for h in range(2):
        wrist = scene.link_poses(0, h)[scene.hands[h].link_names.index(f"{SIDES[h]}_hand_link")]
        np.testing.assert_allclose(wrist, pair.T_table_object @ pair.T_object_hand[0, h], atol=1e-9)
        back = scene.link_poses(0, h, "pregrasp")[0, :3, 3] - scene.link_poses(0, h, "open")[0, :3, 3]
        assert np.linalg.norm(back) == pytest.approx(pair.pregrasp_distance)
    assert scene.arrows(0) is None


def test_an_arrow_ends_at_its_tip() -> None:
    tail, tip = np.array([0.1, 0.0, 0.2]), np.array([0.1, 0.05, 0.2])
    vertices = np.asarray(arrow(tail, tip).vertices)
    along = (vertices - tail) @ (tip - tail) / 0.05
    assert along.min() == pytest.approx(0.0, abs=1e-9) and along.max() == pytest.approx(0.05)
    np.testing.assert_allclose(vertices[np.argmax(along)], tip, atol=1e-9)
