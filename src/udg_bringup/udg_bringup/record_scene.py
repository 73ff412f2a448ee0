"""Recordings (.mkv) of the simulated scene as Azure Kinects would make them, for playback in place of cameras.

udg record-scene FOLDER --object soda_can --seed 0 --frames 30
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from udg_description.camera import CameraModel, cameras_of
from udg_description.errors import cli
from udg_description.files import check_file, user_path
from udg_description.layout import HOME_Q
from udg_description.settings import seed_number
from udg_perception.kinect.recording import FRAME_RATES, DepthRecording
from udg_sim.cameras.depth import DepthRig
from udg_sim.cameras.noise import KinectNoise
from udg_sim.objects.library import ObjectLibrary, ObjectModel
from udg_sim.trials.trial import sample_placement


def record_scene(
    folder: Path,
    cameras: Sequence[CameraModel],
    objects: Sequence[tuple[ObjectModel, np.ndarray]],
    q: np.ndarray,
    *,
    rate_hz: int = 15,
    noise: KinectNoise | None = None,
    seed: int = 0,
) -> dict[str, Path]:
    """Write a file a camera (left.mkv of left_camera) of a scene that rests.

    q (frames, N) [rad], objects with T_world_object (4, 4).
    """
    rig = DepthRig(cameras, noise=noise, seed=seed)
    paths = {camera.name: recording_path(folder, camera) for camera in cameras}
    with ExitStack() as stack:
        recordings = [stack.enter_context(DepthRecording(paths[camera.name], camera, rate_hz)) for camera in cameras]
        for frame, q_frame in enumerate(q):
            for recording, depth_mm in zip(recordings, rig.render(q_frame, objects), strict=True):
                recording.write(depth_mm, round(frame * 1e6 / rate_hz))
    return paths


def recording_path(folder: Path, camera: CameraModel) -> Path:
    """The recording of a camera in a folder."""
    return folder / f"{camera.short_name}.mkv"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Recordings of the simulated scene, to be played as cameras.")
    parser.add_argument("folder", type=user_path, help="folder for left.mkv, right.mkv, ...")
    parser.add_argument("--object", default="soda_can", help="library id; empty: an empty table")
    parser.add_argument("--seed", type=seed_number, default=0, help="of the placement and the noise")
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--rate", type=int, default=15, choices=sorted(FRAME_RATES), help="images a second")
    parser.add_argument("--cameras", type=user_path, help="cameras.yaml (default: the default cameras)")
    parser.add_argument("--no-noise", action="store_true")
    parser.add_argument("--force", action="store_true", help="replace earlier recordings")
    arguments = parser.parse_args(argv)
    cameras = cameras_of(arguments.cameras)
    for camera in cameras:
        check_file(recording_path(arguments.folder, camera), arguments.force)
    objects = []
    if arguments.object:
        model = ObjectLibrary().get(arguments.object)
        objects.append((model, sample_placement(model, np.random.default_rng(arguments.seed))))
    noise = None if arguments.no_noise else KinectNoise()
    q = np.tile(HOME_Q, (arguments.frames, 1))
    paths = record_scene(
        arguments.folder, cameras, objects, q, rate_hz=arguments.rate, noise=noise, seed=arguments.seed
    )
    print("\n".join(str(path) for path in paths.values()))
    return 0


if __name__ == "__main__":
    cli(main)
