"""Find the cameras' poses from a folder of observations and write config/cameras.yaml.

udg calibrate robot FOLDER            by the robot that the cameras see
udg calibrate board FOLDER            by a ChArUco board in the hand of an arm
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from udg_description.camera import CameraModel, read_cameras
from udg_description.errors import cli
from udg_description.files import check_file, user_path
from udg_description.layout import SIDES, Side
from udg_perception.calibration.board import BoardCalibration, BoardConfig
from udg_perception.calibration.observations import read_observations, with_told_intrinsics
from udg_perception.calibration.result import CameraCalibration, write_calibration
from udg_perception.calibration.robot import RobotRegistration
from udg_perception.errors import CalibrationError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; a calibration that is refused is an error, and then nothing is written."""
    parser = argparse.ArgumentParser(description="Cameras' poses; refused, and nothing written, when they are bad.")
    parser.add_argument("method", choices=("robot", "board"))
    parser.add_argument("folder", type=user_path, help="observations, of kinect_capture")
    parser.add_argument("--cameras", type=user_path, default=Path("config/cameras.yaml"), help="start and result")
    parser.add_argument("--camera", action="append", help="only this camera, by name (repeatable; default: all)")
    parser.add_argument("--arm", choices=SIDES, help="board: the arm that holds it (default: that of left or right)")
    parser.add_argument("--squares", type=int, nargs=2, default=BoardConfig.squares, metavar=("X", "Y"))
    parser.add_argument("--square-m", type=float, default=BoardConfig.square_m)
    parser.add_argument("--marker-m", type=float, default=BoardConfig.marker_m)
    parser.add_argument("--dry-run", action="store_true", help="write nothing")
    arguments = parser.parse_args(argv)
    if not arguments.dry_run:
        check_file(arguments.cameras, force=True)
    calibrations = _calibrate(arguments)
    for calibration in calibrations:
        residuals = ", ".join(f"{name} {value:.3g}" for name, value in calibration.residuals.items())
        print(f"{calibration.camera.name}: {residuals}")
    print("nothing written (--dry-run)" if arguments.dry_run else f"written: {arguments.cameras}")
    return 0


def _calibrate(arguments: argparse.Namespace) -> list[CameraCalibration]:
    cameras = read_cameras(arguments.cameras)
    by_name = {camera.name: camera for camera in cameras}
    for name in arguments.camera or ():
        if name not in by_name:
            raise CalibrationError(f"{arguments.cameras}: no {name}; valid: {', '.join(by_name)}")
    chosen = [by_name[name] for name in arguments.camera or by_name]
    observations = read_observations(arguments.folder)
    chosen = [with_told_intrinsics(camera, observations) for camera in chosen]
    if arguments.method == "robot":
        registration = RobotRegistration()
        found = [registration.calibrate(observations, camera, camera.short_name) for camera in chosen]
    else:
        config = BoardConfig(squares=tuple(arguments.squares), square_m=arguments.square_m, marker_m=arguments.marker_m)
        board = BoardCalibration(config)
        found = [board.calibrate(observations, camera, camera.short_name, _arm(arguments, camera)) for camera in chosen]
    if not arguments.dry_run:
        write_calibration(arguments.cameras, cameras, found)
    return found


def _arm(arguments: argparse.Namespace, camera: CameraModel) -> Side:
    """The arm that holds the board. Raises CalibrationError."""
    arm = arguments.arm or camera.short_name
    if arm not in SIDES:
        raise CalibrationError(f"{camera.name}: which arm holds the board? valid: --arm {' or '.join(SIDES)}")
    return arm  # type: ignore[no-any-return]


if __name__ == "__main__":
    cli(main)
