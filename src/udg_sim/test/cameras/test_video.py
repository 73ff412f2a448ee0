"""Pictures and videos."""

from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pytest

from udg_description.errors import UdgError
from udg_description.layout import HOME_Q
from udg_description.transforms import make_transform, transform_points
from udg_sim.cameras.video import (
    BACKGROUND,
    SceneRenderer,
    Viewpoint,
    beside,
    captioned,
    contact_sheet,
    depth_picture,
    object_sheet,
    video_writer,
    write_png,
)
from udg_sim.objects.library import ObjectLibrary

SMALL = Viewpoint(width=160, height=120)


def test_the_target_is_in_the_middle_of_the_picture() -> None:
    camera = SMALL.camera()
    target = np.array(SMALL.target)
    pixel, above = camera.project(transform_points(camera.T_camera_world, np.array([target, target + [0, 0, 0.1]])))
    np.testing.assert_allclose(pixel, [79.5, 59.5], atol=1e-6)
    assert above[1] < pixel[1]


def test_object_robot_and_table_appear_in_the_picture() -> None:
    cube = ObjectLibrary().get("cube_60")
    T = make_transform(translation=np.array([0.6, 0.0, 0.03]))
    renderer = SceneRenderer(SMALL)
    empty, with_table = renderer.render(None, table=False), renderer.render(None)
    assert np.all(empty == np.array(BACKGROUND, dtype=np.uint8))
    assert 0.3 < np.any(with_table != empty, axis=2).mean() < 0.95
    picture = renderer.render(HOME_Q, [(cube, T)])
    camera = SMALL.camera()
    at = camera.project(transform_points(camera.T_camera_world, T[None, :3, 3]))[0].round().astype(int)
    red, _, blue = picture[at[1], at[0]].astype(int)
    assert red > blue + 40
    assert np.any(renderer.render(HOME_Q) != with_table, axis=2).mean() > 0.05


def test_the_object_throws_a_shadow() -> None:
    cube = ObjectLibrary().get("cube_60")
    floating = make_transform(translation=np.array([0.6, 0.0, 0.25]))
    renderer = SceneRenderer(SMALL)
    plain = renderer.render(None).astype(int)
    shaded = renderer.render(None, [(cube, floating)]).astype(int)
    grey = np.ptp(shaded, axis=2) < 25
    assert (grey & (shaded.sum(axis=2) < 0.8 * plain.sum(axis=2))).sum() > 20


def test_near_depth_is_yellow_and_no_depth_black() -> None:
    colours = depth_picture(np.array([[0, 700, 2200]], dtype=np.uint16))
    np.testing.assert_array_equal(colours[0, 0], [0, 0, 0])
    assert colours[0, 1, 0] > 200 and colours[0, 2, 2] > colours[0, 2, 1]


def test_depth_images_are_put_beside_and_sheets_laid_out() -> None:
    picture = np.zeros((120, 160, 3), dtype=np.uint8)
    depths = [np.full((576, 640), 1000, dtype=np.uint16)] * 2
    assert beside(picture, depths).shape == (120, 160 + 67, 3)
    assert contact_sheet([picture] * 5, columns=3, gap_px=4).shape == (244, 488, 3)
    assert captioned(picture, "bowl").any()
    with pytest.raises(UdgError, match="no pictures"):
        contact_sheet([])


def test_object_sheet_shows_each_object() -> None:
    library = ObjectLibrary()
    sheet = object_sheet([library.get("cube_60"), library.get("jar")], size_px=64)
    assert sheet.shape == (64, 132, 3)
    assert np.any(sheet[:, :64] != sheet[:, 68:])


def test_video_and_picture_are_readable_and_complete(tmp_path: Path) -> None:
    frames = [np.full((64, 81, 3), 40 * k, dtype=np.uint8) for k in range(5)]
    with video_writer(tmp_path / "a.mp4", fps=10) as video:
        for frame in frames:
            video.add(frame)
    read = [np.asarray(frame) for frame in imageio.get_reader(tmp_path / "a.mp4")]
    assert len(read) == 5 and read[0].shape == (64, 80, 3)
    assert abs(int(read[4].mean()) - 160) < 6
    write_png(tmp_path / "a.png", frames[2])
    np.testing.assert_array_equal(imageio.imread(tmp_path / "a.png"), frames[2])


def test_a_failed_video_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"), video_writer(tmp_path / "b.mp4") as video:
        video.add(np.zeros((64, 64, 3), dtype=np.uint8))
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UdgError, match="mp4"), video_writer(tmp_path / "c.avi"):
        pass


def test_impossible_viewpoints_are_refused() -> None:
    with pytest.raises(UdgError, match="above"):
        Viewpoint(eye=(0.5, 0.0, 2.0), target=(0.5, 0.0, 0.0))
