"""Cameras' poses from rendered robots and boards, against the truth. Asked for: 2 mm and 0.2 degrees."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml

from udg_description.arm_kinematics import arm_ik
from udg_description.camera import CameraModel, cameras_yaml, default_cameras, read_cameras
from udg_description.layout import HOME_Q, SIDES, part_indices
from udg_description.limits import joint_limits
from udg_description.transforms import inverse, make_transform, rotvec_to_matrix
from udg_perception.calibration.__main__ import main
from udg_perception.calibration.board import BoardCalibration, BoardConfig
from udg_perception.calibration.observations import (
    Observation,
    read_observations,
    with_told_intrinsics,
    write_observation,
)
from udg_perception.calibration.result import CameraCalibration, difference, write_calibration
from udg_perception.calibration.robot import RobotRegistration
from udg_perception.errors import CalibrationError

depth_module = pytest.importorskip("udg_sim.cameras.depth", reason="needs udg_sim for its depth cameras")
cv2 = pytest.importorskip("cv2", reason="needs OpenCV")

ARMS = (part_indices("left_arm"), part_indices("right_arm"))
MAX_MM, MAX_DEG = 2.0, 0.2


def moved(T: np.ndarray, shift_m: float, turn_deg: float, rng: np.random.Generator) -> np.ndarray:
    """A pose that far away, in random directions."""
    axis, direction = (vector / np.linalg.norm(vector) for vector in rng.normal(size=(2, 3)))
    turned = rotvec_to_matrix(np.deg2rad(turn_deg) * axis) @ T[:3, :3]
    return make_transform(turned, T[:3, 3] + shift_m * direction)


# --- by the robot -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def truth() -> tuple[CameraModel, ...]:
    """Where the cameras really are: 4 cm and 3 degrees from where they should be."""
    rng = np.random.default_rng(4)
    return tuple(camera.with_pose(moved(camera.T_world_camera, 0.04, 3.0, rng)) for camera in default_cameras())


@pytest.fixture(scope="module")
def observations(truth: tuple[CameraModel, ...]) -> list[Observation]:
    rng = np.random.default_rng(1)
    rig = depth_module.DepthRig(truth, noise=depth_module.KinectNoise(), seed=2)
    found = []
    for _ in range(8):
        q = np.array(HOME_Q)
        for arm in ARMS:
            q[arm] += rng.uniform(-0.35, 0.35, 6)
        q = joint_limits().clip(q)
        found.append(Observation(q=q, depth_mm=dict(zip(SIDES, rig.render(q), strict=True))))
    return found


@pytest.mark.parametrize("index", [0, 1])
def test_the_robot_tells_where_a_camera_is(
    truth: tuple[CameraModel, ...], observations: list[Observation], index: int
) -> None:
    start = default_cameras()[index]
    result = RobotRegistration().calibrate(observations, start, SIDES[index])
    error_mm, error_deg = difference(result.camera.T_world_camera, truth[index].T_world_camera)
    print(f"{start.name}: {error_mm:.2f} mm, {error_deg:.3f} deg off the truth; {dict(result.residuals)}")
    assert error_mm < MAX_MM and error_deg < MAX_DEG, (error_mm, error_deg)
    assert result.residuals["moved_mm"] == pytest.approx(40.0, abs=MAX_MM)
    assert result.residuals["rms_mm"] < 4.0 and result.residuals["explained"] > 0.9


def test_swapped_cameras_are_refused(observations: list[Observation]) -> None:
    swapped = [
        Observation(q=observation.q, depth_mm={"left": observation.depth_mm["right"]}) for observation in observations
    ]
    with pytest.raises(CalibrationError, match="left_camera: calibration refused"):
        RobotRegistration().calibrate(swapped, default_cameras()[0], "left")


def test_joint_angles_of_other_poses_are_refused(observations: list[Observation]) -> None:
    mixed = [
        Observation(q=other.q, depth_mm=observation.depth_mm)
        for observation, other in zip(observations, observations[1:] + observations[:1], strict=True)
    ]
    with pytest.raises(CalibrationError, match="refused"):
        RobotRegistration().calibrate(mixed, default_cameras()[0], "left")


def test_too_few_poses_are_refused(observations: list[Observation]) -> None:
    with pytest.raises(CalibrationError, match="5 poses.*at least 6"):
        RobotRegistration().calibrate(observations[:5], default_cameras()[0], "left")


def test_poses_without_the_robot_in_view_do_not_count(observations: list[Observation]) -> None:
    empty = np.zeros_like(observations[0].depth_mm["left"])
    blind = [Observation(q=o.q, depth_mm={"left": empty}) for o in observations[:5]]
    with pytest.raises(CalibrationError, match="3 of 8 poses show the robot .at least 6."):
        RobotRegistration().calibrate([*blind, *observations[5:]], default_cameras()[0], "left")


def test_the_intrinsics_are_those_that_the_camera_told(
    tmp_path: Path, truth: tuple[CameraModel, ...], observations: list[Observation]
) -> None:
    """The file's would cost several millimetres; perception takes the camera's own, too."""
    path, folder = tmp_path / "cameras.yaml", tmp_path / "poses"
    file = [dataclasses.replace(camera, fx=1.03 * camera.fx, cx=camera.cx + 4.0) for camera in default_cameras()]
    path.write_text(cameras_yaml(file))
    told = {side: camera.intrinsics for side, camera in zip(SIDES, truth, strict=True)}
    for observation in observations:
        write_observation(folder, dataclasses.replace(observation, intrinsics=told))
    assert main(["robot", str(folder), "--cameras", str(path), "--camera", "left_camera"]) == 0
    left, right = read_cameras(path)
    assert difference(left.T_world_camera, truth[0].T_world_camera)[0] < MAX_MM
    assert (left.fx, left.cx, left.distortion) == (truth[0].fx, truth[0].cx, truth[0].distortion)
    assert right.fx == pytest.approx(file[1].fx)  # not calibrated: as it was


def test_poses_of_two_cameras_in_one_folder_are_refused(observations: list[Observation]) -> None:
    one, other = default_cameras()[0], dataclasses.replace(default_cameras()[0], fx=600.0)
    mixed = [
        dataclasses.replace(observation, intrinsics={"left": camera.intrinsics})
        for observation, camera in zip(observations, [one, other] * 4, strict=True)
    ]
    with pytest.raises(CalibrationError, match="left_camera: the poses were seen by 2 cameras.*600"):
        with_told_intrinsics(one, mixed)
    assert with_told_intrinsics(one, observations) is one  # told nothing


# --- by a board -------------------------------------------------------------------------------------------------------

BOARD = BoardCalibration(BoardConfig())
T_FLANGE_BOARD = make_transform(rotvec_to_matrix(np.array([0.1, -0.2, 0.3])), np.array([-0.15, -0.1, 0.12]))


def infrared_of(camera: CameraModel, T_world_board: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Infrared image (H, W) uint16 of the board before a dark room, with noise."""
    px_per_m, margin_px = 2000, 20
    size = tuple(round(px_per_m * count * BOARD.config.square_m) for count in BOARD.config.squares)
    texture = np.pad(BOARD.board.generateImage(size, marginSize=0), margin_px, constant_values=255)
    T_board_camera = inverse(T_world_board) @ camera.T_world_camera
    rays = camera.rays() @ T_board_camera[:3, :3].T
    points = T_board_camera[:3, 3] + rays * (-T_board_camera[2, 3] / rays[..., 2])[..., None]
    pixels = (points[..., :2] * px_per_m - 0.5 + margin_px).astype(np.float32)
    smooth = cv2.GaussianBlur(texture, (0, 0), 1.2)
    image = cv2.remap(smooth, pixels[..., 0], pixels[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.clip(8.0 * image + rng.normal(0.0, 30.0, image.shape), 0, 65535).astype(np.uint16)


@pytest.fixture(scope="module")
def board_observations(truth: tuple[CameraModel, ...]) -> list[Observation]:
    """The left arm shows the board to the left camera."""
    rng = np.random.default_rng(8)
    camera, found = truth[0], []
    centre_board = 0.5 * BOARD.config.square_m * np.array([*BOARD.config.squares, 0.0])
    for _ in range(400):
        if len(found) == 12:
            break
        in_camera = make_transform(
            rotvec_to_matrix(rng.uniform(-0.6, 0.6, 3)),
            np.array([*rng.uniform(-0.15, 0.15, 2), rng.uniform(0.7, 0.95)]),
        )
        T_world_board = camera.T_world_camera @ in_camera @ make_transform(None, -centre_board)
        solutions = arm_ik("left", T_world_board @ inverse(T_FLANGE_BOARD))
        if len(solutions):
            q = np.array(HOME_Q)
            q[ARMS[0]] = solutions[0]
            found.append(Observation(q=q, infrared={"left": infrared_of(camera, T_world_board, rng)}))
    assert len(found) == 12
    return found


def test_the_board_tells_where_the_camera_is(
    truth: tuple[CameraModel, ...], board_observations: list[Observation]
) -> None:
    result = BOARD.calibrate(board_observations, default_cameras()[0], "left", "left")
    error_mm, error_deg = difference(result.camera.T_world_camera, truth[0].T_world_camera)
    assert error_mm < MAX_MM and error_deg < MAX_DEG, (error_mm, error_deg, result.residuals)
    print(f"board: {error_mm:.2f} mm, {error_deg:.3f} deg off the truth; {dict(result.residuals)}")
    assert result.residuals["rms_px"] < 0.5 and result.residuals["poses"] >= 10


def test_a_board_that_slips_is_refused(board_observations: list[Observation]) -> None:
    slipped = []
    for index, observation in enumerate(board_observations):
        q = np.array(observation.q)
        q[5] += 0.1 * (index % 3)  # the wrist turns, the board in the hand does not
        slipped.append(Observation(q=q, infrared=observation.infrared))
    with pytest.raises(CalibrationError, match="refused"):
        BOARD.calibrate(slipped, default_cameras()[0], "left", "left")


def test_a_board_that_is_hardly_seen_or_not_turned_is_refused(board_observations: list[Observation]) -> None:
    with pytest.raises(CalibrationError, match="seen in 3 of 3 poses"):
        BOARD.calibrate(board_observations[:3], default_cameras()[0], "left", "left")
    with pytest.raises(CalibrationError, match="tilt it"):
        BOARD.calibrate(board_observations[:1] * 9, default_cameras()[0], "left", "left")
    with pytest.raises(CalibrationError, match="DICT_9"):
        BoardCalibration(BoardConfig(dictionary="DICT_9"))


# --- files and the command --------------------------------------------------------------------------------------------


def test_the_command_writes_poses_and_residuals_or_nothing(
    tmp_path: Path,
    truth: tuple[CameraModel, ...],
    board_observations: list[Observation],
) -> None:
    path, folder = tmp_path / "cameras.yaml", tmp_path / "poses"
    path.write_text(cameras_yaml(default_cameras()))
    for observation in board_observations[:9]:
        write_observation(folder, observation)
    before = path.read_bytes()
    command = ["board", str(folder), "--cameras", str(path)]
    with pytest.raises(CalibrationError, match="right_camera"):  # it has not seen the board
        main(command)
    assert path.read_bytes() == before
    assert main([*command, "--camera", "left_camera"]) == 0
    left, right = read_cameras(path)
    assert difference(left.T_world_camera, truth[0].T_world_camera)[0] < MAX_MM
    assert np.array_equal(right.T_world_camera, default_cameras()[1].T_world_camera)
    section = yaml.safe_load(path.read_text())["calibration"]
    assert section["left_camera"]["method"] == "board" and section["left_camera"]["rms_px"] < 1.0
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["cameras.yaml"]


def test_residuals_of_the_other_camera_are_kept(tmp_path: Path) -> None:
    path, cameras = tmp_path / "cameras.yaml", default_cameras()
    for camera in cameras:
        write_calibration(path, cameras, [CameraCalibration(camera=camera, method="robot", residuals={"rms_mm": 1.0})])
    assert set(yaml.safe_load(path.read_text())["calibration"]) == {"left_camera", "right_camera"}


def test_observations_survive_the_disk_and_foreign_files_are_named(tmp_path: Path) -> None:
    depth_mm = np.arange(6, dtype=np.uint16).reshape(2, 3)
    told = {"left": default_cameras()[0].intrinsics}
    write_observation(
        tmp_path, Observation(q=HOME_Q, depth_mm={"left": depth_mm}, infrared={"right": depth_mm}, intrinsics=told)
    )
    write_observation(tmp_path, Observation(q=HOME_Q))
    first, second = read_observations(tmp_path)
    assert np.array_equal(first.depth_mm["left"], depth_mm) and np.array_equal(first.infrared["right"], depth_mm)
    assert np.array_equal(first.q, HOME_Q) and not second.depth_mm
    assert np.array_equal(first.intrinsics["left"], told["left"]) and not second.intrinsics
    (tmp_path / "002.npz").write_bytes(b"nothing")
    with pytest.raises(CalibrationError, match="002.npz"):
        read_observations(tmp_path)
    with pytest.raises(CalibrationError, match="no observations"):
        read_observations(tmp_path / "empty")
